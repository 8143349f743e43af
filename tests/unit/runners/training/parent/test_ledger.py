"""What an interrupted training has behind it, and what was lost with each session."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from greenbatch.records import (
    Beat,
    EnergyFigure,
    EnergySource,
    Epoch,
    Journal,
    Phase,
    TrainingCell,
    encode,
    holding,
    parse,
)
from greenbatch.runners.training.child import checkpoints
from greenbatch.runners.training.parent.ledger import Before, Ledger
from greenbatch.runners.training.parent.phases import total

CELL = TrainingCell("dense", "digits")
EMPTY = Journal((), (), 0)


def phase(joules: float | None, seconds: float = 1.0, images: int = 0, **more: Any) -> Phase:
    figure = EnergyFigure(
        domain="package-0",
        source=EnergySource.COUNTER if joules is not None else EnergySource.MISSING,
        energy_j=joules,
        uncertainty_j=None if joules is None else 0.1,
        reason=None if joules is not None else "no tick came",
    )
    return Phase(duration_s=seconds, images=images, energy=(replace(figure, **more),))


def epoch(number: int, session: int = 0, joules: float = 10.0, **more: Any) -> Epoch:
    members: dict[str, Any] = {"train_loss": 1.0, "loss": 1.0, "accuracy": 0.5, "f1": 0.5} | more
    return Epoch(
        cell=CELL,
        block=0,
        session=session,
        epoch=number,
        train=phase(joules, images=80),
        validation=phase(joules / 10, images=20),
        checkpoint=phase(0.0, 0.1),
        **members,
    )


def beat(number: int, session: int = 0, joules: float = 3.0, seconds: float = 0.5) -> Beat:
    lost = phase(joules, seconds) if seconds else Phase(duration_s=0.0)
    return Beat(cell=CELL, block=0, session=session, epoch=number, lost=lost)


def before(*records: Any, behind: int | None = None) -> Before:
    ledger = Ledger(EMPTY)
    ledger.add(records)
    return ledger.before(CELL, 0, behind)


def lost_j(found: Before) -> float:
    assert found.lost is not None
    energy_j = found.lost.energy[0].energy_j
    assert energy_j is not None
    return energy_j


def test_a_training_that_was_not_begun_has_nothing_behind_it() -> None:
    assert before() == Before()


def test_only_the_last_beat_of_a_session_is_lost() -> None:
    found = before(
        beat(0, seconds=0), beat(0, joules=1.0), epoch(0), beat(1, joules=4.0), beat(1, joules=5.0)
    )
    assert lost_j(found) == 5.0
    assert (len(found.epochs), found.sessions) == (1, 1)


def test_a_beat_of_an_epoch_that_came_into_the_journal_is_not_lost() -> None:
    assert before(beat(0), epoch(0)).lost is None


def test_each_session_adds_its_own_loss() -> None:
    found = before(beat(0), epoch(0), beat(1, joules=5.0), beat(1, session=1, joules=7.0))
    assert lost_j(found) == 12.0
    assert found.sessions == 2


def test_an_epoch_that_is_repeated_is_lost_once_and_holds_once() -> None:
    records = [epoch(0), epoch(1, joules=20.0), beat(2, joules=1.0)]
    found = before(*records, behind=1)
    assert [each.epoch for each in found.epochs] == [0]
    assert lost_j(found) == pytest.approx(1.0 + 22.0)
    found = before(*records, epoch(1, session=1), epoch(2, session=1))
    assert [(each.epoch, each.session) for each in found.epochs] == [(0, 0), (1, 1), (2, 1)]
    assert lost_j(found) == pytest.approx(1.0 + 22.0)


def test_epochs_hold_across_a_journal_of_several_trainings(tmp_path: Path) -> None:
    other = replace(epoch(0), block=1)
    journal = parse(b"".join(map(encode, [epoch(0), other, epoch(1), epoch(1, session=1)])))
    held = holding(journal.epochs)
    assert [(each.block, each.epoch, each.session) for each in held] == [
        (0, 0, 0),
        (0, 1, 1),
        (1, 0, 0),
    ]


def test_a_sum_takes_the_least_certain_source_and_lacks_what_a_part_lacks() -> None:
    sure, modelled = phase(3.0), phase(4.0, 2.0, source=EnergySource.ESTIMATED)
    found = total([sure, modelled]).energy[0]
    assert (found.energy_j, found.source) == (7.0, EnergySource.ESTIMATED)
    assert found.uncertainty_j == pytest.approx(0.2)
    assert found.power_mean_w == pytest.approx(7.0 / 3.0)
    lacking = total([sure, phase(None)]).energy[0]
    assert (lacking.energy_j, lacking.reason) == (None, "no tick came")
    unmetered = total([sure, Phase(duration_s=1.0)]).energy[0]
    assert unmetered.energy_j is None
    assert total([sure, phase(1.0, images=7)]).images == 7


def test_checkpoints_that_are_needed_stay(tmp_path: Path) -> None:
    for count in range(1, 6):
        checkpoints.path_of(tmp_path, count).touch()
    checkpoints.prune(tmp_path, 3)  # the child is two epochs ahead of the journal
    assert kept(tmp_path) == [2, 3, 4, 5]
    assert checkpoints.drop_ahead(tmp_path, 3) == [4, 5]
    assert kept(tmp_path) == [2, 3]
    checkpoints.remove(tmp_path)
    assert not tmp_path.exists()


def kept(folder: Path) -> list[int]:
    return sorted(int(path.stem.partition("-")[2]) for path in folder.iterdir())
