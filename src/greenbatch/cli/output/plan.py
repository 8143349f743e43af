"""A design before it is measured: its cells in their order, and the least time they take."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from greenbatch.design.presets import AnyStudy
    from greenbatch.design.training_study import TrainingStudy


def plan_lines(design: "AnyStudy") -> list[str]:
    """Return a design's cells in their order, and the least time that they take."""
    from greenbatch import units
    from greenbatch.design.study import Study
    from greenbatch.runners.scheduling.order import slots

    if not isinstance(design, Study):
        return _lines_of_trainings(design)
    order = slots(design.cells(), design.repetitions, design.seed, kind=design.order)
    rules = design.rules
    least_s = sum(
        rules.rest_min_s
        + rules.warm_up_min_s
        + design.window_for(slot.cell, None)
        + rules.idle_s * (slot.idle_before + slot.idle_after)
        for slot in order
    )
    lines = [f"block {slot.block}: {slot.cell}" for slot in order]
    lines.append(
        f"{len(order)} repetitions of {len(design.cells())} cells, at least "
        f"{units.duration(least_s)}: start-up, longer warm-ups and slow batches add to this"
    )
    return lines


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
        f"{trainings} trainings of up to {design.epochs} epochs, at least "
        f"{units.duration(least_s)} plus the epochs: rests, warm-ups and idle power"
    )
    return lines
