"""The figures on paper: what the page draws, by matplotlib as SVG, PDF and PNG."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from greenbatch import units
from greenbatch.analysis.report.charts.charts import Chart, Style
from greenbatch.analysis.report.charts.facts import (
    Band,
    BandsFacts,
    ChartFacts,
    FrontFacts,
    FrontPoint,
    MachineBars,
    RepetitionsRow,
)
from greenbatch.analysis.report.charts.palette import ACCENT, GRID, INK, MUTED
from greenbatch.analysis.report.figures.style import DASHES, SHAPES, log_axis, save_figures
from greenbatch.analysis.report.page import Section
from greenbatch.analysis.statistics.intervals import sides
from greenbatch.analysis.training.report.panels import (
    bars,
    effects,
    interaction,
    percent_axis,
    repetitions,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

FIGURES = (
    *("learning", "epochs", "front", "repetitions", "effects", "interaction", "search", "trials"),
    *("machines", "machine-utilization", "machine-correctness"),
)
"""Every figure that a report of trainings may have, by its section's name; the report may replace
and delete files of these names."""
_COLUMNS = 2
_LABELLED, _SHORT = 14, 25  # points that are named, and letters of a name that has room


def write_training_figures(
    sections: Sequence[Section], styles: Sequence[Style], folder: Path
) -> list[Path]:
    """Write a figure for each section of the page, with a panel for each chart.

    Args:
        sections: As the page has them; one without charts has no figure.
        styles: Name, colour and marker of what is compared.
        folder: Where to; it is made, and figures that are no section's are removed.

    Returns:
        The files.
    """
    there = {section.name: section for section in sections}
    names = dict.fromkeys((*there, *FIGURES))
    return save_figures({name: _maker(there.get(name), styles) for name in names}, folder)


def _maker(section: Section | None, styles: Sequence[Style]) -> "Callable[[], Figure | None]":
    return lambda: _figure(section, styles) if section else None


def _figure(section: Section, styles: Sequence[Style]) -> "Figure | None":
    from matplotlib.figure import Figure  # no pyplot: nothing global, no window

    charts = section.charts
    if not charts:
        return None
    width = min(_COLUMNS, len(charts))
    height = -(-len(charts) // width)
    tall = max(_height(chart) for chart in charts)
    figure = Figure(figsize=(0.6 + 4.4 * width, 0.9 + tall * height), layout="constrained")
    panels = figure.subplots(height, width, squeeze=False)
    for spare in panels.flat[len(charts) :]:
        spare.set_axis_off()
    for axes, chart in zip(panels.flat, charts, strict=False):
        _draw(axes, chart.facts, styles)
        axes.set_title(chart.title, loc="left", fontsize=9.5, color=INK)
        axes.set_axisbelow(True)
        axes.tick_params(length=0)
    figure.suptitle(section.title, x=0.01, ha="left", fontsize=11.5, fontweight="bold")
    if section.key and len(styles) > 1:
        handles, names = _legend(charts, styles)
        figure.legend(handles, names, loc="outside lower left", ncols=4, frameon=False)
    return figure


def _draw(axes: "Axes", facts: ChartFacts, styles: Sequence[Style]) -> None:
    if facts["kind"] == "bands":
        _bands(axes, facts, styles)
    elif facts["kind"] == "front":
        _front(axes, facts, styles)
    elif facts["kind"] == "effects":
        effects(axes, facts)
    elif facts["kind"] == "interaction":
        interaction(axes, facts)
    elif facts["kind"] == "repetitions":
        repetitions(axes, facts, styles)
    elif facts["kind"] == "bars":
        bars(axes, facts, styles)


def _height(chart: Chart) -> float:
    if chart.facts["kind"] == "effects":
        return 0.6 + 0.3 * len(chart.facts["levels"])
    if chart.facts["kind"] == "repetitions":
        return 0.7 + 0.25 * len(chart.facts["rows"])
    return 2.8


def _lines(facts: ChartFacts) -> Sequence[Band | FrontPoint | RepetitionsRow | MachineBars]:
    if facts["kind"] == "bands":
        return facts["curves"]
    if facts["kind"] == "repetitions":
        return facts["rows"]
    if facts["kind"] == "bars":
        return facts["series"]
    return facts["points"] if facts["kind"] == "front" else ()


def _legend(charts: Sequence[Chart], styles: Sequence[Style]) -> "tuple[list[Line2D], list[str]]":
    from matplotlib.lines import Line2D

    used = dict.fromkeys(
        (one["variant"], one["estimated"]) for chart in charts for one in _lines(chart.facts)
    )
    handles, names = [], []
    for variant, estimated in sorted(used):
        style = styles[variant]
        handles.append(
            Line2D(
                [],
                [],
                color=style.light,
                linestyle=DASHES if estimated else "-",
                marker=SHAPES[style.symbol],
                markerfacecolor="white" if estimated else style.light,
                markersize=5,
            )
        )
        names.append(style.name + (" (estimated)" if estimated else ""))
    return handles, names


def _bands(axes: "Axes", facts: BandsFacts, styles: Sequence[Style]) -> None:
    from matplotlib.ticker import MaxNLocator

    for curve in facts["curves"]:
        style = styles[curve["variant"]]
        centres, lows, highs = zip(*(value[:3] for value in curve["y"]), strict=True)
        axes.fill_between(
            curve["x"],
            lows,
            highs,
            color=style.light,
            alpha=0.15,
            linewidth=0,
            step=_step(facts),
        )
        second = curve["layer"] > 0
        axes.plot(
            curve["x"],
            centres,
            color=style.light,
            linewidth=1.0 if second else 1.5,
            linestyle=(0, (1, 1.6)) if second else DASHES if curve["estimated"] else "-",
            drawstyle="steps-post" if _step(facts) else "default",
            marker=None if second or len(centres) > 24 else SHAPES[style.symbol],
            markerfacecolor="white" if curve["estimated"] else style.light,
            markersize=4,
        )
    ends = [end for curve in facts["curves"] for value in curve["y"] for end in value[1:3]]
    if facts["y"]["unit"] == "%":
        percent_axis(axes.yaxis, axes.set_ylim, ends)
    elif facts["y"]["unit"]:
        log_axis(axes.yaxis, axes.set_ylim, ends, facts["y"]["unit"])
    axes.set_xlabel(facts["x"]["title"], color=MUTED)
    if facts["x"]["unit"]:
        axes.set_xlim(left=0)
        axes.xaxis.set_major_formatter(lambda value, _: units.si(value, facts["x"]["unit"]))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="y", color=GRID, linewidth=0.7)


def _step(facts: BandsFacts) -> Literal["post"] | None:
    return "post" if facts.get("shape") == "hv" else None


def _front(axes: "Axes", facts: FrontFacts, styles: Sequence[Style]) -> None:
    points = facts["points"]
    on = sorted((p for p in points if p["front"]), key=lambda p: p["energy"][0])
    if on:
        right = 1.6 * max(p["energy"][0] for p in points)
        energies = [*(p["energy"][0] for p in on), right]
        shares = [*(p["accuracy"][0] for p in on), on[-1]["accuracy"][0]]
        dashed = any(p["estimated"] for p in points)
        line = DASHES if dashed else "-"
        axes.step(energies, shares, where="post", color=ACCENT, linewidth=1.3, linestyle=line)
    for point in points:
        style = styles[point["variant"]]
        (x, x_low, x_high, _), (y, y_low, y_high, _) = point["energy"], point["accuracy"]
        axes.errorbar(
            x,
            y,
            xerr=[[side] for side in sides(x, x_low, x_high)],
            yerr=[[side] for side in sides(y, y_low, min(1.0, y_high))],
            color=style.light,
            marker=SHAPES[style.symbol],
            markerfacecolor="white" if point["estimated"] else style.light,
            markersize=7 if point["front"] else 5,
            elinewidth=1.0,
            capsize=2,
        )
        short = len(point["label"]) < _SHORT
        if short and (point["front"] or len(points) <= _LABELLED):
            axes.annotate(
                point["label"],
                (x, y),
                (5, 5 if point["front"] else -5),
                textcoords="offset points",
                va="bottom" if point["front"] else "top",
                fontsize=7,
                color=INK,
            )
    ends = [end for p in points for end in p["energy"][:3]]
    log_axis(axes.xaxis, axes.set_xlim, [*ends, 1.6 * max(ends)], "J", most=4)
    shares = [end for p in points for end in p["accuracy"][:3]]
    percent_axis(axes.yaxis, axes.set_ylim, shares)
    axes.set_xlabel("energy per image seen", color=MUTED)
    axes.grid(axis="y", color=GRID, linewidth=0.7)
