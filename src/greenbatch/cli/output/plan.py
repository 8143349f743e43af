"""A design before it is measured: its cells in their order, and the least time they take."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from greenbatch.design.presets import AnyStudy
    from greenbatch.design.study import Study
    from greenbatch.design.training_study import TrainingStudy
    from greenbatch.runners.scheduling.order import Slot


def plan_lines(design: "AnyStudy") -> list[str]:
    """Return a design's cells in their order, and the least time that they take."""
    from greenbatch.design.study import Study

    if not isinstance(design, Study):
        return _lines_of_trainings(design)
    if design.budget:
        return _lines_of_race(design)
    order = _slots(design)
    return [*(f"block {slot.block}: {slot.cell}" for slot in order), _size(design, order)]


def opening_line(design: "Study") -> str:
    """Say what will be measured, and how long that takes."""
    if design.budget:
        return budget_line(design)
    order = _slots(design)
    return (
        f"measuring {_size(design, order)}. Artifacts that are missing are exported first; the "
        "time left is shown when the first repetition has ended"
    )


def _slots(design: "Study") -> "list[Slot]":
    from greenbatch.runners.scheduling.order import slots

    return slots(
        design.cells(),
        design.repetitions,
        design.seed,
        kind=design.order,
        in_sessions=design.in_sessions,
    )


def _size(design: "Study", order: "Sequence[Slot]") -> str:
    from greenbatch import units

    rules = design.rules.in_session() if design.in_sessions else design.rules
    least_s = sum(
        rules.rest_min_s
        + rules.warm_up_min_s
        + design.window_for(slot.cell, None)
        + rules.idle_s * (slot.idle_before + slot.idle_after)
        for slot in order
    )
    return (
        f"{units.count(len(order), 'repetition')} of {units.count(len(design.cells()), 'cell')}, "
        f"at least {units.duration(least_s)}: start-up, longer warm-ups and slow batches add to "
        "this"
    )


_DECIDED = {
    "best": "the best cell of each model",
    "front": "each model's Pareto front of energy and latency",
    "knee": "the knee of each curve over the batch size",
    "crossover": "where one backend overtakes the other",
    "ratio": "the ratio of the two backends",
}


def budget_line(design: "Study") -> str:
    """Say what a budget is spent on, and how the whole design is measured instead."""
    from greenbatch import units

    assert design.budget
    assert design.decide
    assert design.within
    return (
        f"measuring for at most {units.duration(design.budget)} to find {_DECIDED[design.decide]}, "
        f"to within {100 * design.within:g} %; exports and the report are not counted. Cells that "
        "do not decide are measured less, or not at all; measure all of them with: --full"
    )


def _lines_of_race(design: "Study") -> list[str]:
    from greenbatch import units
    from greenbatch.runners.scheduling.racing.race import TENTH, Race

    assert design.budget
    race, cells = Race(design), design.cells()
    first = race.first_slots()
    share_s = TENTH * design.budget
    return [
        budget_line(design),
        *(f"block 0: {slot.cell}" for slot in first),
        (
            f"then, of the other {len(cells) - len(first)} of {units.count(len(cells), 'cell')}, "
            "those that may decide; no batch size of which a repetition takes more than "
            f"{units.duration(share_s)}"
        ),
        f"further blocks, at most {design.max_repetitions} in all, of the cells not decided",
        f"at most {units.duration(design.budget)} of measuring time",
    ]


def _lines_of_trainings(design: "TrainingStudy") -> list[str]:
    from itertools import islice

    from greenbatch import units
    from greenbatch.runners.scheduling.order import orders
    from greenbatch.runners.training.parent import schedule
    from greenbatch.runners.training.parent.search import BATCH_SIZE, grid_size

    how, cells = "", {cell: str(cell) for cell in design.cells()}
    if search := design.search:
        trials = dict.fromkeys(search.strategies, search.trials)
        if "grid" in trials:
            trials["grid"] = min(search.trials, grid_size(search))
        each = ", ".join(f"{name} {number}" for name, number in trials.items())
        how = f"; search of {', '.join(search.space)}; trials, in turns: {each}"
        if BATCH_SIZE in search.space:
            cells = {c: t.replace(f", batch {c.batch_size}", "") for c, t in cells.items()}
    blocks = islice(orders(cells, design.seed, design.order), design.repetitions)
    lines = [
        f"block {block}: {cells[cell]}{how}" for block, order in enumerate(blocks) for cell in order
    ]
    trainings = schedule.total(design)
    rules = design.rules
    least_s = trainings * (rules.rest_min_s + rules.warm_up_min_s + rules.idle_s)
    lines.append(
        f"{units.count(trainings, 'training')} of up to {units.count(design.epochs, 'epoch')}, at "
        f"least {units.duration(least_s)} plus the epochs: rests, warm-ups and idle power"
    )
    return lines
