"""A session of a training, seen from the parent: a fresh child, its meters, the records of it.

A training that is not interrupted is one session. What the child reports becomes a line of the
journal at once: an epoch with its energy, or how far it has come since the last checkpoint.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from greenbatch.arrays import write_arrays
from greenbatch.design.training_study import TrainingStudy
from greenbatch.files import draft, make_folder, remove_old_drafts
from greenbatch.records import (
    Beat,
    Conditions,
    EnergyFigure,
    Epoch,
    Flag,
    Phase,
    Record,
    Status,
    Training,
    TrainingCell,
    WarmUp,
)
from greenbatch.runners.child.environment import variables_of
from greenbatch.runners.child.handle import ChildFailed, ChildProcess, reported_figures
from greenbatch.runners.child.messages import Idling, Message, Settled
from greenbatch.runners.host.load import HostSampler
from greenbatch.runners.metering import Metering
from greenbatch.runners.metering.sampling.sampler import Recorder
from greenbatch.runners.run.cell_metering import check_device, metering_of
from greenbatch.runners.run.window_conditions import conditions_around, window_flags
from greenbatch.runners.training.child import checkpoints
from greenbatch.runners.training.messages import (
    EpochEnded,
    Heartbeat,
    PhaseEnded,
    Trained,
    TrainingLoaded,
    TrainingWarm,
)
from greenbatch.runners.training.parent.ledger import Before, Ledger
from greenbatch.runners.training.parent.phases import total
from greenbatch.runners.training.parent.requests import training_of

_TRACE_POINTS = 20_000  # of a domain: hours are drawn as well from as many


@dataclass(frozen=True, slots=True)
class TrainingSlot:
    """A training that is to be done.

    Attributes:
        cell: What is trained.
        block: The repetition's number, from 0.
        position: Place in the block, from 0.
    """

    cell: TrainingCell
    block: int
    position: int

    @property
    def name(self) -> str:
        """A name for files."""
        return f"{self.cell.slug}_r{self.block}"


@dataclass(frozen=True, slots=True)
class TrainingContext:
    """What all trainings of a run share.

    Attributes:
        study: The design.
        metering: The open meters.
        host: The open sampler of the machine's load.
        cores: Granted to this run.
        run: The run's folder.
        ledger: The run's records so far.
        append: Writes records to the journal, and to the ledger.
        on_step: Receives a sentence where something is out of the ordinary.
        on_epoch: Receives each epoch.
    """

    study: TrainingStudy
    metering: Metering
    host: HostSampler
    cores: float
    run: Path
    ledger: Ledger
    append: Callable[[list[Record]], None]
    on_step: Callable[[str], None]
    on_epoch: Callable[[Epoch], None]


def train(slot: TrainingSlot, context: TrainingContext, rest: Callable[[], Conditions]) -> Training:
    """Train a slot's network in a fresh child, or go on where an earlier session ended.

    The child imports what it needs while the machine rests.

    Args:
        slot: What is trained.
        context: What all trainings share; epochs and heartbeats are appended to its journal.
        rest: Rests as the protocol asks, and returns the conditions before the training.

    Returns:
        The training; a child that fails, dies or falls silent gives one that says so.

    Raises:
        KeyboardInterrupt: As it came; what was lost by it is in the journal.
    """
    began_s = time.perf_counter()
    started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    before = context.ledger.before(slot.cell, slot.block)
    folder = context.run / "checkpoints" / slot.name
    make_folder(folder)
    remove_old_drafts(folder, older_than_s=0.0)
    if before.sessions:
        ahead = checkpoints.drop_ahead(folder, len(before.epochs))
        context.on_step(f"{slot.cell}: {_going_on(before, ahead)}")
    conditions = Conditions()

    def wall_s() -> float:
        return time.perf_counter() - began_s - conditions.rest_s

    counted = metering_of(context.metering, slot.cell.backend)
    with Recorder(counted.metering.meters, time.perf_counter) as recorder:
        log = _Log(slot, context, recorder, before)
        try:
            with ChildProcess(
                context.study.rules.timeout_s,
                renews=True,
                environment={**variables_of(slot.cell), **counted.environment},
            ) as child:
                child.begin("training", slot.cell.backend)
                counted.metering.follow(child.pid)
                conditions = rest()

                def follow(event: Message) -> None:
                    if isinstance(event, Idling):
                        recorder.wait_until_idle()
                        child.send(Settled())
                    else:
                        log(event)

                request = training_of(
                    context.study,
                    slot.cell,
                    slot.block,
                    held_epochs=len(before.epochs),
                    folder=folder,
                    settles=context.metering.settles,
                )
                reply = child.finish(request, Trained, follow)
                device = check_device(counted, reply.gpu_uuid)
                reply = replace(reply, settings={**reply.settings, **device})
                recorder.settle(reply.window[1], recorder.tick_timeout_s)
                with reported_figures():
                    training = log.ok(reply, started_at, conditions, wall_s())
        except ChildFailed as failure:
            training = log.failed(failure, started_at, conditions, wall_s())
        except KeyboardInterrupt:
            log.heartbeat(time.perf_counter())
            raise
    context.append([training])
    checkpoints.remove(folder)
    return training


class _Log:
    """Makes records of what a child reports."""

    def __init__(
        self, slot: TrainingSlot, context: TrainingContext, recorder: Recorder, before: Before
    ) -> None:
        self._slot = slot
        self._context = context
        self._recorder = recorder
        self._before = before
        self._session = before.sessions
        self._since_s: float | None = None  # the last checkpoint's end, or the session's begin
        self._images = 0
        self._epoch = len(before.epochs)
        self._ends_s: list[float] = []

    def __call__(self, event: Message) -> None:
        """Take an event of the child."""
        match event:
            case TrainingLoaded():
                self._begin(event)
            case TrainingWarm():
                self._recorder.list_processes()
                self._since_s = self._recorder.mark()
                self._append(self._heartbeat(Phase(duration_s=0.0)))
            case PhaseEnded():
                self._recorder.mark()
            case Heartbeat():
                self._images, self._epoch = event.images, event.epoch
                self.heartbeat(event.at_s)
            case EpochEnded():
                self._end_epoch(event)

    def _begin(self, event: TrainingLoaded) -> None:
        """Go back to where the child went on, if it could not read the last checkpoint."""
        if event.note:
            self._context.on_step(f"{self._slot.cell}: {event.note}")
        slot = self._slot
        self._epoch = event.epochs
        self._before = self._context.ledger.before(slot.cell, slot.block, self._epoch)

    def _end_epoch(self, event: EpochEnded) -> None:
        began_s, trained_s, validated_s, saved_s = event.ends_s
        self._recorder.settle(saved_s, self._recorder.tick_timeout_s)
        self._recorder.list_processes()
        epoch = Epoch(
            cell=self._slot.cell,
            block=self._slot.block,
            session=self._session,
            epoch=event.epoch,
            train=self._phase(began_s, trained_s, event.train_images),
            validation=self._phase(trained_s, validated_s, event.validation_images),
            checkpoint=self._phase(validated_s, saved_s),
            train_loss=event.train_loss,
            loss=event.loss,
            accuracy=event.accuracy,
            f1=event.f1,
            macro_precision=event.macro_precision,
            macro_recall=event.macro_recall,
            auc=event.auc,
        )
        self._append(epoch)
        self._since_s, self._images, self._epoch = saved_s, 0, event.epoch + 1
        self._ends_s.append(saved_s)
        folder = self._context.run / "checkpoints" / self._slot.name
        checkpoints.prune(folder, self._epoch)
        self._context.on_epoch(epoch)

    def heartbeat(self, at_s: float) -> None:
        """Write down how far the session has come behind its last checkpoint."""
        if lost := self._lost(at_s):
            self._append(self._heartbeat(lost))

    def _heartbeat(self, lost: Phase) -> Beat:
        slot = self._slot
        return Beat(
            cell=slot.cell,
            block=slot.block,
            session=self._session,
            epoch=self._epoch,
            lost=lost,
        )

    def _lost(self, at_s: float) -> Phase | None:
        if self._since_s is None or at_s <= self._since_s:
            return None
        self._recorder.settle(at_s, self._recorder.tick_timeout_s)
        return self._phase(self._since_s, at_s, self._images)

    def _phase(self, start_s: float, end_s: float, images: int = 0) -> Phase:
        return Phase(
            duration_s=end_s - start_s,
            images=images,
            energy=self._recorder.energy(start_s, end_s),
        )

    def _append(self, record: Record) -> None:
        self._context.append([record])

    def ok(
        self,
        reply: Trained,
        started_at: str,
        before: Conditions,
        wall_s: float,
    ) -> Training:
        """Make the record of a training that has come to its end."""
        slot, recorder = self._slot, self._recorder
        epochs = self._context.ledger.epochs(slot.cell, slot.block)
        start_s, end_s = reply.window
        conditions, trace = before, None
        if end_s > start_s:
            conditions = conditions_around(
                reply, recorder, self._context.host, self._context.cores, before
            )
            trace = f"{slot.name}.npz"
            self._save_trace(self._context.run / "traces" / trace, start_s, end_s)
        if len(self._ends_s) == len(epochs):  # one session: one window
            whole = self._phase(start_s, end_s, sum(_images(epoch) for epoch in epochs))
        else:
            whole = total([p for e in epochs for p in (e.train, e.validation, e.checkpoint)])
        best = min(epochs, key=lambda epoch: epoch.loss)
        return Training(
            cell=slot.cell,
            block=slot.block,
            position=slot.position,
            status=Status.OK,
            started_at=started_at,
            flags=_flags(reply.warm_up, whole.energy, conditions).names,
            stopped=reply.stopped,
            best_epoch=best.epoch,
            sessions=self._session + 1,
            whole=whole,
            lost=self._before.lost,
            parameters=reply.parameters,
            macs=reply.macs,
            warm_up=reply.warm_up,
            idle_w=self._idle_w(reply.idle),
            conditions=conditions,
            settings=reply.settings,
            memory_host_bytes=reply.memory_host_bytes,
            phases_s=reply.phases_s | {"wall": wall_s},
            trace=trace,
        )

    def failed(
        self, failure: ChildFailed, started_at: str, conditions: Conditions, wall_s: float
    ) -> Training:
        """Make the record of a training that failed; what came behind its last epoch is lost."""
        parts = [self._before.lost, self._lost(time.perf_counter())]
        lost = [phase for phase in parts if phase is not None]
        return Training(
            cell=self._slot.cell,
            block=self._slot.block,
            position=self._slot.position,
            status=failure.status,
            reason=failure.reason,
            started_at=started_at,
            sessions=self._session + 1,
            lost=total(lost) if lost else None,
            conditions=conditions,
            phases_s={"wall": wall_s},
        )

    def _idle_w(self, window: tuple[float, float] | None) -> dict[str, float | None]:
        if window is None:
            return {}
        return {figure.domain: figure.power_w for figure in self._recorder.idle(*window)}

    def _save_trace(self, path: Path, start_s: float, end_s: float) -> None:
        """Write power over the session, thinned to so many readings, and the epochs' ends."""
        import numpy as np

        arrays = {"epoch_end_s": np.array(self._ends_s) - start_s}
        for name, column in self._recorder.trace(start_s, end_s).items():
            arrays[name] = column[:: -(-len(column) // _TRACE_POINTS)]
        with draft(path) as unfinished, unfinished.open("wb") as file:
            write_arrays(file, arrays, packed=True)


def _images(epoch: Epoch) -> int:
    return epoch.train.images + epoch.validation.images


def _going_on(before: Before, ahead: list[int]) -> str:
    """Say where a training goes on, and at what cost."""
    sentence = f"goes on behind epoch {len(before.epochs)}"
    if ahead:
        sentence += (
            f" (the checkpoint behind epoch {ahead[0]} is ahead of the journal, and left out)"
        )
    if before.lost:
        sentence += f"; {before.lost.duration_s:.1f} s at the least were lost"
    return sentence


def _flags(
    warm_up: WarmUp | None, energy: tuple[EnergyFigure, ...], conditions: Conditions
) -> Flag:
    flags = window_flags(energy, conditions)
    if warm_up and not warm_up.settled:
        flags |= Flag.UNSTEADY
    return flags
