"""What the drawn figures share: colours, plain axes, and PNG and SVG files that are the same for the same numbers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

from vaefast.files import write_atomically

# Okabe and Ito's colours, which people with any common colour blindness tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#777777"


def blank(width: float, height: float, dpi: int = 130, layout: str | None = "constrained") -> Any:
    """An empty figure, in inches. Agg directly: pyplot would keep the figure and could look for a display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dpi, facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    return figure


def plain(axes: Any) -> Any:
    """The axes with small ticks, a light grid and no frame above and to the right."""
    axes.tick_params(which="both", labelsize=8, length=2)
    axes.grid(color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def panels(columns: int, width: float = 4.4, height: float = 3.5) -> tuple[Any, list[Any]]:
    """A figure of one row, and its axes."""
    figure = blank(width * columns, height)
    return figure, [plain(figure.add_subplot(1, columns, i + 1)) for i in range(columns)]


def label(axes: Any, title: str, x: str, y: str, *, legend: str = "best") -> None:
    """Title, axis labels, and the legend, where something drawn has a label."""
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, frameon=False, loc=legend)


def save_figure(figure: Any, stem: Path) -> list[Path]:
    """`stem`.png and `stem`.svg, each whole or not at all; the SVG's text stays text."""
    import matplotlib

    paths = []
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": stem.name}):
        for kind, options in (("png", {}), ("svg", {"metadata": {"Date": None}})):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, **options)
            paths.append(write_atomically(stem.with_name(f"{stem.name}.{kind}"), buffer.getvalue()))
    return paths
