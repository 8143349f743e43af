"""Servers on paper: a panel for each traffic, by policy or energy against response time."""

import textwrap
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from greenbatch.analysis.findings.cells import CellRow
from greenbatch.analysis.findings.serving import (
    OVERLOADED,
    PolicyCurve,
    ServingPanel,
    policy_of,
)
from greenbatch.analysis.report.charts.palette import INK, MUTED, colours
from greenbatch.analysis.report.figures.style import DASHES, log_axis, plain
from greenbatch.analysis.statistics.intervals import bounds, sides

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_COLUMNS = 3
_TITLE = 40  # characters in a line of a panel's title
_MARKERS = {"greedy": "o", "fixed": "s", "dynamic": "D"}
_MOST_UPRIGHT = 5  # policies whose names fit side by side
_STRENGTH = {"unsure": 0.8, "dominated": 0.6, OVERLOADED: 0.3}


def serving_figure(rows: Sequence[CellRow], panels: Sequence[ServingPanel]) -> "Figure | None":
    """Draw energy per request against the 99th percentile of the response time.

    A line joins the sizes of a kind of policy. Points on the Pareto front have their policy beside
    them, and pale ones do not sustain the rate.

    Args:
        rows: Of the run, for the colours of its backends.
        panels: As `greenbatch.analysis.findings.serving.serving_panels` gives them.
    """
    return _figure(
        rows,
        panels,
        "Energy per request against the 99th percentile of the response time",
        _draw,
        _scale,
    )


def policy_figure(
    rows: Sequence[CellRow], panels: Sequence[ServingPanel], quantity: str
) -> "Figure | None":
    """Draw energy per request, or the mean response time, by batching policy.

    Args:
        rows: Of the run, for the colours of its backends.
        panels: As `greenbatch.analysis.findings.serving.serving_panels` gives them.
        quantity: ``energy_per_image_j`` or ``response_mean_s``.

    Returns:
        ``None`` where no panel has two policies.
    """
    if not any(len(panel.policies) > 1 for panel in panels):
        return None
    energy = quantity == "energy_per_image_j"
    return _figure(
        rows,
        panels,
        f"{'Energy per request' if energy else 'Mean response time'} by batching policy",
        partial(_draw_policies, quantity),
        partial(_scale_policies, quantity, "J" if energy else "s"),
    )


def _figure(
    rows: Sequence[CellRow],
    panels: Sequence[ServingPanel],
    title: str,
    draw: Callable[["Axes", ServingPanel, PolicyCurve, str], "Line2D"],
    scale: Callable[["Axes", ServingPanel], None],
) -> "Figure | None":
    """Draw a panel for each traffic, with one legend."""
    from matplotlib.figure import Figure

    if not panels:
        return None
    colour = colours(dict.fromkeys(row.cell.variant for row in rows))
    width = min(_COLUMNS, len(panels))
    height = -(-len(panels) // width)
    figure = Figure(figsize=(0.6 + 2.9 * width, 0.9 + 2.35 * height), layout="constrained")
    grid = figure.subplots(height, width, squeeze=False)
    handles: dict[str, Line2D] = {}
    for spare in grid.flat[len(panels) :]:
        spare.set_axis_off()
    for axes, panel in zip(grid.flat, panels, strict=False):
        for curve in panel.curves:
            estimated = " (estimated)" if curve.estimated else ""
            handles[f"{curve.kind}, {curve.label}{estimated}"] = draw(
                axes, panel, curve, colour[curve.variant]
            )
        scale(axes, panel)
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


def _draw(axes: "Axes", panel: ServingPanel, curve: PolicyCurve, colour: str) -> "Line2D":
    """Draw a curve and its points; return what stands for it in the legend."""
    points = [
        (row, row.response_p99_s.centre, row.energy_per_image_j.centre)
        for row in curve.rows
        if row.response_p99_s and row.energy_per_image_j
    ]
    style = _style(curve, colour)
    dashes = DASHES if curve.estimated else "-"
    axes.plot(
        [x for _, x, _ in points],
        [y for _, _, y in points],
        color=colour,
        linewidth=0.8,
        linestyle=dashes,
    )
    for row, x, y in points:
        place = panel.pareto_status.get(row.cell, "")
        axes.plot(x, y, alpha=_STRENGTH.get(place, 1.0), **style)
        if place == "front":
            axes.annotate(
                policy_of(row),
                (x, y),
                (4, -3),
                textcoords="offset points",
                va="top",
                fontsize=7,
                color=INK,
                annotation_clip=False,
            )
    (handle,) = axes.plot([], [], linewidth=0.8, linestyle=dashes, **style)
    return handle


def _draw_policies(
    quantity: str, axes: "Axes", panel: ServingPanel, curve: PolicyCurve, colour: str
) -> "Line2D":
    """Draw a curve over the policies' places, with intervals."""
    policies = panel.policies
    points = [
        (policies.index(policy_of(row)), value)
        for row in curve.rows
        if (value := getattr(row, quantity)) is not None
    ]
    pale = OVERLOADED in panel.pareto_status.values()
    style = _style(curve, colour) | {
        "linewidth": 1.5,
        "linestyle": DASHES if curve.estimated and quantity == "energy_per_image_j" else "-",
        "alpha": _STRENGTH[OVERLOADED] if pale else 1.0,
    }
    if points:
        ends = [sides(value.centre, *bounds(value)) for _, value in points]
        axes.errorbar(
            [x for x, _ in points],
            [value.centre for _, value in points],
            yerr=list(zip(*ends, strict=True)),
            elinewidth=1.0,
            capsize=2.5,
            **style,
        )
    (handle,) = axes.plot([], [], **style)
    return handle


def _scale_policies(quantity: str, unit: str, axes: "Axes", panel: ServingPanel) -> None:
    values = [getattr(row, quantity) for curve in panel.curves for row in curve.rows]
    ends = [end for value in values if value is not None for end in bounds(value)]
    policies = panel.policies
    names = [policy.replace(":", "\n", 1) for policy in policies]
    if len(policies) > _MOST_UPRIGHT:
        names = policies
    axes.set_xticks(range(len(policies)), names)
    axes.tick_params(axis="x", labelsize=7, rotation=0 if names is not policies else 90)
    axes.set_xlim(-0.5, len(policies) - 0.5)
    log_axis(axes.yaxis, axes.set_ylim, ends, unit)
    plain(axes, textwrap.fill(f"{panel.model}, {panel.words}", _TITLE))


def _style(curve: PolicyCurve, colour: str) -> dict[str, Any]:
    return {
        "color": colour,
        "marker": _MARKERS[curve.kind],
        "markersize": 5,
        "markerfacecolor": "white" if curve.estimated else colour,
        "markeredgewidth": 1.2,
    }


def _scale(axes: "Axes", panel: ServingPanel) -> None:
    rows = [row for curve in panel.curves for row in curve.rows]
    responses_s = [row.response_p99_s.centre for row in rows if row.response_p99_s]
    energies_j = [
        end for row in rows if row.energy_per_image_j for end in bounds(row.energy_per_image_j)
    ]
    rightmost_s = 1.5 * max(responses_s)  # room for the policies' names
    log_axis(axes.xaxis, axes.set_xlim, [*responses_s, rightmost_s], "s", most=3)
    log_axis(axes.yaxis, axes.set_ylim, energies_j, "J")
    axes.set_xlabel("response time, p99", color=MUTED)
    plain(axes, textwrap.fill(f"{panel.model}, {panel.words}", _TITLE))
