#!/usr/bin/env bash
# bash benchmarks/gpu_check.sh OUTDIR
#
# Everything that needs a GPU, in one command, on a machine without network that has torch, triton, nvcc, pybind11,
# ninja and pytest: builds in place, runs the tests marked gpu, runs the CUDA kernels under compute-sanitizer, and
# measures every op. Goes on after a failure; the exit status is 1 if anything failed. Leaves in OUTDIR:
#   summary.txt       what passed and how long it took
#   tests.txt         the tests' output          sanitizer.txt  compute-sanitizer's
#   ops-gpu.json      the ops' measurements      ops-gpu.md       their table
#   training-gpu.json those of training steps    training-gpu.md  their table
#   trials-gpu.json   trials at the same time against one after the other
# Environment: PYTHON (python3), VAEFAST_CUDA_ARCHS (that of the GPU), GPU_CHECK_DEVICE=cpu to try the script itself.
set -uo pipefail
[ $# -eq 1 ] || { echo "usage: bash benchmarks/gpu_check.sh OUTDIR" >&2; exit 2; }
mkdir -p "$1" && out=$(cd "$1" && pwd) || exit 2
cd "$(dirname "$0")/.." || exit 2
python=${PYTHON:-python3}
device=${GPU_CHECK_DEVICE:-cuda}
failed=0
: >"$out/summary.txt"

step() { # NAME SECONDS LOG COMMAND...
    local name=$1 limit=$2 log=$3 start=$SECONDS status
    shift 3
    timeout "$limit" "$@" >"$log" 2>&1
    status=$?
    case $status in
        0) status=passed ;;
        124) status="stopped after $limit s"; failed=1 ;;
        *) status="FAILED (exit $status)"; failed=1 ;;
    esac
    echo "$name: $status, $((SECONDS - start)) s" | tee -a "$out/summary.txt"
    [ "$status" = passed ] || tail -n 25 "$log"
}

if [ "$device" = cuda ]; then
    capability=$("$python" -c 'import torch; print("%d%d" % torch.cuda.get_device_capability())') ||
        { echo "PyTorch sees no CUDA GPU here." | tee -a "$out/summary.txt"; exit 1; }
    export VAEFAST_CUDA_ARCHS=${VAEFAST_CUDA_ARCHS:-$capability} VAEFAST_REQUIRE_NATIVE=1
fi
step "build" 240 "$out/build.txt" "$python" setup.py build_ext --inplace
step "backends" 60 "$out/backends.txt" "$python" -m benchmarks.backends "$device"
if [ "$device" = cuda ]; then
    step "tests" 200 "$out/tests.txt" "$python" -m pytest -q -m gpu tests
    sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
    if [ -x "$sanitizer" ]; then
        for tool in memcheck racecheck; do
            step "compute-sanitizer $tool" 90 "$out/sanitizer-$tool.txt" "$sanitizer" --tool "$tool" --error-exitcode 9 \
                "$python" -m benchmarks.exercise cuda
        done
    else
        echo "compute-sanitizer: not installed, NOT RUN" | tee -a "$out/summary.txt"
    fi
    step "measurements" 240 "$out/measure.txt" "$python" -m benchmarks.gpu --out "$out/ops-gpu.json"
    step "training" 90 "$out/training.txt" "$python" -m benchmarks.training --quick --out "$out/training-gpu.json"
    step "trials" 120 "$out/trials.txt" "$python" -m benchmarks.trials --device cuda --steps 3000 --rounds 1 \
        --out "$out/trials-gpu.json"
else
    step "exercise" 60 "$out/exercise.txt" "$python" -m benchmarks.exercise cpp
    step "measurements" 240 "$out/measure.txt" "$python" -m benchmarks.gpu --device cpu --quick --out "$out/ops-gpu.json"
fi
[ -f "$out/ops-gpu.json" ] && "$python" -m benchmarks.gpu --markdown --out "$out/ops-gpu.json" | tee "$out/ops-gpu.md"
[ -f "$out/training-gpu.json" ] &&
    "$python" -m benchmarks.training --markdown --out "$out/training-gpu.json" | tee "$out/training-gpu.md"
echo "all in $SECONDS s" | tee -a "$out/summary.txt"
exit $failed
