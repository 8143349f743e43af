"""Energy, latency and accuracy on paper: the Pareto front as a line for each network."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from greenbatch.analysis.report.charts.palette import ACCENT, INK, MUTED
from greenbatch.analysis.report.figures.style import DASHES, log_axis, plain
from greenbatch.analysis.statistics.intervals import bounds
from greenbatch.analysis.tradeoffs.accuracy_front import FrontCandidate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARKERS = ("o", "s", "D", "^", "p")


def accuracy_figure(found: Sequence[FrontCandidate]) -> "Figure | None":
    """Draw energy per image against latency; a line joins a network's cells on the front.

    The paler a line, the less accurate its network; hollow where accuracy is as published.

    Args:
        found: As `greenbatch.analysis.tradeoffs.accuracy_front.accuracy_front` gives them.
    """
    from matplotlib.figure import Figure

    on = [r for r in found if r.pareto_status == "front" and r.energy_j.centre > 0]
    if not on:
        return None
    kind = " (estimated)" if any(r.energy_source != "measured" for r in on) else ""
    figure = Figure(figsize=(6.6, 4.2), layout="constrained")
    axes = figure.subplots()
    rest = [r for r in found if r.pareto_status != "front" and r.energy_j.centre > 0]
    axes.scatter(
        [r.latency_s.centre for r in rest],
        [r.energy_j.centre for r in rest],
        s=9,
        color=MUTED,
        alpha=0.3,
        linewidths=0,
    )
    levels = sorted({r.accuracy.top1 for r in found})
    models = list(dict.fromkeys(r.cell.model for r in found))
    for model in models:
        front = sorted((r for r in on if r.cell.model == model), key=lambda r: r.latency_s.centre)
        if not front:
            continue
        accuracy = front[0].accuracy
        share = levels.index(accuracy.top1) / max(1, len(levels) - 1)
        x, y = [r.latency_s.centre for r in front], [r.energy_j.centre for r in front]
        axes.plot(
            x,
            y,
            color=ACCENT,
            alpha=0.45 + 0.55 * share,
            linewidth=1.3,
            linestyle=DASHES if kind else "-",
            marker=_MARKERS[models.index(model) % len(_MARKERS)],
            markersize=5,
            markerfacecolor=ACCENT if accuracy.source == "measured" else "white",
            markeredgewidth=1.2,
        )
        axes.annotate(
            f"{model} {accuracy.top1:.1f} %",
            (x[-1], y[-1]),
            (5, -2),
            textcoords="offset points",
            va="top",
            fontsize=7,
            color=INK,
            annotation_clip=False,
        )
    drawn = [*on, *rest]
    delays_s = [r.latency_s.centre for r in drawn]
    rightmost_s = 1.6 * max(delays_s)  # room for the names
    log_axis(axes.xaxis, axes.set_xlim, [*delays_s, rightmost_s], "s", most=6)
    log_axis(axes.yaxis, axes.set_ylim, [end for r in drawn for end in bounds(r.energy_j)], "J")
    axes.set_xlabel("p50 latency of a batch", color=MUTED)
    plain(axes)
    figure.suptitle(
        f"Energy per image{kind}, latency and accuracy: Pareto front\n"
        "hollow: accuracy as published; grey: dominated",
        x=0.01,
        ha="left",
        fontsize=10.5,
        fontweight="bold",
    )
    return figure
