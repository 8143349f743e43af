"""The timeline on paper: accuracy by year, energy by year, and the Pareto front by year."""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from greenbatch.analysis.findings.timeline import MOST_NAMED, Network, Timeline, fronts
from greenbatch.analysis.report.charts.curves import log_range, log_ticks
from greenbatch.analysis.report.charts.palette import ACCENT, INK, MUTED
from greenbatch.analysis.report.figures.style import plain
from greenbatch.analysis.statistics.intervals import bounds

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.typing import LineStyleType

Box = tuple[float, float, float, float]


def timeline_figure(found: Timeline) -> "Figure | None":
    """Draw networks by year; area by parameters, hollow where accuracy is as published."""
    from matplotlib.figure import Figure

    networks = found.networks
    if not networks:
        return None
    kind = " (estimated)" if any(n.energy_source != "measured" for n in networks) else ""
    per = networks[0].per
    style: LineStyleType = (0, (4, 2)) if kind else "-"
    figure = Figure(figsize=(10.6, 3.5), layout="constrained")
    accuracy, energy, front = figure.subplots(1, 3)
    _best(accuracy, networks, lambda n: -n.accuracy.top1, "-")
    _best(energy, networks, lambda n: n.energy_j.centre, style)
    steps = fronts(networks)
    right = 1.8 * max(n.energy_j.centre for n in networks)
    ends: dict[float, list[int]] = {}
    for place, (year, on) in enumerate(steps):
        last = place == len(steps) - 1
        tone = ACCENT if last else MUTED
        x = [*(n.energy_j.centre for n in on), right]
        y = [*(n.accuracy.top1 for n in on), on[-1].accuracy.top1]
        alpha = 0.3 + 0.7 * (place + 1) / len(steps)
        front.step(x, y, where="post", color=tone, alpha=alpha, linestyle=style, linewidth=1.3)
        ends.setdefault(y[-1], []).append(year)
    for top1, years in ends.items():
        front.annotate(
            ", ".join(map(str, years)),
            (right, top1),
            (3, 0),
            textcoords="offset points",
            va="center",
            fontsize=7,
            color=ACCENT if steps[-1][0] in years else MUTED,
            annotation_clip=False,
        )
    most = max((n.parameters or 0.0 for n in networks), default=0.0) or 1.0
    for network in networks:
        area = 20 + 340 * (network.parameters or 0.0) / most
        for axes, at in zip((accuracy, energy, front), _places(network), strict=True):
            _point(axes, network, at, area)
    low, high = log_range([end for n in networks for end in bounds(n.energy_j)])
    low, high = low / 1.5, high * 2.2
    energy.set_yscale("log")
    energy.set_ylim(low, high)
    energy.set_yticks(*log_ticks(low, high, "J"))
    front.set_xscale("log")
    front.set_xlim(low, high)
    front.set_xticks(*log_ticks(low, high, "J", most=4))
    accuracies = [n.accuracy.top1 for n in networks]
    for axes in (accuracy, front):
        axes.set_ylim(max(0.0, min(accuracies) - 8), min(108.0, max(accuracies) + 9))
        axes.yaxis.set_major_formatter("{x:.0f} %")
    first, final = networks[0].year, networks[-1].year
    for axes in (accuracy, energy):
        axes.set_xlim(first - 2.5, final + 2.5)
        axes.xaxis.get_major_locator().set_params(integer=True, nbins=6)
    for axes, title in (
        (accuracy, "Top-1 accuracy by year"),
        (energy, f"Energy per {per}{kind} by year"),
        (front, f"Accuracy against energy per {per}{kind}"),
    ):
        plain(axes, title)
    figure.draw_without_rendering()  # where points come to lie decides where their names go
    for place, axes in enumerate((accuracy, energy, front)):
        _name(axes, networks, [_places(network)[place] for network in networks], most)
    where = f", {found.chosen}" if found.chosen else ""
    figure.suptitle(
        f"Networks by year{where}: area by parameters, hollow: accuracy as published, green: on "
        "the Pareto front when published",
        x=0.01, ha="left", fontsize=10.5, fontweight="bold",
    )  # fmt: skip
    return figure


def _best(
    axes: "Axes",
    networks: Sequence[Network],
    cost: Callable[[Network], float],
    style: "LineStyleType",
) -> None:
    """Join the networks that were the best up to their year."""
    lowest, x, y = math.inf, [], []
    for network in sorted(networks, key=lambda n: (n.year, cost(n))):
        if cost(network) < lowest:
            lowest = cost(network)
            x.append(network.year)
            y.append(abs(lowest))
    x.append(max(n.year for n in networks) + 1)
    axes.step(x, [*y, y[-1]], where="post", color=ACCENT, linestyle=style, linewidth=1.3)


def _places(network: Network) -> list[tuple[float, float]]:
    """Position of a network in the three panels."""
    energy_j, top1 = network.energy_j.centre, network.accuracy.top1
    return [(network.year, top1), (network.year, energy_j), (energy_j, top1)]


def _point(axes: "Axes", network: Network, at: tuple[float, float], area: float) -> None:
    colour = ACCENT if network.front else MUTED
    axes.scatter(
        [at[0]],
        [at[1]],
        s=area,
        linewidths=1.3,
        edgecolors=colour,
        facecolors=colour if network.accuracy.source == "measured" else "none",
        alpha=0.85,
        zorder=3,
        clip_on=False,
    )


def _name(
    axes: "Axes",
    networks: Sequence[Network],
    places: Sequence[tuple[float, float]],
    most: float,
) -> None:
    """Write each name above its point, or below where another name or point is in the way."""
    per_point = axes.figure.dpi / 72
    spots = [axes.transData.transform(place) for place in places]
    radii = [math.sqrt(20 + 340 * (n.parameters or 0.0) / most) / 2 * per_point for n in networks]
    taken = [(x - r, y - r, x + r, y + r) for (x, y), r in zip(spots, radii, strict=True)]
    for number, (network, (x, y), r) in enumerate(zip(networks, spots, radii, strict=True)):
        if len(networks) > MOST_NAMED and not network.front:
            continue
        half, high = 2.1 * len(network.model) * per_point, 9 * per_point
        above = (x - half, y + r, x + half, y + r + high)
        below = (x - half, y - r - high, x + half, y - r)
        others = [box for place, box in enumerate(taken) if place != number]
        up = all(_apart(above, box) for box in others)
        up = up or not all(_apart(below, box) for box in others)
        taken.append(above if up else below)
        axes.annotate(
            network.model,
            places[number],
            (0, (1 if up else -1) * (r / per_point + 2)),
            textcoords="offset points",
            ha="center",
            va="bottom" if up else "top",
            fontsize=7,
            color=INK,
        )


def _apart(one: Box, other: Box) -> bool:
    return one[2] < other[0] or one[0] > other[2] or one[3] < other[1] or one[1] > other[3]
