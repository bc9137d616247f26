"""Every number that the four works print and every statement of theirs that is judged, beside what was measured here.

    python -m benchmarks.matrix > docs/results/matrix.md     from the records under docs/results, and what the works print

A number has a verdict where it was measured in the work's own units: near (within 15 %) or not. A Fréchet distance in the
features of another network than the 2015 Inception has none.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vaefast.experiments.papers.catalog import PAPERS
from vaefast.experiments.papers.claims import DISTANCES, Claim, by_name, measured, verdict
from vaefast.experiments.papers.dai_wipf import protocol
from vaefast.experiments.papers.dai_wipf.claims import (
    of_full_dimension,
    of_gamma,
    of_joint,
    of_kappa,
    of_manifolds,
    of_table1,
    of_table2,
)
from vaefast.experiments.papers.dai_wipf.printed import DATA, TABLE1, TABLE2, TITLES
from vaefast.experiments.papers.dai_wipf.protocol import GAN_STEPS
from vaefast.experiments.papers.hinrichsen import printed as hinrichsen
from vaefast.experiments.papers.hinrichsen.protocol import PRESETS as BIGGAN_BUDGETS
from vaefast.experiments.papers.page import claims_of, records
from vaefast.experiments.papers.plan import Row, no_claims
from vaefast.experiments.papers.zhao.printed import LOGS
from vaefast.experiments.papers.zhao.protocol import PRESETS as PIXEL_BUDGETS
from vaefast.experiments.presets import TWO_STAGE
from vaefast.experiments.scoring.registry import name_of
from vaefast.experiments.theory.latent_distance import PAPER as MMD

RESULTS = Path(__file__).parent.parent / "docs/results"
NEAR = 0.15
NOT_RUN, ELSEWHERE = "not run", "another distance"
KEPT = {"dai-wipf": ("paper", "tenth", "again", "quick", "half"), "hinrichsen": ("quick",), "zhao": ("long", "quick"),
        "gamix": ("quick",)}
"""Folders of a work's records, those with the largest budget first; "again" is preset quick once more."""
SHARES = {"paper": "100 %", "tenth": "10 %", "half": "half of preset quick", "long": "preset quick, 3.8 times as long"}
"""Of the published budget, in the folders that were trained for a known one, and what is no preset's."""
STAND_INS = {"celeba": "lfw"}
"""Data that are not at hand, and what was run in their place."""
IMAGES = {"cifar10": 50_000, "lfw": 12_166}
"""That Hinrichsen's rows are trained on here."""


@dataclass(frozen=True)
class Line:
    """Of the page: a number or a statement of `work`, and what was measured."""

    work: str
    data: str
    what: str
    printed: str
    here: str = "-"
    share: str = "-"
    seeds: str = "-"
    verdict: str = NOT_RUN
    command: str = "-"

    def cells(self) -> list[str]:
        return [self.data, self.what, self.printed, self.here, self.share, self.seeds, self.verdict, self.command]


def read(*parts: str) -> dict[str, Any]:
    """A record under docs/results; nothing where there is none."""
    path = RESULTS.joinpath(*parts)
    return json.loads(path.read_text()) if path.is_file() else {}


def _command(work: str, part: str, data: str, kept: str) -> str:
    preset = {"tenth": "paper --share 0.1", "half": "quick --share 0.5", "long": "quick --share 3.8",
              "again": "quick"}.get(kept, kept)
    return f"`{work} {part} --data {data} --preset {preset}`"


def _share_of_row(row: Row, part: str, data: str, kept: str) -> str:
    """What a row of table 1 or 2 was trained for, of the published epochs or steps: of both stages, where it has two."""
    if kept in SHARES:
        return SHARES[kept]
    if row.training is None or row.training.kind == "gan":
        return f"{GAN_STEPS['mnist'] / GAN_STEPS[data]:.0%}".replace("%", " %")
    own = protocol.options(row.training, part, "paper", data).get("epochs")
    published = own or [stage.epochs for stage in TWO_STAGE["paper"].stages]
    stages = zip(TWO_STAGE["short"].stages, published)
    shares = " and ".join(f"{100 * short.epochs / epochs:.3g} %" for short, epochs in list(stages)[:row.stage] if short.epochs)
    return shares if part == "table1" else f"{shares}, width {protocol.WAE_WIDTH} of 128"


def dai_wipf_numbers() -> Iterator[Line]:
    """Tables 1, 2 and 3."""
    for row in protocol.TABLE1:
        for data in DATA:
            yield _distance("dai-wipf", "table1", row, data, f"table 1, {TITLES[row.name]}: FID", *TABLE1[row.name][data])
    for row in protocol.TABLE2:
        yield _distance("dai-wipf", "table2", row, "celeba", f"table 2, {TITLES[row.name]}: FID", *TABLE2[row.name]["celeba"])
    for data, values in MMD.items():
        place = STAND_INS.get(data, data)
        kept = next((k for k in KEPT["dai-wipf"] if read(f"dai-wipf-{k}", place, "table3.json")), "quick")
        found = read(f"dai-wipf-{kept}", place, "table3.json")
        for stage, value in zip((1, 2), values):
            what = f"table 3, stage {stage}: MMD² to N(0, I), kernel and scale unknown"
            line = Line("dai-wipf", _named(data, place), what, f"{value:g}")
            if found:
                line = replace(line, here=f"{found[f'stage{stage}']['value']:.3g}", seeds="1", verdict=ELSEWHERE,
                               share=_share_of_row(protocol.TABLE1[-1], "table1", data, kept),
                               command=_command("dai-wipf", "table3", place, kept))
            yield line


