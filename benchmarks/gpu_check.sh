#!/usr/bin/env bash
# bash benchmarks/gpu_check.sh STEP[,STEP...] OUTDIR
#
# What needs a GPU, in steps of at most eight minutes, on a machine without network that has torch, triton, nvcc, pybind11,
# ninja and pytest; benchmarks/README.md has the order to take them in. "all" is every step. Steps:
#   build      builds in place (no pip, no setuptools), and names the backends that can run
#   smoke      every kernel once                        sanitize   the CUDA kernels under compute-sanitizer
#   training   the tests of training on a GPU           ops        the tests of the ops, in many processes
#   measure    every op (ops-gpu.json)                  steps      training steps (training-gpu.json)
#   biggan     BigGAN-deep (biggan-gpu.json)            trials     trials at once (trials-gpu.json)
#   resume     bit-identity (resume-gpu.json)           profile    the heaviest kernels under ncu (in the log)
#   kernels    those of a training step (kernels-gpu.json)
# Leaves in OUTDIR, written as it goes, so that a run that is killed leaves what it has: summary.txt (what passed and how long
# it took), log.txt (all output) and a JSON file a measurement. The exit status is 1 if anything failed.
# Environment: PYTHON (python3), VAEFAST_CUDA_ARCHS (that of the GPU), WORKERS (14), TRITON_CACHE_DIR (build/triton),
# CAP (the most seconds of any one command), GPU_CHECK_DEVICE=cpu to try the script itself.
set -uo pipefail
every="build smoke training ops measure steps kernels biggan resume trials sanitize profile"
[ $# -eq 2 ] || { echo "usage: bash benchmarks/gpu_check.sh STEP[,STEP...] OUTDIR; steps: $every, or all" >&2; exit 2; }
mkdir -p "$2" && out=$(cd "$2" && pwd) || exit 2
cd "$(dirname "$0")/.." || exit 2
python=${PYTHON:-python3}
device=${GPU_CHECK_DEVICE:-cuda}
workers=${WORKERS:-14}
export TRITON_CACHE_DIR=${TRITON_CACHE_DIR:-$PWD/build/triton} PYTHONUNBUFFERED=1
failed=0

run() { # NAME SECONDS COMMAND...
    local name=$1 limit=$2 start=$SECONDS status
    [ "$limit" -le "${CAP:-$limit}" ] || limit=$CAP
    shift 2
    echo "+ $name: $*" >>"$out/log.txt"
    timeout -k 5 "$limit" "$@" >"$out/.step" 2>&1
    status=$?
    cat "$out/.step" >>"$out/log.txt"
    case $status in
        0) status=passed ;;
        124 | 137) status="stopped after $limit s"; failed=1 ;;
        *) status="FAILED (exit $status)"; failed=1 ;;
    esac
    echo "$name: $status, $((SECONDS - start)) s" | tee -a "$out/summary.txt"
    if [ "$status" = passed ]; then tail -n 3 "$out/.step"; else tail -n 40 "$out/.step"; fi
    rm -f "$out/.step"
}
skip() { echo "$1: $2, NOT RUN" | tee -a "$out/summary.txt"; }
tests() { "$python" -m pytest -q -p no:cacheprovider -p benchmarks.instant --show-capture=no "$@"; }
export -f tests
export python

if [ "$device" = cuda ]; then
    capability=$("$python" -c 'import torch; print("%d%d" % torch.cuda.get_device_capability())') ||
        { echo "PyTorch sees no CUDA GPU here." | tee -a "$out/summary.txt"; exit 1; }
    export VAEFAST_CUDA_ARCHS=${VAEFAST_CUDA_ARCHS:-$capability} VAEFAST_REQUIRE_NATIVE=1
    quick=() shorter=() backend=cuda
else
    quick=(--quick) shorter=(--smoke) backend=cpp workers=2
fi
for step in $([ "$1" = all ] && echo "$every" || echo "${1//,/ }"); do
    case $step in
        build)
            run versions 60 "$python" -c 'import sys, torch, triton, numpy, setuptools; print(sys.version, *(
                f"{m.__name__} {m.__version__}" for m in (torch, triton, numpy, setuptools)), sep="\n")'
            run build 300 env MAX_JOBS="${MAX_JOBS:-$(nproc)}" "$python" setup.py build_native
            run backends 60 "$python" -m benchmarks.backends "$device"
            ;;
        smoke)
            if [ "$device" = cuda ]; then run smoke 90 bash -c "tests -n $workers tests/ops/test_gpu_smoke.py"
            else run exercise 120 "$python" -m benchmarks.exercise $backend; fi
            ;;
        training)
            run "tests of training" 240 bash -c "tests -m 'gpu and not exhaustive' -n $((workers / 2)) tests/training tests/nets tests/metrics"
            ;;
        ops) run "tests of the ops" 400 bash -c "tests -m 'gpu and not exhaustive' -n $workers --deselect tests/ops/test_gpu_smoke.py tests/ops" ;;
        measure)
            run measurements 400 "$python" -m benchmarks.gpu --device "$device" "${quick[@]}" --budget "${BUDGET:-240}" \
                --out "$out/ops-gpu.json"
            ;;
        steps) run "training steps" 300 "$python" -m benchmarks.training --device "$device" --quick --out "$out/training-gpu.json" ;;
        kernels)
            if [ "$device" != cuda ]; then skip kernels "needs a GPU"
            else run kernels 200 "$python" -m benchmarks.kernels --out "$out/kernels-gpu.json"; fi
            ;;
        biggan)
            run biggan 300 "$python" -m benchmarks.biggan --device "$device" "${shorter[@]}" --seconds 5 \
                --out "$out/biggan-gpu.json"
            ;;
        resume)
            steps=60
            [ "$device" = cuda ] || steps=10
            run resume 120 "$python" -m benchmarks.resume --device "$device" --steps $steps --out "$out/resume-gpu.json"
            ;;
        trials)
            steps=3000
            [ "$device" = cuda ] || steps=10
            run trials 200 "$python" -m benchmarks.trials --device "$device" --steps $steps --rounds 1 --out "$out/trials-gpu.json"
            ;;
        sanitize)
            sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
            if [ "$device" != cuda ]; then skip "compute-sanitizer" "needs a GPU"
            elif [ -x "$sanitizer" ]; then
                for tool in memcheck racecheck; do
                    run "compute-sanitizer $tool" 200 "$sanitizer" --tool $tool --error-exitcode 9 "$python" -m benchmarks.exercise cuda
                done
            else skip "compute-sanitizer" "not installed"; fi
            ;;
        profile)
            if [ "$device" != cuda ]; then skip ncu "needs a GPU"
            elif command -v ncu >/dev/null; then
                for backend in triton cuda; do
                    run "ncu $backend" 200 ncu --clock-control none --profile-from-start off --section SpeedOfLight \
                        --section WarpStateStats --section Occupancy "$python" -m benchmarks.heaviest $backend
                done
            else skip ncu "not installed"; fi
            ;;
        *) echo "no step $step; steps: $every, or all" >&2; exit 2 ;;
    esac
done
echo "all in $SECONDS s" | tee -a "$out/summary.txt"
exit $failed
