"""One HTML file that shows what a run was, what came out, and how to read it."""

from __future__ import annotations

import json
import math
import os
import shlex
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from vaefast.errors import RunFolderError
from vaefast.experiments.pictures.html import figure, page, section, table
from vaefast.experiments.scoring.registry import HOW, OF_CODES, ONLY_SAMPLES, SCORES, SUBJECTS, Score, known, parsed
from vaefast.experiments.scoring.tables import FEW_TESTED
from vaefast.files import write_atomically
from vaefast.training.storage import read_object

_MODELS = {
    "two-stage": "A two-stage variational autoencoder: the first stage learns to code images and to draw them back; "
    "the second learns how those codes are distributed, so that new ones can be drawn (Dai & Wipf 2019).",
    "vae": "A variational autoencoder: an encoder and a decoder trained together, new images decoded from N(0, I).",
    "sequential": "A Sequential VAE: a chain of steps, each of which draws the image of the one before it anew, with a code of "
    "its own (Zhao, Song & Ermon 2017).",
    "wae": "A Wasserstein autoencoder: an autoencoder whose codes, all together, are made to look like draws of N(0, I), from "
    "which new images are decoded (Tolstikhin et al. 2018).",
    "gan": "A generative adversarial network: a generator makes images of random codes, a discriminator tells them from real "
    "ones, and each learns against the other.",
    "biggan": "BigGAN or BigGAN-deep for small images: a generator and a discriminator of residual blocks (Brock et al. 2019, "
    "Hinrichsen 2023).",
    "biggan-vae": "A variational autoencoder of BigGAN's parts: the discriminator with other outputs encodes, the generator "
    "decodes (Hinrichsen 2023).",
    "general": "A variational autoencoder that maximises E_q[log p(x|z)] - R(q), with the family of p and the regulariser R that "
    "the settings below name (Zhao, Song & Ermon 2017).",
    "gamix": "GAMIX-VAE: an autoencoder whose codes' mean and variance, all together, are those of N(0, I), with an L1 cost and "
    "a discriminator of patches (Rivera 2023).",
}

_NO_ENCODER = ("gan", "biggan")

# Entry of latents.json -> how to read it.
_LATENTS = {
    "latent_dim": "latent dimensions",
    "active_dimensions": "active ones: mean posterior variance below 0.5 (an ignored dimension has 1)",
    "kl_dimensions": "used ones: mean KL above 0.01 nats (a collapsed dimension has 0)",
    "kl": "mean KL of a posterior to N(0, I), nats an image",
    "mutual_information": "mutual information of image and code, nats",
    "mutual_information_images": "images it is taken over; it is at most the logarithm of their number",
    "global_kl": "KL of the Gaussian of all posteriors' mean and variance, nats (0: those of the prior)",
    "global_kl_of_means": "the same with the variance of the means alone",
}

_CAPTIONS = {
    "samples_stage1.png": "Stage 1 samples: latents drawn from N(0, I)",
    "samples_chain.png": "Chain samples: z drawn from q(z|x) and x from p(x|z) in turn, beside those of latents from N(0, I)",
    "samples_stage2.png": "Stage 2 samples: latents drawn by the second stage",
    "samples_classes.png": "Samples of the classes asked for, one class a row",
    "stages.png": "Left: stage 1. Right: stage 2",
    "samples_steps.png": "Samples, one a row: the image after each step of the chain, from left to right",
    "samples_steps.gif": "The same for more samples, step after step",
    "nearest.png": "Samples, each with the three training images nearest to it by pixels: a copy would show",
    "reconstructions.png": "Training images, each with its reconstruction to the right",
    "reconstructions_steps.png": "Reconstructions of training images, one a row: after each step, and the image itself",
    "steps.png": "Reconstruction error, and sharpness against the data's own, after each step",
}

_OF_ARRAYS = {"reconstructions.png": "Training data and their reconstructions"}
"""Captions of data that are no images."""

# Settings shown first, in this order; all others follow.
_FIRST = ("kind", "model", "data", "preset", "seed", "device", "precision", "versions", "command")


