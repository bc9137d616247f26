# vaefast on CPUs: `docker build -t vaefast .`, then `docker run --rm -v "$PWD/runs:/runs" vaefast demo --out /runs/demo`.
# Not built yet: written where docker was not at hand.

# The wheel is made where a compiler is, and the image that stays has none.
FROM python:3.12-slim AS build
RUN apt-get update && apt-get install -y --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN VAEFAST_NO_CUDA=1 VAEFAST_REQUIRE_NATIVE=1 pip wheel --no-cache-dir --no-deps -w /wheels .

FROM python:3.12-slim
# torch's build for CPUs is 200 MB; the one that pip takes by itself brings CUDA with it
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY --from=build /wheels /wheels
# libgomp1 in case torch's own copy of the OpenMP runtime has another name
RUN apt-get update && apt-get install -y --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/* \
    && pip install --no-cache-dir --extra-index-url "$TORCH_INDEX" "torch>=2.11" /wheels/*.whl && rm -rf /wheels
WORKDIR /runs
ENTRYPOINT ["vaefast"]
CMD ["info"]
