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
from vaefast.experiments.papers.page import claims_of, folders, records
from vaefast.experiments.papers.plan import Paper, Record, Row, no_claims
from vaefast.experiments.papers.zhao.printed import LOGS
from vaefast.experiments.papers.zhao.protocol import PRESETS as PIXEL_BUDGETS
from vaefast.experiments.presets import TWO_STAGE
from vaefast.experiments.scoring.registry import name_of
from vaefast.experiments.theory.latent_distance import PAPER as MMD

RESULTS = Path(__file__).parent.parent / "docs/results"
NEAR = 0.15
NOT_RUN, ELSEWHERE = "not run", "another distance"
STAND_INS = {"celeba": "lfw"}
"""Data that are not at hand, and what was run in their place."""
STANDS_FOR = {place: data for data, place in STAND_INS.items()}
IMAGES = {"cifar10": 50_000, "lfw": 12_166}
"""That Hinrichsen's rows are trained on here."""


@dataclass(frozen=True)
class Kept:
    """A folder of records, docs/results/WORK-`name`: of which preset, of how many times its length, and of which part alone."""

    name: str
    preset: str
    times: float = 1.0
    part: str = "all"

    @property
    def share(self) -> str:
        """Of the published budget, where that is the preset's; or of the preset."""
        if self.preset == "paper":
            return _percent(self.times)
        return f"preset {self.preset}" if self.times == 1 else f"{self.times:g} times preset {self.preset}"

    def command(self, work: str, data: str, part: str = "") -> str:
        """What made them."""
        longer = "" if self.times == 1 else f" --share {self.times:g}"
        return f"`{work} {part or self.part} --data {data} --preset {self.preset}{longer}`"


QUICK = Kept("quick", "quick")
KEPT = {
    "dai-wipf": (Kept("paper", "paper"), Kept("tenth", "paper", 0.1), Kept("again", "quick"), QUICK,
                 Kept("half", "quick", 0.5, "joint"), Kept("quarter", "quick", 0.25, "table1")),
    "hinrichsen": (Kept("long", "quick", 5, "table"), Kept("half", "quick", 0.5, "table"), QUICK,
                   Kept("quarter", "quick", 0.25, "optimizers")),
    "zhao": (Kept("long", "quick", 3.8, "fig5"), Kept("five", "quick", 5, "fig2"),
             Kept("colour", "quick", part="fig5-colour"), QUICK),
    "gamix": (Kept("ten", "quick", 10, "ablation"), Kept("five", "quick", 5, "norms"), Kept("two", "quick", 2, "norms"), QUICK),
}
"""The folders of each work, those with the largest budget first (of GANs see `_largest_first`): steps times seeds, of which
hinrichsen-half has three. "again" is preset quick again."""


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


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


def _share_of_gan(data: str, kept: Kept) -> float:
    """Of the published steps on `data`, or on the set that it stands for."""
    steps = GAN_STEPS.get(data, GAN_STEPS["mnist"]) if kept.preset == "paper" else GAN_STEPS["mnist"]
    return kept.times * steps / GAN_STEPS[STANDS_FOR.get(data, data)]


def _largest_first(row: Row, data: str) -> list[Kept]:
    """Dai & Wipf's folders for a row: GANs count steps, all else epochs."""
    kept, is_gan = list(KEPT["dai-wipf"]), row.training is None or row.training.kind == "gan"
    return sorted(kept, key=lambda k: -_share_of_gan(data, k)) if is_gan else kept


