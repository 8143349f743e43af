"""What a run of trainings has come to: its journal, kept up to date while it grows."""

from collections.abc import Sequence
from dataclasses import dataclass

from greenbatch.records import (
    Beat,
    Epoch,
    Journal,
    Phase,
    Record,
    Training,
    TrainingCell,
    holding,
)
from greenbatch.runners.training.parent.phases import total


@dataclass(frozen=True, slots=True)
class Before:
    """What earlier sessions left of a training that has not ended.

    Attributes:
        epochs: Those that hold.
        lost: What was done in vain: behind the last checkpoint, or in epochs that were repeated.
        sessions: How many there were.
    """

    epochs: tuple[Epoch, ...] = ()
    lost: Phase | None = None
    sessions: int = 0


class Ledger:
    """The records of a run.

    Args:
        journal: What it held when it was opened.
    """

    def __init__(self, journal: Journal) -> None:
        self._trainings = {(t.cell, t.block): t for t in journal.trainings}
        self._epochs: dict[tuple[TrainingCell, int], list[Epoch]] = {}
        self._heartbeats: dict[tuple[TrainingCell, int], list[Beat]] = {}
        self.add([*journal.epochs, *journal.beats])

    def add(self, records: Sequence[Record]) -> None:
        """Take in records that were appended."""
        for record in records:
            if isinstance(record, Training):
                self._trainings[record.cell, record.block] = record
            elif isinstance(record, Epoch):
                self._epochs.setdefault((record.cell, record.block), []).append(record)
            elif isinstance(record, Beat):
                self._heartbeats.setdefault((record.cell, record.block), []).append(record)

    @property
    def trainings(self) -> tuple[Training, ...]:
        """Those that have ended, in the order they did."""
        return tuple(self._trainings.values())

    def training(self, cell: TrainingCell, block: int) -> Training | None:
        """Return a training that has ended."""
        return self._trainings.get((cell, block))

    def epochs(self, cell: TrainingCell, block: int) -> tuple[Epoch, ...]:
        """Return a training's epochs that hold, from the first."""
        return holding(self._epochs.get((cell, block), ()))

    def begun(self) -> tuple[tuple[TrainingCell, int], ...]:
        """Return the trainings that began, ended or not."""
        return tuple(dict.fromkeys((*self._trainings, *self._epochs, *self._heartbeats)))

    def before(self, cell: TrainingCell, block: int, behind: int | None = None) -> Before:
        """Return what sessions that ended before their training left of it.

        Args:
            cell, block: The training.
            behind: Behind how many epochs it goes on; those after them are lost. All of them
                hold, by default.
        """
        every = self._epochs.get((cell, block), [])
        heartbeats = self._heartbeats.get((cell, block), [])
        held = holding(every)[:behind]
        last = {heartbeat.session: heartbeat for heartbeat in heartbeats}
        done = {(epoch.session, epoch.epoch) for epoch in every}
        lost = [
            heartbeat.lost
            for session, heartbeat in last.items()
            if (session, heartbeat.epoch) not in done and heartbeat.lost.duration_s > 0
        ]
        lost += [
            phase
            for epoch in every
            if epoch not in held
            for phase in (epoch.train, epoch.validation, epoch.checkpoint)
        ]
        sessions = {epoch.session for epoch in every} | {*last}
        return Before(
            epochs=held,
            lost=total(lost) if lost else None,
            sessions=max(sessions, default=-1) + 1,
        )
