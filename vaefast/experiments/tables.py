"""Scores as tables: in the terminal, and as Markdown."""

from __future__ import annotations

from typing import Any

ROWS = (
    ("fd_classifier/stage1", "FD-classifier, stage 1 samples (codes from N(0, I))"),
    ("fd_classifier/mixture", "FD-classifier, samples of a Gaussian mixture fitted to stage 1's codes"),
    ("fd_classifier/stage2", "FD-classifier, stage 2 samples"),
    ("fd_classifier/reconstructions", "FD-classifier, reconstructions of test images"),
    ("fd_classifier/reconstructions_both_stages", "FD-classifier, the same with their codes passed through stage 2"),
    ("fd_classifier/test_vs_train", "FD-classifier, real training images (the floor)"),
    ("mmd/stage1", "MMD^2 of stage 1's codes to N(0, I)"),
    ("mmd/stage2", "MMD^2 of stage 2's codes to N(0, I)"),
    ("reconstruction_error", "squared error a pixel of reconstructions, [0, 1] scale"),
    ("active_dimensions", "active latent dimensions"),
    ("gamma_x", "gamma of stage 1 (standard deviation, [0, 1] scale)"),
    ("gamma_z", "gamma of stage 2 (standard deviation of codes)"),
)
"""Keys of evaluation.json that a person reads first, and what to call them."""


def score_rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    """(what, value) for the keys that `result` has."""
    rows = []
    for key, label in ROWS:
        if key in result:
            value = f"{result[key]:.4g}"
            if key == "active_dimensions" and "latent_dim" in result:
                value += f" of {result['latent_dim']}"
            rows.append((label, value))
    return rows


def print_scores(result: dict[str, Any]) -> None:
    """The scores as a table on the terminal, with the sample counts they hold for."""
    from rich.console import Console
    from rich.table import Table

    table = Table(caption=f"{result['samples']:,} samples against {result['real']:,} test images; lower is better; "
                          f"classifier accuracy {result['classifier/test_accuracy']:.2%}")
    table.add_column("score")
    table.add_column("value", justify="right")
    for label, value in score_rows(result):
        table.add_row(label, value)
    Console().print(table)


def markdown_scores(result: dict[str, Any]) -> str:
    """The scores as a Markdown table."""
    lines = ["| score | value |", "| --- | --- |"]
    return "\n".join(lines + [f"| {label} | {value} |" for label, value in score_rows(result)]) + "\n"
