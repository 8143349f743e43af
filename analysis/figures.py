"""The figures on paper: SVG and PNG by matplotlib, one panel for each model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from greenbatch.analysis.curves import Curve, bounds, curves, log_range, log_ticks
from greenbatch.analysis.palette import GRID, INK, MUTED, colours, markers
from greenbatch.analysis.tables import CellRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLUMNS = 3
_MARKERS = {
    "circle": "o",
    "square": "s",
    "diamond": "D",
    "triangle-up": "^",
    "triangle-down": "v",
    "pentagon": "p",
}
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
    "svg.fonttype": "none",  # text stays text: searchable, and small
    "svg.hashsalt": "greenbatch",  # the same run gives the same file
}


def write_figures(rows: Sequence[CellRow], folder: Path) -> list[Path]:
    """Write ``energy`` and ``latency`` against batch size, each as SVG and PNG.

    Args:
        rows: As `cell_rows` gives them.
        folder: Where to; it is made.

    Returns:
        The files. There is no energy figure where no cell has energy, and no latency figure
        where nothing was measured.
    """
    import matplotlib as mpl

    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    with mpl.rc_context(_STYLE):
        for name, figure in (("energy", energy_figure(rows)), ("latency", latency_figure(rows))):
            if figure is None:  # one of an earlier report must not stand for this run
                for ending in ("svg", "png"):
                    (folder / f"{name}.{ending}").unlink(missing_ok=True)
                continue
            for ending, options in (("svg", {"metadata": {"Date": None}}), ("png", {"dpi": 160})):
                path = folder / f"{name}.{ending}"
                figure.savefig(path, bbox_inches="tight", pad_inches=0.12, **options)
                written.append(path)
    return written


def energy_figure(rows: Sequence[CellRow]) -> "Figure | None":
    """Draw energy per image against batch size; estimates are dashed and hollow."""
    panels = curves(rows, "energy")
    return _draw(rows, [panels], "Energy per image", "J")


def latency_figure(rows: Sequence[CellRow]) -> "Figure | None":
    """Draw the latency of a batch against its size: p50 in full, p99 thin and dotted."""
    both = [curves(rows, "latency_p50"), curves(rows, "latency_p99")]
    return _draw(rows, both, "Latency of one batch: p50 (solid), p99 (dotted)", "s")


def _draw(
    rows: Sequence[CellRow],
    layers: Sequence[Mapping[str, list[Curve]]],
    title: str,
    unit: str,
) -> "Figure | None":
    from matplotlib.figure import Figure  # no pyplot: nothing global, no window

    models = [model for model, found in layers[0].items() if found]
    if not models:
        return None
    variants = list(dict.fromkeys(row.cell.variant for row in rows))
    colour, marker = colours(variants), markers(variants)
    width = min(_COLUMNS, len(models))
    height = -(-len(models) // width)
    figure = Figure(figsize=(0.6 + 2.9 * width, 0.9 + 2.35 * height), layout="constrained")
    panels = figure.subplots(height, width, squeeze=False)
    handles: dict[str, Any] = {}
    for spare in panels.flat[len(models) :]:
        spare.set_axis_off()
    for axes, model in zip(panels.flat, models, strict=False):
        for layer, found in enumerate(layers):
            for curve in found[model]:
                label = curve.label + (" (estimated)" if curve.estimated else "")
                line = _curve(axes, curve, colour[curve.variant], marker[curve.variant], layer)
                if layer == 0:
                    handles.setdefault(label, line)
        shown = [curve for found in layers for curve in found[model]]
        _axes(axes, model, shown, unit)
    for column in range(width):  # under the lowest panel of each column
        lowest = (len(models) - 1 - column) // width * width + column
        panels.flat[lowest].set_xlabel("batch size", color=MUTED)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11.5, fontweight="bold")
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside lower left",
        ncols=4,
        frameon=False,
        handlelength=3,
    )
    return figure


def _curve(axes: "Axes", curve: Curve, colour: str, marker: str, layer: int) -> Any:
    centres = [value.centre for value in curve.values]
    ends = [bounds(value) for value in curve.values]
    errors = [
        [c - low for c, (low, _) in zip(centres, ends, strict=True)],
        [high - c for c, (_, high) in zip(centres, ends, strict=True)],
    ]
    first = layer == 0
    return axes.errorbar(
        curve.batch_sizes,
        centres,
        yerr=errors,
        color=colour,
        linewidth=1.5 if first else 1.0,
        linestyle=(0, (4, 2)) if curve.estimated else "-" if first else (0, (1, 1.6)),
        marker=_MARKERS[marker] if first else None,
        markersize=5,
        markerfacecolor="white" if curve.estimated else colour,
        markeredgewidth=1.2,
        elinewidth=1.0,
        capsize=2.5,
    )


def _axes(axes: "Axes", model: str, shown: Sequence[Curve], unit: str) -> None:
    from matplotlib.ticker import NullLocator

    axes.set_title(model, loc="left", fontsize=9.5, color=INK)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    batch_sizes = sorted({size for curve in shown for size in curve.batch_sizes})
    axes.set_xticks(batch_sizes, [str(size) for size in batch_sizes])
    axes.set_xlim(batch_sizes[0] / 1.3, batch_sizes[-1] * 1.3)
    ends = [end for curve in shown for value in curve.values for end in bounds(value)]
    low, high = log_range(ends)
    axes.set_ylim(low, high)
    axes.set_yticks(*log_ticks(low, high, unit))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_minor_locator(NullLocator())
    axes.grid(axis="y", color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(length=0)
