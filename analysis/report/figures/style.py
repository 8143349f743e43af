"""What figures on paper share: their style, logarithmic axes, and the files they are written to."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenbatch.analysis.report.charts.curves import log_range, log_ticks
from greenbatch.analysis.report.charts.palette import GRID, INK, MUTED
from greenbatch.files import draft, make_folder

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import XAxis, YAxis
    from matplotlib.figure import Figure
    from matplotlib.typing import LineStyleType

DASHES: "LineStyleType" = (0, (4, 2))
SHAPES = {
    "circle": "o",
    "square": "s",
    "diamond": "D",
    "triangle-up": "^",
    "triangle-down": "v",
    "pentagon": "p",
}
"""Of matplotlib, by plotly's words."""
_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica Neue", "Arial", "Liberation Sans", "DejaVu Sans"],
    "font.size": 9,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "pdf.fonttype": 42,  # TrueType: journals refuse type 3
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "svg.fonttype": "none",  # text stays text: searchable, and small
    "svg.hashsalt": "greenbatch",  # the same run gives the same file
}


ENDINGS: dict[str, dict[str, Any]] = {
    "svg": {"metadata": {"Date": None}},
    "pdf": {"metadata": {"CreationDate": None}},
    "png": {"dpi": 160},
}


def save_figures(makers: Mapping[str, "Callable[[], Figure | None]"], folder: Path) -> list[Path]:
    """Write figures as SVG, PDF and PNG in the style of the report.

    Args:
        makers: What makes each figure, by its name; ``None`` where there is nothing to draw, and
            files of an earlier report are removed.
        folder: Where to; it is made.

    Returns:
        The files.
    """
    import matplotlib as mpl

    make_folder(folder)
    written: list[Path] = []
    with mpl.rc_context():
        mpl.rcdefaults()  # not those of a matplotlibrc in the current folder
        mpl.rcParams.update(_STYLE)
        for name, make in makers.items():
            figure = make()
            if figure is not None:  # laid out and cut once, not anew for each file
                figure.draw_without_rendering()
                figure.set_layout_engine(None)
                edges = figure.get_tightbbox().padded(0.12)
            for ending, options in ENDINGS.items():
                path = folder / f"{name}.{ending}"
                if figure is None:  # one of an earlier report must not stand for this run
                    path.unlink(missing_ok=True)
                    continue
                with draft(path) as unfinished:
                    figure.savefig(unfinished, format=ending, bbox_inches=edges, **options)
                written.append(path)
    return written


def log_axis(
    axis: "XAxis | YAxis",
    set_limits: Callable[[float, float], object],
    values: Sequence[float],
    unit: str,
    most: int = 7,
) -> None:
    """Make an axis logarithmic around the values, with labelled ticks at round numbers."""
    from matplotlib.ticker import NullLocator

    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    low, high = log_range(values)
    set_limits(low, high)
    ticks, words = log_ticks(low, high, unit, most)
    axis.set_ticks(ticks, words)
    axis.set_minor_locator(NullLocator())


def plain(axes: "Axes", title: str = "") -> None:
    """Leave of a panel what reads well: its title, faint lines across, no tick marks."""
    axes.set_title(title, loc="left", fontsize=9.5, color=INK)
    axes.grid(axis="y", color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
    axes.minorticks_off()
