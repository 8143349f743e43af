"""Which training comes next: every cell in each block, or the turns of searches."""

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice

from greenbatch.design.training_study import Search, TrainingStudy
from greenbatch.records import TrainingCell
from greenbatch.runners.scheduling.order import orders
from greenbatch.runners.training.parent import search
from greenbatch.runners.training.parent.ledger import Ledger
from greenbatch.runners.training.parent.session import TrainingSlot


def total(study: TrainingStudy) -> int:
    """Return how many trainings a run has; a grid that is smaller than its budget ends early."""
    cells = len(study.cells()) * study.repetitions
    if study.search is None:
        return cells
    budgets = [
        min(study.search.trials, search.grid_size(study.search))
        if strategy == "grid"
        else study.search.trials
        for strategy in study.search.strategies
    ]
    return cells * sum(budgets)


def slots(study: TrainingStudy, ledger: Ledger) -> Iterator[TrainingSlot]:
    """Yield what is left of a run, in order.

    Args:
        study: The design.
        ledger: What has been done; it must hold a training before the next one is asked for, as a
            search depends on it.

    Raises:
        StudyError: A search needs what it cannot have: energy that is not known, or Optuna.
    """
    blocks = enumerate(islice(orders(study.cells(), study.seed, study.order), study.repetitions))
    for block, cells in blocks:
        if study.search:
            yield from _turns(cells, block, study.search, study.seed, ledger)
            continue
        for position, cell in enumerate(cells):
            if ledger.training(cell, block) is None:
                yield TrainingSlot(cell, block, position)


def _turns(
    cells: list[TrainingCell], block: int, design: Search, seed: int, ledger: Ledger
) -> Iterator[TrainingSlot]:
    """Yield the trials of a block: every strategy one in each turn, in an order shuffled by turn.

    So that what drifts in the machine meets all of them alike.
    """
    players = [
        replace(cell, strategy=strategy, trial=0)
        for cell in sorted(cells)
        for strategy in design.strategies
    ]
    position = 0
    for turn in range(design.trials):
        order = random.Random(f"{seed}:{block}:{turn}").sample(players, len(players))
        for player in order:
            begun = _begun(player, turn, block, design, ledger)
            cell = begun or _proposed(player, turn, block, design, seed, ledger)
            if cell is None:  # its grid is exhausted
                continue
            if ledger.training(cell, block) is None:
                yield TrainingSlot(cell, block, position)
            position += 1


def _begun(
    player: TrainingCell, trial: int, block: int, design: Search, ledger: Ledger
) -> TrainingCell | None:
    """Return the trial of a strategy as it was begun, if it was."""
    free = {search.BATCH_SIZE, *design.space}

    def fixed(cell: TrainingCell) -> TrainingCell:
        """Return the cell without what is searched."""
        settings = tuple((key, text) for key, text in cell.settings if key not in free)
        size = 1 if search.BATCH_SIZE in design.space else cell.batch_size
        return replace(cell, settings=settings, batch_size=size)

    wanted = fixed(replace(player, trial=trial))
    same = (cell for cell, its in ledger.begun() if its == block and fixed(cell) == wanted)
    return next(same, None)


def _proposed(
    player: TrainingCell, trial: int, block: int, design: Search, seed: int, ledger: Ledger
) -> TrainingCell | None:
    """Ask a strategy for its next trial; ``None``: it has none any more."""
    results = []
    for number in range(trial):
        cell = _begun(player, number, block, design, ledger)
        training = ledger.training(cell, block) if cell else None
        if cell is None or training is None:
            return None
        results.append(search.result_of(design, training, ledger.epochs(cell, block)))
    proposal = search.propose(design, player.strategy, results, seed + block)
    if proposal is None:
        return None
    return search.cell_of(replace(player, trial=trial), proposal)
