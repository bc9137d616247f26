"""What the drawn figures share: colours, plain axes, and PNG and SVG files that are the same for the same numbers."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from typing import Any, Literal

from vaefast.files import write_atomically

# Okabe and Ito's colours, which people with any common colour blindness tell apart.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#777777"


def _matplotlib() -> Any:
    """matplotlib, also where MPLBACKEND names a backend that is not here, such as that of the notebook which started us."""
    named = os.environ.get("MPLBACKEND")
    if named is None or "matplotlib" in sys.modules:
        import matplotlib

        return matplotlib
    os.environ["MPLBACKEND"] = "agg"  # which the import would refuse; there is no second try, as it leaves half a package behind
    try:
        import matplotlib
    finally:
        os.environ["MPLBACKEND"] = named
    try:
        matplotlib.rcParams["backend"] = named  # for what the notebook itself draws
    except ValueError:
        pass
    return matplotlib


def blank(width: float, height: float, dpi: int = 130, layout: Literal["constrained"] | None = "constrained") -> Any:
    """An empty figure, in inches. Agg directly: pyplot would keep the figure and could look for a display."""
    _matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=dpi, facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    return figure


def even_panels(columns: int, rows: int = 1, *, width: float, height: float, dpi: int = 130, across: float = 0.8,
                between: float = 0.7) -> tuple[Any, Any]:
    """A figure of panels that are all alike, and its grid. The room for labels is fixed, as to measure them takes longer than to
    draw.

    Args:
        columns, rows: of panels.
        width, height: of one panel with its labels, in inches.
        dpi: dots an inch.
        across, between: inches between panels, for the labels of y and for those of x and the next title.
    """
    whole = columns * width, rows * height
    left, right, bottom, top = across - 0.06, 0.14, 0.46, 0.32  # inches
    panel = (whole[0] - left - right - across * (columns - 1)) / columns, (whole[1] - bottom - top - between * (rows - 1)) / rows
    figure = blank(*whole, dpi=dpi, layout=None)
    return figure, figure.add_gridspec(rows, columns, left=left / whole[0], right=1 - right / whole[0], bottom=bottom / whole[1],
                                       top=1 - top / whole[1], wspace=across / panel[0], hspace=between / panel[1])


def plain(axes: Any) -> Any:
    """The axes with small ticks, a light grid and no frame above and to the right."""
    axes.tick_params(which="both", labelsize=8, length=2)
    axes.grid(color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return axes


def panels(columns: int, width: float = 4.4, height: float = 3.5, dpi: int = 130) -> tuple[Any, list[Any]]:
    """A figure of one row, and its axes."""
    figure, grid = even_panels(columns, width=width, height=height, dpi=dpi)
    return figure, [plain(figure.add_subplot(grid[0, i])) for i in range(columns)]


def label(axes: Any, title: str, x: str, y: str, *, legend: str = "best") -> None:
    """Title, axis labels, and the legend, where something drawn has a label."""
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(x, fontsize=9)
    axes.set_ylabel(y, fontsize=9)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, frameon=False, loc=legend)


def save_figure(figure: Any, stem: Path) -> list[Path]:
    """`stem`.png and `stem`.svg, each whole or not at all; the SVG's text stays text."""
    paths = []
    with _matplotlib().rc_context({"svg.fonttype": "none", "svg.hashsalt": stem.name}):
        for kind, options in (("png", {}), ("svg", {"metadata": {"Date": None}})):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=kind, **options)
            paths.append(write_atomically(stem.with_name(f"{stem.name}.{kind}"), buffer.getvalue()))
    return paths
