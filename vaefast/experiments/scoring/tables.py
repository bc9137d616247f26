"""Scores as tables: in the terminal, and as Markdown."""

from __future__ import annotations

from typing import Any

from vaefast.experiments.scoring.registry import OF_ARRAYS, OF_CODES, OF_IMAGES, ONLY_SAMPLES, OTHERS, SUBJECTS, entry

FEW_TESTED = 100
"""Test images below which an accuracy says little."""


def score_rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    """(what, value) for the scores that `result` has and that a person reads first."""
    words = SUBJECTS | {"test_vs_train": SUBJECTS["test_vs_train"].format(others="test" if result.get("against") == "train" else
                                                                          "training")}
    if entry("mmd", "stage1") not in result:  # a model without codes of images has samples of one kind
        words["stage1"] = ONLY_SAMPLES
    rows = [(f"{score.name}, {what}", entry(score.key, subject)) for score in (*OF_IMAGES, *OF_ARRAYS)
            for subject, what in words.items()]
    for score in OTHERS:
        if score.key == "mmd":
            rows += [(score.line.format(stage.replace("stage", "stage ")), entry("mmd", stage)) for stage in OF_CODES]
        else:
            rows.append((score.line, score.key))
    shown = [(label, _shown(key, result)) for label, key in rows if key in result]
    for score in OTHERS:
        values = [value for key, value in result.items() if key.startswith(entry(score.key, "step"))]
        if values:
            shown.append((score.line, " ".join(f"{value:.3g}" for value in values)))
            if (data := result.get(entry(score.key, "data"))) is not None:
                shown.append(("the same of the data", f"{data:.3g}"))
    return shown


def _shown(key: str, result: dict[str, Any]) -> str:
    value = f"{result[key]:.4g}"
    if key == "active_dimensions" and "latent_dim" in result:
        return f"{value} of {result['latent_dim']}"
    if key == "mutual_information" and "mutual_information_ceiling" in result:
        return f"{value} of at most log N = {result['mutual_information_ceiling']:.4g}"
    return value


def print_scores(result: dict[str, Any]) -> None:
    """The scores as a table on the terminal, with the sample counts they hold for."""
    from rich.console import Console
    from rich.table import Table

    class Ours(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # so that the command ends as any does where nobody reads on: rich's own status is another

    accuracy, tested = result.get("classifier/test_accuracy"), result.get("classifier/test_images")
    against = "training" if result.get("against") == "train" else "test"
    things = "examples" if "data_shape" in result else "images"
    table = Table(caption=f"{result['samples']:,} samples against {result['real']:,} {against} {things}; of distances lower is "
                          "better"
                          + (f"; classifier accuracy {accuracy:.2%}" if accuracy is not None else "")
                          + (f" of {tested:,} images" + (", too few to tell" if tested < FEW_TESTED else "") if tested else ""))
    table.add_column("score")
    table.add_column("value", justify="right")
    for label, value in score_rows(result):
        table.add_row(label, value)
    Ours().print(table)


def markdown_scores(result: dict[str, Any]) -> str:
    """The scores as a Markdown table."""
    lines = ["| score | value |", "| --- | --- |"]
    return "\n".join(lines + [f"| {label} | {value} |" for label, value in score_rows(result)]) + "\n"