def _share_of_row(row: Row, part: str, data: str, kept: Kept) -> str:
    """What a row of table 1 or 2 was trained for, of the published epochs or steps: of both stages, where it has two."""
    if row.training is None or row.training.kind == "gan":
        return _percent(_share_of_gan(data, kept))
    if kept.preset == "paper" or kept.times != 1:
        return kept.share
    own = protocol.options(row.training, part, "paper", data).get("epochs")
    published = own or [stage.epochs for stage in TWO_STAGE["paper"].stages]
    stages = zip(TWO_STAGE["short"].stages, published)
    shares = " and ".join(_percent(short.epochs / epochs) for short, epochs in list(stages)[:row.stage] if short.epochs)
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
        kept = next((k for k in KEPT["dai-wipf"] if read(f"dai-wipf-{k.name}", place, "table3.json")), QUICK)
        found = read(f"dai-wipf-{kept.name}", place, "table3.json")
        for stage, value in zip((1, 2), values):
            what = f"table 3, stage {stage}: MMD² to N(0, I), kernel and scale unknown"
            line = Line("dai-wipf", _named(data, place), what, f"{value:g}")
            if found:
                line = replace(line, here=f"{found[f'stage{stage}']['value']:.3g}", seeds="1", verdict=ELSEWHERE,
                               share=_share_of_row(protocol.TABLE1[-1], "table1", data, kept),
                               command=kept.command("dai-wipf", place, "table3"))
            yield line


def _distance(work: str, part: str, row: Row, data: str, what: str, mean: float, std: float | None) -> Line:
    """A row's FID, with the distance of its samples in the features that were at hand."""
    printed = f"{mean:g}" + (f" ± {std:g}" if std is not None else "")
    for place in filter(None, (data, STAND_INS.get(data))):
        for kept in _largest_first(row, place):
            record = read(f"{work}-{kept.name}", place, f"{part}.json")
            if not record:
                continue
            metric = measured(record, DISTANCES)
            if value := by_name(record).get(row.name, {}).get(metric):
                return Line(work, _named(data, place), what, printed, f"{name_of(metric)} {value['mean']:.4g}",
                            _share_of_row(row, part, place, kept), str(len(value["values"])),
                            "near" if metric == "fid" and place == data else ELSEWHERE, kept.command(work, place, part))
    return Line(work, data, what, printed)


def _named(data: str, place: str) -> str:
    """The data set of a line, with what was run in its place."""
    return data if place == data else f"{data}, on {place}"


def hinrichsen_numbers() -> Iterator[Line]:
    """The table of BigGANs and VAEs."""
    for data, rows in hinrichsen.TABLE.items():
        there = ((kept, read(f"hinrichsen-{kept.name}", data, "table.json")) for kept in KEPT["hinrichsen"])
        kept, record = next((found for found in there if found[1]), (QUICK, {}))
        budget = BIGGAN_BUDGETS[kept.preset]
        for name, of_paper in rows.items():
            seen = kept.times * (budget.steps or (0, 0))["vae" in name] * (budget.batch or 0)
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
                                   seeds=str(len(found[key]["values"])), command=kept.command("hinrichsen", data, "table"))
                yield line


def zhao_numbers() -> Iterator[Line]:
    """The authors' logs behind figure 5, at the same number of batches, which are smaller here."""
    kept = KEPT["zhao"][0]
    found = {row["name"]: row for row in read(f"zhao-{kept.name}", "mnist", "fig5_log.json").get("rows", ())}
    ours, theirs = PIXEL_BUDGETS["quick"].pixel, PIXEL_BUDGETS["paper"].pixel
    share = f"{100 * ours.batch / theirs.batch:.0f} % of the images, width {ours.decoder['width']} of {theirs.decoder['width']}"
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
                                   verdict="near" if near else "not near", command=kept.command("zhao", "mnist", "fig5"))
                yield line


