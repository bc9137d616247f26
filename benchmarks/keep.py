"""Keeps what a reproduction wrote beside the pages: its records, their tables, what they say, and the commands.

    python -m benchmarks.keep REPRO WORK-NAME            REPRO: the --out of `vaefast reproduce WORK`
    python -m benchmarks.keep - WORK-NAME                the claims alone, of the records that are there

into docs/results/WORK-NAME, where records of other parts and data sets stay. With --pictures those of the parts as JPEG, too,
no larger than --side pixels.
"""

from __future__ import annotations

import argparse
import json
import shlex
import shutil
from pathlib import Path

from PIL import Image

from benchmarks.matrix import RESULTS
from vaefast.experiments.papers.catalog import PAPERS
from vaefast.experiments.papers.page import CALLS, all_claims, folders, records, write_claims
from vaefast.experiments.papers.plan import Paper

PLACES = {"--data-root": "DIR", "--out": "REPRO"}


def keep(paper: Paper, out: Path, folder: Path, side: int | None) -> None:
    """Copies the records of `out` to `folder`, and adds its calls; pictures only with a `side`."""
    for place in (out, *folders(out)):
        there = records(paper, place, once=place == out)
        to = folder / place.relative_to(out)
        for name in there:
            to.mkdir(parents=True, exist_ok=True)
            for path in (place / f"{name}.json", place / f"{name}.md"):
                if path.is_file():
                    shutil.copy(path, to)
            for figure, _ in paper.parts[name].figures:
                if side and (path := place / f"{figure}.png").is_file():
                    picture = Image.open(path).convert("RGB")
                    picture.thumbnail((side, side))
                    picture.save(to / f"{figure}.jpg", quality=70, optimize=True)
    if (out / CALLS).is_file():
        kept = (folder / CALLS).read_text().splitlines() if (folder / CALLS).is_file() else []
        made = [without_paths(call) for call in (out / CALLS).read_text().splitlines()]
        (folder / CALLS).write_text("".join(f"{call}\n" for call in dict.fromkeys([*kept, *made])))


def without_paths(call: str) -> str:
    """A line of calls with DIR and REPRO for a machine's own folders."""
    made = json.loads(call)
    words = shlex.split(made["command"])
    for i, word in enumerate(words):
        flag, equals, _ = word.partition("=")
        if flag in PLACES:
            words[i:i + 1 if equals else i + 2] = [flag, PLACES[flag]]
    return json.dumps(made | {"command": shlex.join(words)})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", help="folder of `vaefast reproduce`, or -")
    parser.add_argument("name", help="WORK-NAME, such as dai-wipf-quick")
    parser.add_argument("--pictures", action="store_true")
    parser.add_argument("--side", type=int, default=1200, help="of pictures, at most (default: 1200)")
    args = parser.parse_args()
    paper, folder = PAPERS[args.name.rpartition("-")[0]], RESULTS / args.name
    if args.out != "-":
        keep(paper, Path(args.out), folder, args.side if args.pictures else None)
    write_claims(all_claims(paper, folder), folder)


if __name__ == "__main__":
    main()