def write_report(run_dir: str | os.PathLike[str]) -> Path:
    """Write `report.html` into a run folder from what lies there.

    Reads config.json, metrics.jsonl, evaluation.json and the PNG files; each may be missing, and the report then
    says which command makes it. The report is a single file: pictures inside, no scripts, no network.

    Args:
        run_dir: folder of one run.

    Returns:
        Path of the report.

    Raises:
        RunFolderError: the folder is not there, or cannot be written.
    """
    run = Path(run_dir)
    if not run.is_dir():
        raise RunFolderError(f"There is no run folder {run}: `vaefast train` makes one.")
    scores = read_object(run / "evaluation.json")
    about = scores.pop("about", None)
    config = read_object(run / "config.json") or (about if isinstance(about, dict) else {})
    model, data = _name(config.get("kind")), _name(config.get("data"))
    drawn = "Samples" if model in _NO_ENCODER else None
    title = " on ".join(part for part in (model, data) if part) or run.resolve().name
    pictures = {p.name: p for p in sorted([*run.glob("*.png"), *run.glob("*.gif")])}
    curves, latents = pictures.pop("curves.png", None), pictures.pop("latents.png", None)
    body = [
        f"<h1>{escape(title)}</h1>",
        f"<p>{escape(_about(model, config, run))}</p>",
        *_warnings(run),
        section("Scores", _scores(scores, run, config, drawn)),
        section("Pictures", _pictures(pictures, run, config, drawn)),
        *([] if model in _NO_ENCODER else [
            section("Latents", _latents(read_object(run / "latents.json"), latents, run, config, scores))]),
        *([] if about is not None else [section("Training", _training(run, config, curves))]),
        section("Settings", _settings(config)),
    ]
    return write_atomically(run / "report.html", page(title, body))


def _about(model: str, config: Mapping[str, Any], run: Path) -> str:
    first = _MODELS.get(model, "")
    if not first:
        first = f"A {model} model." if model else "A run of vaefast."
    return f"{first} This page is about the run in the folder {run.resolve().name}."


def _warnings(run: Path) -> list[str]:
    """What was noticed while training, as a section of its own; nothing where nothing was."""
    rows = []
    for record in _records(run / "metrics.jsonl"):
        for key in ("warning", "warning_over"):
            if key in record:
                where = f"{_stage(str(record.get('stage', 'training')))}, step {record.get('step', '?')}"
                rows.append(f'<tr><th scope="row">{escape(where)}</th><td class="value">{escape(str(record[key]))}</td></tr>')
    if not rows:
        return []
    note = ""
    if (run / "checkpoints" / "last-good.json").exists():
        path = escape(shlex.quote(str(run / "checkpoints" / "last-good")))
        note = ('<p class="note">The checkpoint from before the trouble is kept. To go on from its weights with other settings: '
                f"<code>vaefast train ... --start-from {path}</code></p>")
    table = f'<div class="scroll"><table class="settings"><tbody>{"".join(rows)}</tbody></table></div>'
    return [section("Warnings", table + note)]


def _scores(scores: Mapping[str, Any], run: Path, config: Mapping[str, Any], drawn: str | None = None) -> str:
    families: dict[str, list[tuple[str, str]]] = {}
    facts: dict[str, Any] = {}
    spreads = _spreads(scores)
    for key, value in scores.items():
        family, subject = parsed(key)
        if key in spreads.values():
            continue
        if family == "classifier" or not subject and family not in SCORES:
            facts[key] = value
            continue
        shown = _value(value)
        if key in spreads and abs(scores[spreads[key]]) > 1e-6 * abs(value):
            shown += f" ± {_value(scores[spreads[key]], digits=2)}"
        if key == "active_dimensions" and "latent_dim" in scores:
            shown += f" of {scores['latent_dim']}"
        families.setdefault(family, []).append((subject, shown))
    if not families and not facts:
        return _missing("scores", _evaluation(run, config))
    rows = []
    order: dict[Score | None, int] = {score: i for i, score in enumerate(SCORES.values())}
    others = "test" if scores.get("against") == "train" else "training"
    for family in sorted(families, key=lambda f: order.get(known(f)[0], len(order))):
        heading, reading = _headed(family)
        cell = f"<strong>{escape(heading)}</strong>" + (f"<small>{escape(reading)}</small>" if reading else "")
        subjects = SUBJECTS | (OF_CODES if family == "mmd" else {}) | ({"stage1": ONLY_SAMPLES} if drawn else {})
        for i, (subject, shown) in enumerate(families[family]):
            span = f'<th scope="rowgroup" rowspan="{len(families[family])}">{cell}</th>' if i == 0 else ""
            what = escape(subjects.get(subject, _words(subject)).format(others=others))
            number, _, spread = shown.partition(" ± ")
            quiet = f' <span class="spread">± {escape(spread)}</span>' if spread else ""
            rows.append(f'<tr>{span}<td>{what}</td><td class="number">{escape(number)}{quiet}</td></tr>')
    table = (
        '<div class="scroll"><table><thead><tr><th>Score</th><th>Of what</th><th class="number">Value</th></tr>'
        f"</thead><tbody>{''.join(rows)}</tbody></table></div>"
        if rows
        else ""
    )
    return table + _facts(facts, bool(spreads))


