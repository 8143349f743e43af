"""Panels of the figures on paper: factors, interactions, repetitions, and machines."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from greenbatch import units
from greenbatch.analysis.report.charts.charts import Style
from greenbatch.analysis.report.charts.facts import (
    BarsFacts,
    EffectsFacts,
    InteractionFacts,
    RepetitionsFacts,
)
from greenbatch.analysis.report.charts.palette import ACCENT, GRID, INK, MUTED
from greenbatch.analysis.report.figures.style import SHAPES, log_axis
from greenbatch.analysis.statistics.intervals import sides

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import XAxis, YAxis

_LONG = 25  # letters of a name that has no room beside its row
_LEVEL = 3  # names below an axis that have room beside each other
_MARKERS = ("o", "s", "D", "^", "p")


def percent_axis(
    axis: "XAxis | YAxis", set_limits: Callable[[float, float], object], shares: Sequence[float]
) -> None:
    """Fit an axis of shares around the values, and label it in percent."""
    low, high = max(0.0, min(shares)), min(1.0, max(shares))
    margin = 0.06 * (high - low) + 0.005
    set_limits(max(0.0, low - margin), min(1 + margin / 2, high + margin))
    axis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")


def effects(axes: "Axes", facts: EffectsFacts) -> None:
    """Draw a row for each level, the levels of a factor together."""
    factors = list(dict.fromkeys(one["factor"] for one in facts["levels"]))
    rows, names, ends = [], [], []
    for place, one in enumerate(facts["levels"]):
        row = -place - 0.6 * factors.index(one["factor"])
        centre, low, high, _ = one["value"]
        margins = [[side] for side in sides(centre, low, high)]
        axes.errorbar(centre, row, xerr=margins, color=ACCENT, marker="o", capsize=2)
        rows.append(row)
        names.append(f"{one['factor'].replace('_', ' ')} {one['level']}")
        ends += [low, centre, high]
    axes.set_yticks(rows, names)
    axes.set_ylim(min(rows) - 0.7, 0.7)
    if facts["unit"] == "%":
        percent_axis(axes.xaxis, axes.set_xlim, ends)
    else:
        log_axis(axes.xaxis, axes.set_xlim, ends, facts["unit"], most=5)
    axes.set_xlabel(facts["words"], color=MUTED)
    axes.grid(axis="x", color=GRID, linewidth=0.7)


def interaction(axes: "Axes", facts: InteractionFacts) -> None:
    """Draw a place for each level of one factor, and a line for each level of the other."""
    ends = []
    for place, curve in enumerate(facts["curves"]):
        known = [(at, value) for at, value in enumerate(curve["y"]) if value]
        margins = zip(*(sides(*value[:3]) for _, value in known), strict=True)
        axes.errorbar(
            [at for at, _ in known],
            [value[0] for _, value in known],
            yerr=[list(margin) for margin in margins],
            color=MUTED if place % 2 else ACCENT,
            alpha=1 - 0.5 * (place // 2) / max(1, len(facts["curves"]) // 2),
            marker=_MARKERS[place % len(_MARKERS)],
            capsize=2,
            label=curve["label"],
        )
        ends += [end for _, value in known for end in value[:3]]
    axes.set_xticks(range(len(facts["levels"])), facts["levels"])
    axes.set_xlim(-0.4, len(facts["levels"]) - 0.6)
    log_axis(axes.yaxis, axes.set_ylim, ends, "J", most=5)
    axes.set_xlabel(facts["factor"], color=MUTED)
    axes.grid(axis="y", color=GRID, linewidth=0.7)
    axes.legend(frameon=False, fontsize=7.5, ncols=2, loc="best")


def repetitions(axes: "Axes", facts: RepetitionsFacts, styles: Sequence[Style]) -> None:
    """Draw each repetition against the median of its choice, and the middle half as a bar."""
    axes.axvline(0, color=MUTED, linewidth=0.8)
    for place, row in enumerate(facts["rows"]):
        style = styles[row["variant"]]
        if row["middle"]:
            axes.plot(
                row["middle"],
                [-place, -place],
                color=style.light,
                alpha=0.25,
                linewidth=8,
                solid_capstyle="butt",
            )
        for flagged in (False, True):
            points = [point["off"] for point in row["points"] if point["flagged"] is flagged]
            axes.plot(
                points,
                [-place] * len(points),
                color=style.light,
                linestyle="",
                marker="x" if flagged else SHAPES[style.symbol],
                markerfacecolor="none" if row["estimated"] else style.light,
                markersize=5,
                alpha=0.75,
            )
    offs = [abs(point["off"]) for row in facts["rows"] for point in row["points"]]
    far = 1.15 * max(0.005, *offs)
    axes.set_xlim(-far, far)
    unit = " %" if facts["unit"] == "J" else ""
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:+.3g}{unit}".replace("-", "−"))
    labels = [row["label"] for row in facts["rows"]]
    named = all(len(label) < _LONG for label in labels)
    axes.set_yticks(
        [-place for place in range(len(labels))], labels if named else [""] * len(labels)
    )
    axes.set_ylim(0.4 - len(labels), 0.6)
    words = "" if facts["unit"] == "J" else ", percentage points"
    axes.set_xlabel(f"difference from the median{words}", color=MUTED)
    axes.grid(axis="x", color=GRID, linewidth=0.7)


def bars(axes: "Axes", facts: BarsFacts, styles: Sequence[Style]) -> None:
    """Draw choices side by side, a bar for each machine; bars begin at zero."""
    width = 0.8 / len(facts["series"])
    ends = [0.0]
    for place, one in enumerate(facts["series"]):
        style = styles[one["variant"]]
        known = [(at, value) for at, value in enumerate(one["y"]) if value]
        margins = zip(*(sides(*value[:3]) for _, value in known), strict=True)
        axes.bar(
            [at - 0.4 + width * (place + 0.5) for at, _ in known],
            [value[0] for _, value in known],
            width=width,
            yerr=[list(margin) for margin in margins],
            facecolor="none" if one["estimated"] else style.light,
            edgecolor=style.light,
            ecolor=INK,
            capsize=2,
            linewidth=1.0,
        )
        ends += [end for _, value in known for end in value[:3]]
    short = [name if len(name) < _LONG else f"{name[: _LONG - 2]}…" for name in facts["groups"]]
    many = len(short) > _LEVEL
    axes.set_xticks(
        range(len(short)),
        short,
        rotation=35 if many else 0,
        ha="right" if many else "center",
    )
    if facts["unit"] == "%":
        percent_axis(axes.yaxis, axes.set_ylim, ends)
    else:
        axes.set_ylim(min(0.0, 1.1 * min(ends)), 1.1 * max(ends))
        axes.yaxis.set_major_formatter(lambda value, _: units.si(value, facts["unit"]))
    axes.grid(axis="y", color=GRID, linewidth=0.7)
