"""What a run with a budget decided besides the best cell of each model, in sentences."""

from collections.abc import Iterable
from dataclasses import replace

from greenbatch import units
from greenbatch.records import Cell, Decision

_NAMES = {
    "best": "the best cell",
    "front": "the Pareto front of energy and latency",
    "knee": "the knee",
    "crossover": "which backend needs less, by batch size",
    "ratio": "the ratio of the backends, by batch size",
}


def decided_sentences(decisions: Iterable[Decision]) -> list[str]:
    """Say how each question ended, but for those that the answers of models speak of.

    Args:
        decisions: Of a run.
    """
    return [
        _sentence(one)
        for one in decisions
        if one.decide != "best" or not one.best or one.best[0].is_server
    ]


def _sentence(decision: Decision) -> str:
    what = f"{decision.group}: {_NAMES[decision.decide]}"
    if decision.outcome == "failed":
        return f"{what} is not known, as too few cells could be measured."
    if decision.outcome == "time":
        so_far = _named(decision, ", so far ")
        late = f"was not decided when the budget or the repetitions were spent{further(decision)}"
        return f"{what} {late}{so_far}."
    within = f"to within {100 * decision.within:g} %"
    ending = _named(decision, ": ")
    if decision.decide == "knee" and not decision.best:
        ending = ": there is none"
    return f"{what} is decided after {units.count(decision.blocks, 'block')}, {within}{ending}."


def further(decision: Decision) -> str:
    """Say how much longer it would take to decide a question, a clause; empty if not known."""
    if decision.further_s is None:
        return ""
    minutes = max(1, round(decision.further_s / 60))
    more = f"{minutes} min" if minutes < 120 else f"{minutes / 60:.0f} h"
    return f" (by the spread of the repetitions, about {more} more would decide it)"


def _named(decision: Decision, before: str) -> str:
    """Name the cells of an answer, batch sizes together; nothing where it has none of its own."""
    sizes: dict[Cell, list[int]] = {}
    for cell in sorted(decision.best, key=lambda one: one.batch_size):
        curve = cell if cell.is_server else replace(cell, batch_size=1)
        sizes.setdefault(curve, []).append(cell.batch_size)
    named = "; ".join(curve.how_at(*some) for curve, some in sizes.items())
    return before + named if named else ""