def _spreads(scores: Mapping[str, Any]) -> dict[str, str]:
    """Key of a score -> key of its standard deviation or error, which stands beside it."""
    spreads = {}
    for key in scores:
        family = parsed(key)[0]
        for spread in (key.replace(family, f"{family}_std", 1), f"{key}_standard_error"):
            if _is_number(scores.get(spread)):
                spreads[key] = spread
    return spreads


def _headed(key: str) -> tuple[str, str]:
    score, count, deviation = known(key)
    heading, reading = (_words(key), "") if score is None else (score.heading, score.reading)
    if count:
        heading += f", {count} samples"
    return (f"{heading}, standard deviation", "Over its splits or subsets.") if deviation else (heading, reading)


def _facts(facts: Mapping[str, Any], spread: bool = False) -> str:
    facts = dict(facts)
    lines = []
    samples, fake, real, against = (facts.pop(name, None) for name in ("samples", "fake", "real", "against"))
    if _is_number(fake if samples is None else samples):
        line = f"Scores are over {_whole(fake if samples is None else samples)} samples of each kind"
        lines.append(line + (f", against {_whole(real)} {_SPLITS.get(against, 'real')} images." if _is_number(real) else "."))
    version, accuracy = facts.pop("classifier/version", None), facts.pop("classifier/test_accuracy", None)
    tested = facts.pop("classifier/test_images", None)
    if version is not None or accuracy is not None:
        exemplar = str(version).startswith("exemplar")
        line = f"The network behind FD-{'exemplar' if exemplar else 'classifier'} is version {version or 'unknown'}"
        seen = "new views of its exemplars" if exemplar else f"{_whole(tested)} test images" if tested else "test images"
        lines.append(line + (f", {accuracy:.2%} right on {seen}." if _is_number(accuracy) else "."))
        if tested is not None and tested < FEW_TESTED:
            lines.append("So few images hardly tell how good it is.")
    ceiling, images = (facts.pop(f"mutual_information_{name}", None) for name in ("ceiling", "images"))
    if _is_number(ceiling) and _is_number(images):
        lines.append(f"The mutual information is an estimate from N = {_whole(images)} images, at most log N = {ceiling:.4g}.")
    if facts.pop("stretch", False):
        lines.append("Generated images were stretched to the full range.")
    facts.pop("latent_dim", None)
    for name, sentence in HOW.items():
        if (value := facts.pop(name, None)) is not None:
            lines.append(sentence.format(_whole(value)))
    if spread:
        lines.append("Behind ± stands the standard deviation over splits or subsets; of MMD² and the mutual information, the "
                     "standard error.")
    lines += [f"{_words(key)}: {_value(value)}." for key, value in facts.items()]
    return f'<p class="note">{escape(" ".join(lines))}</p>' if lines else ""


_SPLITS = {"test": "real test", "train": "real training"}