def _distance(work: str, part: str, row: Row, data: str, what: str, mean: float, std: float | None) -> Line:
    """A row's FID, with the distance of its samples in the features that were at hand."""
    printed = f"{mean:g}" + (f" ± {std:g}" if std is not None else "")
    for place in filter(None, (data, STAND_INS.get(data))):
        for kept in KEPT[work]:
            record = read(f"{work}-{kept}", place, f"{part}.json")
            if not record:
                continue
            metric = measured(record, DISTANCES)
            if value := by_name(record).get(row.name, {}).get(metric):
                return Line(work, _named(data, place), what, printed, f"{name_of(metric)} {value['mean']:.4g}",
                            _share_of_row(row, part, data, kept), str(len(value["values"])),
                            "near" if metric == "fid" and place == data else ELSEWHERE, _command(work, part, place, kept))
    return Line(work, data, what, printed)


def _named(data: str, place: str) -> str:
    """The data set of a line, with what was run in its place."""
    return data if place == data else f"{data}, on {place}"


def hinrichsen_numbers() -> Iterator[Line]:
    """The table of BigGANs and VAEs."""
    for data, rows in hinrichsen.TABLE.items():
        record, budget = read("hinrichsen-quick", data, "table.json"), BIGGAN_BUDGETS["quick"]
        for name, of_paper in rows.items():
            seen = (budget.steps or (0, 0))["vae" in name] * (budget.batch or 0)
            share = f"{100 * seen / (of_paper.epochs * IMAGES[data]):.2g} %, width {budget.ch} of {of_paper.ch}"
            found = by_name(record).get(name, {}) if record else {}
            for what, value, keys in (("Inception score of 512 samples", of_paper.inception_score,
                                       ("inception_score_512", "is_classifier_512", "is_exemplar_512")),
                                      ("FID", of_paper.fid, DISTANCES)):
                line = Line("hinrichsen", data, f"{hinrichsen.TITLES[name]}: {what}", f"{value:g}")
                key = next((key for key in keys if found.get(key)), None)
                if key:
                    called = name_of(key.removesuffix("_512"))
                    line = replace(line, here=f"{called} {found[key]['mean']:.4g}", share=share, verdict=ELSEWHERE,
                                   seeds=str(len(found[key]["values"])), command=_command("hinrichsen", "table", data, "quick"))
                yield line


def zhao_numbers() -> Iterator[Line]:
    """The authors' logs behind figure 5, at the same number of batches, which are smaller here."""
    kept = KEPT["zhao"][0]
    found = {row["name"]: row for row in read(f"zhao-{kept}", "mnist", "fig5_log.json").get("rows", ())}
    ours, theirs = PIXEL_BUDGETS["quick"].pixel, PIXEL_BUDGETS["paper"].pixel
    share = f"{100 * ours.batch / theirs.batch:.0f} % of the images, width {ours.width} of {theirs.width}"
    for rule, logged in LOGS.items():
        for at in logged:
            for key, what, value in (("information", "mutual information, nats", at.information),
                                     ("loss", "loss, nats a pixel", at.loss)):
                here = found.get(str(at.batches), {}).get(f"{rule}_{key}")
                line = Line("zhao", "mnist", f"figure 5, {rule}, {at.batches:,} batches: {what}", f"{value:g}")
                if here:
                    mean = here["mean"]
                    near = abs(mean - value) <= NEAR * abs(value) or max(abs(mean), abs(value)) < 0.01
                    line = replace(line, here=f"{mean:.4g}", share=share, seeds=str(len(here["values"])),
                                   verdict="near" if near else "not near", command=_command("zhao", "fig5", "mnist", kept))
                yield line


