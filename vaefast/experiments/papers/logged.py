"""What a run logged while it trained."""

from __future__ import annotations

from pathlib import Path

from vaefast.training.run_folder import RunFolder


def curve(path: Path, name: str, against: str = "epoch") -> list[tuple[float, float]]:
    """(epoch or step, value) of all records that have a number called `name`, whatever player it is of."""
    found = []
    for record in RunFolder.open(path).read_metrics():
        values = [value for key, value in record.items() if key.split("/")[-1] == name]
        if values:
            found.append((float(record[against]), float(values[0])))
    return found
