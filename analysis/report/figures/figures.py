"""The figures on paper: SVG, PDF and PNG by matplotlib, one panel for each model."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.analysis.findings.cells import CellRow
from greenbatch.analysis.findings.serving import serving_panels
from greenbatch.analysis.findings.timeline import TIMELINES, Timeline
from greenbatch.analysis.report.charts.curves import Curve, curve_labels, curves
from greenbatch.analysis.report.charts.palette import MUTED, colours, markers
from greenbatch.analysis.report.figures.accuracy import accuracy_figure
from greenbatch.analysis.report.figures.serving import policy_figure, serving_figure
from greenbatch.analysis.report.figures.style import (
    DASHES,
    ENDINGS,
    SHAPES,
    log_axis,
    plain,
    save_figures,
)
from greenbatch.analysis.report.figures.timeline import timeline_figure
from greenbatch.analysis.statistics.intervals import Interval, bounds, sides
from greenbatch.analysis.tradeoffs.accuracy_front import FrontCandidate
from greenbatch.records import Cell

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_COLUMNS = 3
FIGURES = (
    "energy",
    "latency",
    "tradeoff",
    "serving-energy",
    "serving-response",
    "serving",
    "accuracy",
    *TIMELINES,
)
"""Names of the files, without their endings."""


def write_figures(
    rows: Sequence[CellRow],
    folder: Path,
    pareto_status: Mapping[Cell, str] | None = None,
    timelines: Sequence[Timeline] = (),
    candidates: Sequence[FrontCandidate] = (),
) -> list[Path]:
    """Write every figure of the report but power, each as SVG, PDF and PNG.

    Args:
        rows: As `cell_rows` gives them.
        folder: Where to; it is made.
        pareto_status: Of each cell: ``front``, ``unsure`` or ``dominated``.
        timelines: As `greenbatch.analysis.findings.timeline.timeline` gives them.
        candidates: As `greenbatch.analysis.tradeoffs.accuracy_front.accuracy_front` gives them.

    Returns:
        The files. A figure with nothing to draw (no energy, nothing measured, fewer than two
        networks with a year) is not there.
    """
    stands = pareto_status or {}
    every, rows = rows, [row for row in rows if not row.cell.is_server]
    panels = serving_panels(every)
    return save_figures(
        {
            "energy": lambda: energy_figure(rows),
            "latency": lambda: latency_figure(rows),
            "tradeoff": lambda: tradeoff_figure(rows, stands),
            "serving-energy": lambda: policy_figure(every, panels, "energy_per_image_j"),
            "serving-response": lambda: policy_figure(every, panels, "response_mean_s"),
            "serving": lambda: serving_figure(every, panels),
            "accuracy": lambda: accuracy_figure(candidates),
            **{
                name: partial(timeline_figure, found)
                for name, found in zip(
                    TIMELINES, (*timelines, Timeline(), Timeline()), strict=False
                )
            },
        },
        folder,
    )


def remove_figures(folder: Path) -> None:
    """Remove the figures of an earlier report: they must not stand beside another one."""
    for path in (folder / f"{name}.{ending}" for name in FIGURES for ending in ENDINGS):
        path.unlink(missing_ok=True)


def energy_figure(rows: Sequence[CellRow]) -> "Figure | None":
    """Draw energy per image against batch size; estimates are dashed and hollow."""
    panels = curves(rows, "energy")
    return _draw(rows, [panels], "Energy per image", "J")


def latency_figure(rows: Sequence[CellRow]) -> "Figure | None":
    """Draw the latency of a batch against its size: p50 in full, p99 thin and dotted."""
    both = [curves(rows, "latency_p50"), curves(rows, "latency_p99")]
    return _draw(rows, both, "Latency of one batch: p50 (solid), p99 (dotted)", "s")


def tradeoff_figure(rows: Sequence[CellRow], pareto_status: Mapping[Cell, str]) -> "Figure | None":
    """Draw energy per image against p50 latency, a point for each batch size.

    Cells on the Pareto front are large, dominated ones small.
    """
    energies, latencies = curves(rows, "energy"), curves(rows, "latency_p50")
    labels = curve_labels(rows)
    stands = {(c.model, labels[c], c.batch_size): text for c, text in pareto_status.items()}

    def draw(axes: "Axes", model: str, look: "_Look") -> None:
        delays = {
            (curve.label, size): value.centre
            for curve in latencies[model]
            for size, value in zip(curve.batch_sizes, curve.values, strict=True)
        }
        xs: list[float] = []
        ends: list[float] = []
        for curve in energies[model]:
            known = [
                (delays[curve.label, size], value, size)
                for size, value in zip(curve.batch_sizes, curve.values, strict=True)
                if (curve.label, size) in delays
            ]
            if not known:
                continue
            x, values, _ = zip(*known, strict=True)
            look.line(axes, curve, x, values, markersize=0, linewidth=0.8)
            for delay, value, size in known:
                place = stands.get((model, curve.label, size), "")
                colour = look.colour[curve.variant]
                axes.plot(
                    delay,
                    value.centre,
                    color=colour,
                    marker=SHAPES[look.marker[curve.variant]],
                    markersize={"front": 7, "dominated": 3}.get(place, 5),
                    markerfacecolor="white" if curve.estimated else colour,
                    markeredgewidth=1.2,
                )
                if place == "front":  # nothing lies below and left of the front
                    axes.annotate(
                        str(size),
                        (delay, value.centre),
                        (-4, -4),
                        textcoords="offset points",
                        ha="right",
                        va="top",
                        fontsize=7,
                        fontweight="bold",
                        color=colour,
                    )
            xs += [*x, min(x) / 1.25]  # room for the batch size beside the first point
            ends += [end for value in values for end in bounds(value)]
        if xs:
            log_axis(axes.xaxis, axes.set_xlim, xs, "s", most=4)
            log_axis(axes.yaxis, axes.set_ylim, ends, "J")
        plain(axes, model)

    models = [model for model, found in energies.items() if found and latencies[model]]
    title = "Energy per image against p50 latency; large, with batch size: Pareto front"
    return _panels(rows, models, title, "p50 latency of a batch", draw)


def _draw(
    rows: Sequence[CellRow],
    layers: Sequence[Mapping[str, list[Curve]]],
    title: str,
    unit: str,
) -> "Figure | None":
    def draw(axes: "Axes", model: str, look: "_Look") -> None:
        for layer, found in enumerate(layers):
            for curve in found[model]:
                look.line(axes, curve, curve.batch_sizes, curve.values, layer)
        _axes(axes, model, [curve for found in layers for curve in found[model]], unit)

    models = [model for model, found in layers[0].items() if found]
    return _panels(rows, models, title, "batch size", draw)


def _panels(
    rows: Sequence[CellRow],
    models: Sequence[str],
    title: str,
    across: str,
    draw: Callable[["Axes", str, "_Look"], None],
) -> "Figure | None":
    """Draw a panel for each model, with one legend."""
    from matplotlib.figure import Figure  # no pyplot: nothing global, no window

    if not models:
        return None
    look = _Look(rows)
    width = min(_COLUMNS, len(models))
    height = -(-len(models) // width)
    figure = Figure(figsize=(0.6 + 2.9 * width, 0.9 + 2.35 * height), layout="constrained")
    panels = figure.subplots(height, width, squeeze=False)
    for spare in panels.flat[len(models) :]:
        spare.set_axis_off()
    for axes, model in zip(panels.flat, models, strict=False):
        draw(axes, model, look)
    for column in range(width):  # under the lowest panel of each column
        lowest = (len(models) - 1 - column) // width * width + column
        panels.flat[lowest].set_xlabel(across, color=MUTED)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11.5, fontweight="bold")
    figure.legend(
        look.handles.values(),
        look.handles.keys(),
        loc="outside lower left",
        ncols=4,
        frameon=False,
        handlelength=3,
    )
    return figure


class _Look:
    """How each variant is drawn, and the legend's entries of those that were."""

    def __init__(self, rows: Sequence[CellRow]) -> None:
        variants = list(dict.fromkeys(row.cell.variant for row in rows))
        self.colour, self.marker = colours(variants), markers(variants)
        self.handles: dict[str, Line2D] = {}

    def line(
        self,
        axes: "Axes",
        curve: Curve,
        x: Sequence[float],
        values: Sequence[Interval],
        layer: int = 0,
        *,
        markersize: float = 5,
        linewidth: float | None = None,
    ) -> None:
        colour, marker = self.colour[curve.variant], self.marker[curve.variant]
        _curve(axes, curve, x, values, colour, marker, layer, markersize, linewidth)
        if layer == 0:
            self.name(curve)

    def name(self, curve: Curve) -> None:
        """Put a curve into the legend."""
        from matplotlib.lines import Line2D

        colour = self.colour[curve.variant]
        label = curve.label + (" (estimated)" if curve.estimated else "")
        self.handles[label] = Line2D(
            [],
            [],
            color=colour,
            linewidth=1.5,
            linestyle=DASHES if curve.estimated else "-",
            marker=SHAPES[self.marker[curve.variant]],
            markersize=5,
            markerfacecolor="white" if curve.estimated else colour,
            markeredgewidth=1.2,
        )