def statements(work: str) -> Iterator[Line]:
    """What the work says, by the largest budget that tells it; then what nothing here tells."""
    paper, told = PAPERS[work], {}
    for kept in reversed(KEPT[work]):
        folder = RESULTS / f"{work}-{kept}"
        for path in sorted(p for p in folder.iterdir() if p.is_dir()):
            for said in claims_of(paper, records(paper, path, once=False)):
                if (key := (path.name, _bare(said))) not in told or said.holds is not None:
                    told[key] = _line(work, path.name, said, SHARES.get(kept, "preset quick"), kept)
        for part, record in records(paper, folder, once=True).items():
            told |= {(part, _bare(said)): _line(work, part, said, "-", kept) for said in paper.parts[part].claims(record)}
    if work == "dai-wipf":
        for data in DATA:
            for said in of_table1({"rows": _rows_of_all(data)}):
                if (line := told.get((data, _bare(said)))) and line.verdict == NOT_RUN and said.holds is not None:
                    told[data, _bare(said)] = replace(_line(work, data, said, "each row its largest", "quick"), command="several")
        for part, claims in (("manifolds", of_manifolds), ("full_dimension", of_full_dimension)):
            told |= {(part, _bare(said)): _line(work, part, said, "-", "quick")
                     for said in claims(read("manifolds-quick", f"{part}.json"))}
    for data, said in _not_run(work):
        if (STAND_INS.get(data), _bare(said)) not in told:
            told.setdefault((data, _bare(said)), _line(work, data, said, "-", ""))
    yield from (told[key] for key in sorted(told))


def _rows_of_all(data: str) -> list[dict[str, Any]]:
    """Table 1's rows of a data set, each of the record with the largest budget that has it."""
    rows: dict[str, dict[str, Any]] = {}
    for kept in reversed(KEPT["dai-wipf"]):
        for name, row in by_name(read(f"dai-wipf-{kept}", data, "table1.json") or {"rows": []}).items():
            if name not in rows or any(row.get(metric) for metric in DISTANCES):
                rows[name] = row
    return list(rows.values())


def _bare(said: Claim) -> str:
    """The statement without the words on how it is judged here."""
    return said.text.split(" (here:")[0]


def _line(work: str, data: str, said: Claim, share: str, kept: str) -> Line:
    if said.holds is None:
        return Line(work, data, said.text, "-")
    part = {"half": "joint", "long": "fig5"}.get(kept, "all")  # the one part that is there
    stands_for = {place: of for of, place in STAND_INS.items()} if work == "dai-wipf" else {}  # Hinrichsen's own is LFW
    return Line(work, _named(stands_for.get(data, data), data), said.text, "-", said.measured, share, "1",
                verdict(said.as_dict()), _command(work, part, data, kept))


def _not_run(work: str) -> Iterator[tuple[str, Claim]]:
    """What is said of parts and data sets that there are no records of."""
    if work == "dai-wipf":
        for data in DATA:
            rows = [{"name": name, "paper_fid": {"mean": TABLE1[name][data][0]}} for name in TABLE1]
            yield from ((data, said) for said in of_table1({"preset": "paper", "rows": rows}))
        nothing: dict[str, Any] = {"rows": []}
        yield from (("celeba", said) for said in of_table2(nothing))
        yield from (("mnist", said) for said in (*of_kappa(nothing), *of_joint(nothing), *of_gamma({})))
    for part in PAPERS[work].parts.values() if work != "gamix" else ():  # there is a record of every part of gamix
        if part.rows and part.columns and part.claims is not no_claims:
            for data in part.data or PAPERS[work].data[:1]:
                yield from ((data, said) for said in part.claims({"data": data, "rows": []}))


def page() -> str:
    """The whole page, in Markdown."""
    numbers = [*dai_wipf_numbers(), *hinrichsen_numbers(), *zhao_numbers()]
    said = [line for work in PAPERS for line in statements(work)]
    lines = ["# Every published number and statement", "",
             "Written by `python -m benchmarks.matrix` from the records beside this page. A share is of the published epochs "
             "or steps; commands are those of `vaefast reproduce`. Distances are Fréchet distances in the features of a network "
             "that the package trains (FD-classifier, FD-exemplar): they are not the FID, and no printed one can be near them. "
             f"A number is near where it is within {NEAR:.0%} of the printed one.", "",
             f"{len(numbers)} numbers: {_counted(numbers)}.", "", f"{len(said)} statements: {_counted(said)}.", ""]
    titles = {"dai-wipf": "Dai & Wipf", "hinrichsen": "Hinrichsen", "zhao": "Zhao, Song & Ermon", "gamix": "Rivera"}
    for heading, rows in (("Numbers", numbers), ("Statements", said)):
        for work, title in titles.items():
            if own := [row for row in rows if row.work == work]:
                lines += [f"## {heading}: {title}", "", *_table(own, heading == "Numbers"), ""]
    lines += ["Rivera prints no number that could be compared (one training on CelebA, without a distance).", ""]
    return "\n".join(lines)


def _counted(rows: list[Line]) -> str:
    return ", ".join(f"{count} {word}" for word, count in sorted(Counter(row.verdict for row in rows).items()))


def _table(rows: list[Line], numbers: bool) -> list[str]:
    heads = ["data", "what", "printed", "here", "share of the budget", "seeds", "verdict", "command"]
    keep = [i for i in range(len(heads)) if numbers or heads[i] != "printed"]
    cells = [heads, ["---"] * len(heads), *(row.cells() for row in rows)]
    return ["| " + " | ".join(line[i].replace("|", r"\|") for i in keep) + " |" for line in cells]


if __name__ == "__main__":
    print(page(), end="")