def statements(work: str) -> Iterator[Line]:
    """What the work says, by the largest budget that tells it; then what nothing here tells."""
    paper, told = PAPERS[work], {}
    for kept in reversed(KEPT[work]):
        folder = RESULTS / f"{work}-{kept.name}"
        for path in folders(folder):
            for said, seeds in _claims(paper, records(paper, path, once=False)):
                if (key := (path.name, _bare(said))) not in told or said.holds is not None:
                    told[key] = _line(work, path.name, said, kept.share, kept, seeds)
        for part, record in records(paper, folder, once=True).items():
            told |= {(part, _bare(said)): _line(work, part, said, "-", kept) for said in paper.parts[part].claims(record)}
    if work == "dai-wipf":
        for data in DATA:
            place = STAND_INS.get(data, data)
            for said in of_table1({"rows": _rows_of_all(data, place)}):
                line = told.get((place, _bare(said)))
                if said.holds is not None and (line is None or line.verdict == NOT_RUN):
                    told[place, _bare(said)] = replace(_line(work, place, said, "each row its largest", QUICK), command="several")
        for part, claims in (("manifolds", of_manifolds), ("full_dimension", of_full_dimension)):
            told |= {(part, _bare(said)): _line(work, part, said, "-", QUICK)
                     for said in claims(read("manifolds-quick", f"{part}.json"))}
    anywhere = {text for _, text in told}
    for where, said in _not_run(work):
        place = where or paper.data[0]
        if (STAND_INS.get(place), _bare(said)) not in told and (where or _bare(said) not in anywhere):
            told.setdefault((place, _bare(said)), _line(work, place, said, "-", QUICK))
    yield from (told[key] for key in sorted(told))


def _claims(paper: Paper, there: dict[str, Record]) -> Iterator[tuple[Claim, int]]:
    """The claims of a data set's records, and of how many trainings of every row each is."""
    if paper.claims is not None:
        least = min((record.get("trials", 1) for record in there.values()), default=1)
        yield from ((said, least) for said in claims_of(paper, there))
        return
    for name, record in there.items():
        yield from ((said, record.get("trials", 1)) for said in paper.parts[name].claims(record))


def _rows_of_all(data: str, place: str) -> list[dict[str, Any]]:
    """Table 1's rows on `place`, each of the record with the largest budget that has it, beside what is printed of `data`."""
    chosen = []
    for row in protocol.TABLE1:
        there = [by_name(record)[row.name] for kept in _largest_first(row, place)
                 if row.name in by_name(record := read(f"dai-wipf-{kept.name}", place, "table1.json") or {"rows": []})]
        if there:
            values = next((values for values in there if any(values.get(metric) for metric in DISTANCES)), there[0])
            chosen.append({**values, "paper_fid": {"mean": TABLE1[row.name][data][0]}})
    return chosen


def _bare(said: Claim) -> str:
    """The statement without the words on how it is judged here."""
    return said.text.split(" (here:")[0]


def _line(work: str, data: str, said: Claim, share: str, kept: Kept, seeds: int = 1) -> Line:
    if said.holds is None:
        return Line(work, data, said.text, "-")
    of = STANDS_FOR.get(data, data) if work == "dai-wipf" else data  # Hinrichsen's own is LFW
    return Line(work, _named(of, data), said.text, "-", said.measured, share, str(seeds),
                verdict(said.as_dict()), kept.command(work, data))


def _not_run(work: str) -> Iterator[tuple[str | None, Claim]]:
    """What is said of parts and data sets that there are no records of; without a data set if any will do."""
    if work == "dai-wipf":
        for data in DATA:
            rows = [{"name": name, "paper_fid": {"mean": TABLE1[name][data][0]}} for name in TABLE1]
            yield from ((data, said) for said in of_table1({"preset": "paper", "rows": rows}))
        nothing: dict[str, Any] = {"rows": []}
        yield from (("celeba", said) for said in of_table2(nothing))
        yield from (("mnist", said) for said in (*of_kappa(nothing), *of_joint(nothing), *of_gamma({})))
    for part in PAPERS[work].parts.values() if work != "gamix" else ():  # there is a record of every part of gamix
        if part.rows and part.columns and part.claims is not no_claims:
            for where in part.data or (None,):
                yield from ((where, said) for said in part.claims({"data": where or PAPERS[work].data[0], "rows": []}))


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
