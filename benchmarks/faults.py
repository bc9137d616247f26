"""Kills training at random moments, and asks whether every resumed run ends as one that was left alone.

    python -m benchmarks.faults --out FILE.json [--kills 30] [--runs 3] [--seed 0]

Each run trains a two-stage VAE on the UCI digits from the command line, with a checkpoint at every log point. It is killed
by SIGKILL at a random moment, by SIGTERM, or by SIGKILL while a checkpoint is half-written (its temporary file exists), and
resumed, again and again; then it is left to end. Its weights must equal the undisturbed run's to the last bit, and
metrics.jsonl must hold the same records.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import machine

COMMAND = ["train", "two-stage", "--data", "digits", "--preset", "demo", "--steps", "300,600", "--log-every", "5",
           "--checkpoint-seconds", "0", "--device", "cpu", "--precision", "fp32"]
VOLATILE = ("seconds", "images_per_second", "memory_mb")
KINDS = ("SIGKILL", "SIGTERM", "SIGKILL in a checkpoint's writing")


def start(out: Path, resume: bool) -> subprocess.Popen:
    """The training command as a process."""
    words = [*COMMAND, "--out", str(out), *(["--resume"] if resume else [])]
    return subprocess.Popen([sys.executable, "-m", "vaefast", *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                            text=True)


def outcome(run: Path) -> tuple[str, list[dict]]:
    """Digest of the weights, and the records without their times."""
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    kept = [{k: v for k, v in r.items() if k not in VOLATILE} for r in records]
    return hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest(), kept


def kill(process: subprocess.Popen, run: Path, kind: str, rng: random.Random) -> tuple[bool, float]:
    """Wait for the run to work, then kill it; whether it was still running, and seconds after its start."""
    began = time.monotonic()
    before = (run / "metrics.jsonl").stat().st_size if (run / "metrics.jsonl").exists() else 0
    early = rng.random() < 0.15  # now and then while it starts or restores
    while not early and process.poll() is None:
        if (run / "metrics.jsonl").exists() and (run / "metrics.jsonl").stat().st_size != before:
            break
        time.sleep(0.01)
    deadline = time.monotonic() + rng.uniform(0.0, 4.0)
    if kind == KINDS[2]:
        while process.poll() is None and not list(run.glob("checkpoints/.*.tmp")):
            pass
    else:
        while process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
    running = process.poll() is None
    if running:
        process.send_signal(signal.SIGTERM if kind == KINDS[1] else signal.SIGKILL)
    process.wait()
    return running, time.monotonic() - began


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng, result = random.Random(args.seed), {"machine": machine.describe(), "command": COMMAND, "kills": [], "runs": []}
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / "whole"
        process = start(whole, resume=False)
        if process.wait() != 0:
            raise SystemExit(f"the undisturbed run failed: {process.stderr.read()}")
        expected = outcome(whole)
        for number in range(args.runs):
            run, killed = Path(folder) / f"run{number}", 0
            while killed < args.kills // args.runs and not (run / "model.json").exists():
                kind = rng.choice(KINDS)
                process = start(run, resume=(run / "config.json").exists())
                running, seconds = kill(process, run, kind, rng)
                if running:
                    killed += 1
                    checkpoints = sorted(p.stem for p in run.glob("checkpoints/stage*.json"))
                    result["kills"].append({"run": number, "kind": kind, "seconds": round(seconds, 2),
                                            "newest_checkpoint": checkpoints[-1] if checkpoints else None})
                    print(f"run {number}, kill {killed}: {kind} after {seconds:.1f} s, newest checkpoint "
                          f"{checkpoints[-1] if checkpoints else 'none'}", flush=True)
            process = start(run, resume=(run / "config.json").exists())
            errors = process.communicate()[1]
            weights, records = outcome(run) if process.returncode == 0 else ("", [])
            result["runs"].append({
                "run": number, "kills": killed, "exit": process.returncode, "identical_weights": weights == expected[0],
                "identical_records": records == expected[1], "identical": (weights, records) == expected,
                "errors": errors.strip()[-500:]})
            print(f"run {number}: {killed} kills, {'identical' if result['runs'][-1]['identical'] else 'DIFFERENT'}", flush=True)
    result["identical"] = all(r["identical"] for r in result["runs"])
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.write_text(json.dumps(result, indent=2) + "\n")
    return 0 if result["identical"] else 1


if __name__ == "__main__":
    sys.exit(main())