def _curve(
    axes: "Axes",
    curve: Curve,
    x: Sequence[float],
    values: Sequence[Interval],
    colour: str,
    marker: str,
    layer: int,
    markersize: float,
    linewidth: float | None,
) -> None:
    centres = [value.centre for value in values]
    errors = list(zip(*(sides(value.centre, *bounds(value)) for value in values), strict=True))
    first = layer == 0
    axes.errorbar(
        x,
        centres,
        yerr=errors,
        color=colour,
        linestyle=DASHES if curve.estimated else "-" if first else (0, (1, 1.6)),
        marker=SHAPES[marker] if first else None,
        markerfacecolor="white" if curve.estimated else colour,
        markeredgewidth=1.2,
        elinewidth=1.0,
        capsize=2.5,
        linewidth=linewidth or (1.5 if first else 1.0),
        markersize=markersize,
    )


def _axes(axes: "Axes", model: str, shown: Sequence[Curve], unit: str) -> None:
    from matplotlib.ticker import NullLocator

    axes.set_xscale("log", base=2)
    batch_sizes = sorted({size for curve in shown for size in curve.batch_sizes})
    axes.set_xticks(batch_sizes, [str(size) for size in batch_sizes])
    axes.set_xlim(batch_sizes[0] / 1.3, batch_sizes[-1] * 1.3)
    axes.xaxis.set_minor_locator(NullLocator())
    ends = [end for curve in shown for value in curve.values for end in bounds(value)]
    log_axis(axes.yaxis, axes.set_ylim, ends, unit)
    plain(axes, model)
