"""Scores as tables: in the terminal, and as Markdown."""

from __future__ import annotations

from typing import Any

_STAGE1 = "stage 1 samples (codes from N(0, I))"
_KINDS = (
    ("stage1", _STAGE1),
    ("stage2", "stage 2 samples"),
    ("mixture", "samples with codes from a Gaussian mixture"),
    ("reconstructions", "reconstructions of test images"),
    ("reconstructions_both_stages", "the same with their codes passed through stage 2"),
    ("test_vs_train", "real training images (the floor)"),
)
_METRICS = (("fd_classifier", "FD-classifier"), ("fd_exemplar", "FD-exemplar"), ("fid", "FID"), ("kid", "KID"),
            ("inception_score", "Inception score"), ("is_classifier", "IS-classifier"), ("is_exemplar", "IS-exemplar"),
            ("precision", "precision"), ("recall", "recall"), ("density", "density"), ("coverage", "coverage"),
            ("sharpness", "sharpness"), ("diversity", "diversity"))

ROWS = (
    *((f"{metric}/{kind}", f"{title}, {what}") for metric, title in _METRICS for kind, what in _KINDS),
    ("mmd/stage1", "MMD^2 of stage 1's codes to N(0, I)"),
    ("mmd/stage2", "MMD^2 of stage 2's codes to N(0, I)"),
    ("reconstruction_error", "squared error a pixel of reconstructions, [0, 1] scale"),
    ("active_dimensions", "active latent dimensions"),
    ("mutual_information", "mutual information of image and code, nats"),
    ("gamma_x", "gamma of stage 1 (standard deviation, [0, 1] scale)"),
    ("gamma_z", "gamma of stage 2 (standard deviation of codes)"),
)
"""Keys of evaluation.json that a person reads first, and what to call them."""

FEW_TESTED = 100
"""Test images below which an accuracy says little."""

_BY_STEP = (("step_error", "squared error a pixel of reconstructions, step by step"),
            ("step_sharpness", "sharpness of samples (variance of the Laplacian), step by step"))


def score_rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    """(what, value) for the keys that `result` has."""
    rows = []
    for key, label in ROWS:
        if key in result:
            value = f"{result[key]:.4g}"
            if key == "active_dimensions" and "latent_dim" in result:
                value += f" of {result['latent_dim']}"
            if "mmd/stage1" not in result:  # a model without codes of images has samples of one kind
                label = label.replace(_STAGE1, "samples")
            if key == "mutual_information" and "mutual_information_ceiling" in result:
                value += f" of at most log N = {result['mutual_information_ceiling']:.4g}"
            rows.append((label, value))
    for family, label in _BY_STEP:
        values = [value for key, value in result.items() if key.startswith(f"{family}/step")]
        if values:
            rows.append((label, " ".join(f"{value:.3g}" for value in values)))
            if f"{family}/data" in result:
                rows.append(("the same of the data", f"{result[f'{family}/data']:.3g}"))
    return rows


def print_scores(result: dict[str, Any]) -> None:
    """The scores as a table on the terminal, with the sample counts they hold for."""
    from rich.console import Console
    from rich.table import Table

    accuracy, tested = result.get("classifier/test_accuracy"), result.get("classifier/test_images")
    against = "training" if result.get("against") == "train" else "test"
    table = Table(caption=f"{result['samples']:,} samples against {result['real']:,} {against} images; of distances lower is "
                          "better"
                          + (f"; classifier accuracy {accuracy:.2%}" if accuracy is not None else "")
                          + (f" of {tested:,} images" + (", too few to tell" if tested < FEW_TESTED else "") if tested else ""))
    table.add_column("score")
    table.add_column("value", justify="right")
    for label, value in score_rows(result):
        table.add_row(label, value)
    Console().print(table)


def markdown_scores(result: dict[str, Any]) -> str:
    """The scores as a Markdown table."""
    lines = ["| score | value |", "| --- | --- |"]
    return "\n".join(lines + [f"| {label} | {value} |" for label, value in score_rows(result)]) + "\n"