def _whole(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def _pictures(pictures: Mapping[str, Path], run: Path, config: Mapping[str, Any], drawn: str | None = None) -> str:
    if not pictures:
        return _missing("pictures", _resumption(run, config))
    data = config.get("data")
    special = _OF_ARRAYS if isinstance(data, Mapping) and "data_shape" in data else {}
    known = [n for n in _CAPTIONS if n in pictures]
    names = known + [n for n in pictures if n not in _CAPTIONS]
    return '<div class="pictures">' + "".join(
        figure(pictures[n], drawn if drawn and n == "samples_stage1.png" else special.get(n) or _caption(n))
        for n in names) + "</div>"


def _latents(latents: Mapping[str, Any], picture: Path | None, run: Path, config: Mapping[str, Any],
             scores: Mapping[str, Any]) -> str:
    """Whether the code has collapsed: the picture, and its numbers in words; what stands among the scores is left to them."""
    if not latents or picture is None:
        return _missing("latents (latents.json, latents.png)", _evaluation(run, config))
    shown = [name for name in _LATENTS if latents.get(name) is not None and name.removesuffix("_images") not in scores]
    return figure(picture, f"Codes and posteriors of {latents['images']:,} images", "wide") + table(
        ["Latents", "Value"], [[_LATENTS[name], _value(latents[name])] for name in shown])


def _caption(name: str) -> str:
    return _CAPTIONS.get(name) or _words(name.removesuffix(".png"))


def _training(run: Path, config: Mapping[str, Any], curves: Path | None) -> str:
    records = list(_records(run / "metrics.jsonl"))
    parts = []
    if curves is not None:
        parts.append(figure(curves, "Terms of the loss while training, one row a stage", "wide"))
    elif records:
        parts.append(_missing("curves", _resumption(run, config)))
    parts.append(_last_values(records) if records else _missing("training log (metrics.jsonl)", _resumption(run, config)))
    return "".join(parts)


def _last_values(records: Iterable[Mapping[str, Any]]) -> str:
    """Table of the last logged number of each name, one column a stage."""
    last: dict[str, dict[str, Any]] = {}
    for record in records:
        numbers = {k: v for k, v in record.items() if _is_number(v)}
        last.setdefault(str(record.get("stage", "training")), {}).update(numbers)
    names = list(dict.fromkeys(name for values in last.values() for name in values))
    head = "".join(f'<th class="number">{escape(_stage(stage))}</th>' for stage in last)
    rows = "".join(
        f'<tr><th scope="row">{escape(_words(name))}</th>'
        + "".join(f'<td class="number">{escape(_value(v[name]) if name in v else "")}</td>' for v in last.values())
        + "</tr>"
        for name in names
    )
    return (
        '<details><summary>Last logged values</summary><div class="scroll"><table><thead><tr><th></th>'
        f"{head}</tr></thead><tbody>{rows}</tbody></table></div></details>"
    )


def _settings(config: Mapping[str, Any]) -> str:
    if not config:
        return _missing("settings (config.json)", _TRAIN)
    names = [n for n in _FIRST if n in config] + [n for n in config if n not in _FIRST]
    rows = []
    for name in names:
        for label, value in _flat(name, config[name]):
            shown = f"<code>{escape(_value(value))}</code>" if name == "command" else escape(_value(value))
            rows.append(f'<tr><th scope="row">{escape(label)}</th><td class="value">{shown}</td></tr>')
    return f'<div class="scroll"><table class="settings"><tbody>{"".join(rows)}</tbody></table></div>'


def _flat(label: str, value: Any) -> Iterable[tuple[str, Any]]:
    if label == "stages" and isinstance(value, list):
        for number, stage in enumerate(value, 1):
            if isinstance(stage, Mapping):  # what is not set says nothing
                stage = {key: inner for key, inner in stage.items() if inner not in (None, {}, [])}
            yield from _flat(f"stage {number}", stage)
    elif isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(f"{label} / {key}", inner)
    elif isinstance(value, list) and any(isinstance(inner, Mapping) for inner in value):
        for number, inner in enumerate(value, 1):
            yield from _flat(f"{label} / {number}", inner)
    else:
        yield label.replace("_", " "), value


_TRAIN = "vaefast train MODEL --data NAME --out RUN"


def _evaluation(run: Path, config: Mapping[str, Any]) -> str:
    """What scores the run: the command line, or Python where the data have no name that it knows."""
    if config and "data_name" not in config and "command" not in config:
        return f"vaefast.evaluate(model, images, out={str(run)!r})"
    networks = config.get("networks")
    flags = ["--networks", networks["from"]] if isinstance(networks, Mapping) and "from" in networks else []
    return shlex.join(["vaefast", "evaluate", str(run), *flags])


def _resumption(run: Path, config: Mapping[str, Any]) -> str:
    """What trains the run to its end."""
    if command := config.get("command"):
        return str(command) if "--resume" in str(command) else f"{command} --resume"
    return f"model.fit(images, out={str(run)!r}, resume=True)" if config else _TRAIN


def _missing(what: str, command: str) -> str:
    return f'<p class="missing">No {escape(what)} here yet: run <code>{escape(command)}</code>.</p>'


def _records(path: Path) -> Iterable[dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            record = json.loads(line)
        except ValueError:
            continue  # a run that was killed leaves half a line
        if isinstance(record, dict):
            yield record


def _name(value: Any) -> str:
    if isinstance(value, Mapping):
        value = value.get("name", "")
    return "" if value is None else str(value)


def _words(name: str) -> str:
    words = _stage(name).replace("_", " ").replace("/", ": ")
    return words[:1].upper() + words[1:]


def _stage(name: str) -> str:
    return name.replace("stage1", "stage 1").replace("stage2", "stage 2")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _value(value: Any, digits: int = 4) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "not set"}[value]
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:,.1f}" if 100 <= abs(value) < 1e6 else f"{value:.{digits}g}"
    if isinstance(value, list | tuple):
        return ", ".join(_value(v) for v in value)
    return str(value)
