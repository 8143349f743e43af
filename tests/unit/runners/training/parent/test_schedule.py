"""Which training comes next, in a new run and in one that was interrupted."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from greenbatch.design.training_study import TrainingStudy, make_training_study
from greenbatch.records import Epoch, Journal, Phase, Status, Training, TrainingCell
from greenbatch.runners.training.parent import schedule
from greenbatch.runners.training.parent.ledger import Ledger
from greenbatch.runners.training.parent.session import TrainingSlot

EMPTY = Journal((), (), 0)
SPACE = {"relu": [0, 1], "learning_rate": {"low": 0.001, "high": 0.1, "log": True}}


def factorial(**more: Any) -> TrainingStudy:
    return make_training_study(
        {"models": ["dense"], "batch_sizes": [16, 32], "settings": {"relu": [0, 1]}} | more
    )


def searched(**more: Any) -> TrainingStudy:
    search = {"strategies": ["grid", "random"], "trials": 4, "space": SPACE} | more
    return make_training_study({"models": ["dense"], "repetitions": 2, "search": search})


def records_of(slot: TrainingSlot, status: Status = Status.OK) -> list[Any]:
    """A training that has ended: two epochs, as good as its settings."""
    accuracy = 0.5 + 0.4 * float(dict(slot.cell.settings).get("relu", "0"))
    part = Phase(duration_s=1.0, images=10)
    members: dict[str, Any] = {"train": part, "validation": part, "checkpoint": part}
    epochs = [
        Epoch(
            cell=slot.cell,
            block=slot.block,
            session=0,
            epoch=number,
            train_loss=1.0,
            loss=1.0,
            accuracy=accuracy,
            f1=accuracy,
            **members,
        )
        for number in range(2)
    ]
    ended = Training(
        cell=slot.cell,
        block=slot.block,
        position=slot.position,
        status=status,
        started_at="2026-11-21T08:00:00Z",
        reason=None if status is Status.OK else "it was killed",
        stopped="epochs",
        best_epoch=0,
        whole=Phase(duration_s=2.0, images=20),
    )
    return [*epochs, ended]


def run(study: TrainingStudy, ledger: Ledger, most: int = 1000) -> list[TrainingSlot]:
    """Do what is left, but no more than so many trainings."""
    done = []
    for slot in schedule.slots(study, ledger):
        done.append(slot)
        ledger.add(records_of(slot))
        if len(done) == most:
            break
    return done


def test_every_cell_comes_once_in_each_block_in_another_order() -> None:
    study = factorial(repetitions=3)
    slots = run(study, Ledger(EMPTY))
    assert len(slots) == schedule.total(study) == 12
    orders = [[slot.cell for slot in slots if slot.block == block] for block in range(3)]
    assert all(set(order) == set(study.cells()) for order in orders)
    assert len({tuple(order) for order in orders}) > 1
    assert [slot.position for slot in slots] == [0, 1, 2, 3] * 3


@pytest.mark.parametrize("most", [1, 5, 11])
def test_a_run_that_is_resumed_goes_on_in_the_order_it_had(most: int) -> None:
    for study in (factorial(repetitions=3), searched()):
        whole = run(study, Ledger(EMPTY))
        ledger = Ledger(EMPTY)
        assert run(study, ledger, most) + run(study, ledger) == whole
        assert run(study, ledger) == []


def test_strategies_take_turns_in_an_order_that_is_shuffled_for_each() -> None:
    study = searched()
    slots = run(study, Ledger(EMPTY))
    assert len(slots) == schedule.total(study) == 16
    for block in range(2):
        turns = [slot.cell for slot in slots if slot.block == block]
        assert [cell.trial for cell in turns] == [0, 0, 1, 1, 2, 2, 3, 3]
        for trial in range(4):
            assert {cell.strategy for cell in turns if cell.trial == trial} == {"grid", "random"}
    first = [slot.cell.strategy for slot in slots[::2]]
    assert len(set(first)) == 2, "one strategy always came first"


def test_another_block_is_another_search() -> None:
    slots = run(searched(strategies=["random"]), Ledger(EMPTY))
    tried = [{slot.cell.settings for slot in slots if slot.block == block} for block in (0, 1)]
    assert tried[0].isdisjoint(tried[1])


def test_a_grid_that_is_exhausted_leaves_its_turns_to_the_others() -> None:
    study = searched(space={"relu": [0, 1]}, trials=3)
    slots = run(study, Ledger(EMPTY))
    assert Counter(slot.cell.strategy for slot in slots) == {"grid": 4, "random": 6}
    assert schedule.total(study) == 10


def test_a_trial_that_was_begun_goes_on_with_what_was_proposed_then() -> None:
    study = searched(strategies=["random"])
    ledger = Ledger(EMPTY)
    first = run(study, ledger, 1)[0]
    own = TrainingSlot(replace(first.cell, trial=1, settings=(("learning_rate", "0.5"),)), 0, 1)
    ledger.add(records_of(own)[:1])
    assert next(schedule.slots(study, ledger)).cell == own.cell


def test_a_trial_that_failed_is_not_tried_again_and_the_search_goes_on() -> None:
    study = searched(strategies=["random"], trials=2)
    ledger = Ledger(EMPTY)
    slots = schedule.slots(study, ledger)
    failed = next(slots)
    ledger.add(records_of(failed, Status.OOM)[-1:])
    assert next(slots).cell.trial == 1


def test_cells_that_are_searched_apart_have_trials_of_their_own() -> None:
    search = {"strategies": ["random"], "trials": 2, "space": {"batch_size": [8, 16, 32]}}
    study = make_training_study(
        {"models": ["dense"], "repetitions": 1, "settings": {"relu": [0, 1]}, "search": search}
    )
    slots = run(study, Ledger(EMPTY))
    assert Counter(slot.cell.settings for slot in slots) == {
        (("relu", "0"),): 2,
        (("relu", "1"),): 2,
    }
    assert all(isinstance(slot.cell, TrainingCell) for slot in slots)
