"""The client of a fleet: gives units to machines, and takes in what they send."""

import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from greenbatch.errors import FleetError, MessageError
from greenbatch.runners.fleet.admission import Admission
from greenbatch.runners.fleet.control import END, START, History, is_control, judge
from greenbatch.runners.fleet.events import Event
from greenbatch.runners.fleet.executors import Executor
from greenbatch.runners.fleet.home import Home
from greenbatch.runners.fleet.messages import (
    Assignment,
    Diagnosed,
    Ended,
    FileRef,
    Progressed,
    decode,
)
from greenbatch.runners.fleet.planning import Unit, dealt, units_of
from greenbatch.runners.fleet.rules import Rules

_CONTROL_BACK_S = 60.0  # how long the last control cell of a machine that was lost is waited for
_LOOK_S = 2.0  # how often to look for machines that came or went


@dataclass(frozen=True, slots=True)
class Parcel:
    """The artifacts of a study.

    Attributes:
        files: Names and hashes.
        folder: Where the client has them.
    """

    files: tuple[FileRef, ...]
    folder: Path


@dataclass(frozen=True, slots=True)
class Listener:
    """Whoever wants to know what is going on in a fleet.

    Attributes:
        on_event: Something happened.
        on_progress: A machine reports where it stands.
    """

    on_event: Callable[[Event], None] = lambda event: None
    on_progress: Callable[[Progressed], None] = lambda progress: None


@dataclass(slots=True)
class _Member:
    """A machine that takes part.

    Attributes:
        group: Its group.
        queue: Units that were given to it and have not ended.
        lost_at_s: Since when it has not been connected; ``None``: it is.
    """

    group: str
    queue: list[Unit] = field(default_factory=list)
    lost_at_s: float | None = None


class Coordinator:
    """Runs a fleet until every unit has ended; what it knows, it knows from the home folder.

    Args:
        home: Receives the records.
        executor: Runs the units.
        parcel: The artifacts of the study.
        rules: See `Rules`.
        listener: See `Listener`.
        control: The artifacts of the control cell; ``None``: the fleet has none.
        history: What the control cells took in earlier runs.
        clock: Returns the time in s.
    """

    def __init__(
        self,
        home: Home,
        executor: Executor,
        parcel: Parcel,
        rules: Rules,
        listener: Listener = Listener(),
        control: Parcel | None = None,
        history: History | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._home = home
        self._executor = executor
        self._parcel = parcel
        self._control = control
        self._history = history
        self._rules = rules
        self._listener = listener
        self._clock = clock
        self._units = units_of(home.study, whole=rules.whole)
        self._members: dict[str, _Member] = {}
        self._refused: dict[str, str] = {}
        self._failed: dict[tuple[str, str], list[str]] = defaultdict(list)
        self._admission = Admission(rules)
        self._looked_s = -_LOOK_S

    def run(self) -> None:
        """Measure what is left of the fleet's study.

        Raises:
            FleetError: No machine came, none can measure the study, or one was lost and did not
                come back; what was measured is kept.
        """
        self._gather()
        for group in dict.fromkeys(member.group for member in self._members.values()):
            self._deal(group)
        while self._left() or self._controls_left():
            self._check_cancelled()
            for line in self._executor.receive(0.2):
                self._take(line)
            if self._clock() - self._looked_s >= _LOOK_S:
                self._look_round()
        self._require_members()
        for name in self._members if self._control else ():
            folder = self._home.control_folder(name)
            for found in judge(folder, name, self._home.control_key, self._history):
                self._note(found.what, name, reason=found.reason)

    def _check_cancelled(self) -> None:
        if self._home.cancelled:
            self._executor.cancel()
            self._note("cancelled")
            raise FleetError("the fleet was cancelled; what was measured is kept")

    def _gather(self) -> None:
        """Wait for the machines, and accept those that can measure."""
        come_s = self._executor.come_s
        end_s = self._clock() + come_s
        while True:
            self._admit()
            self._check_cancelled()
            wanted = max(self._rules.machines, self._executor.awaited)
            enough = len(self._members) + len(self._refused) >= wanted
            if self._clock() >= end_s or (enough and self._members):
                break
            if enough and self._clock() >= end_s - come_s + _LOOK_S:
                break
            time.sleep(0.2)
        if not self._members:
            reasons = "; ".join(f"{name}: {why}" for name, why in self._refused.items())
            raise FleetError(
                f"no machine can measure the study: {reasons}"
                if reasons
                else f"no machine came within {come_s:g} s; start workers, or correct "
                "the address of the scheduler"
            )

    def _admit(self) -> list[str]:
        """Accept machines that were not seen before; return them."""
        self._looked_s = self._clock()
        new = []
        for name, seen in self._executor.machines().items():
            if name in self._members or name in self._refused:
                continue
            facts, reason = seen.facts, seen.unfit
            group = self._rules.sharing.group(facts) if facts else None
            if facts and not reason:
                if group is None or self._is_full(group):
                    reason = f"it is not needed: its kind is {facts.kind}"
                else:
                    reason = self._admission.refusal(facts)
            if reason or group is None:
                self._refuse(name, reason)
                continue
            for parcel in filter(None, (self._parcel, self._control)):
                for file in self._executor.lacking(name, parcel.files, parcel.folder):
                    self._executor.send_file(name, file, parcel.folder / file.name)
            self._members[name] = _Member(group)
            self._note("accepted", name, reason=facts.kind if facts else "", group=group)
            if facts and (reason := self._admission.suspicion(facts)):
                self._note("flagged", name, reason=reason)
            new.append(name)
        return new

    def _is_full(self, group: str) -> bool:
        limit = self._rules.sharing.limit(group)
        members = [each for each in self._members.values() if each.group == group]
        return limit is not None and len(members) >= limit

    def _look_round(self) -> None:
        """See which machines came or went, and give their units to others where these may."""
        for name in self._admit():
            self._deal(self._members[name].group)
        connected = self._executor.machines()
        for name in self._executor.lost():
            member = self._members[name]
            self._executor.withdraw(name)
            member.queue.clear()
            if member.lost_at_s is None:
                self._note("lost", name)
            member.lost_at_s = self._clock()
        for name, member in self._members.items():
            if member.lost_at_s is not None and name in connected:
                member.lost_at_s = None
                self._note("returned", name)
                self._deal(member.group)
        for group in {member.group for member in self._members.values()}:
            if any(self._is_idle(name) for name in self._of(group)):
                self._deal(group)
        self._give_up()

    def _controls_left(self) -> bool:
        """Submit the control cells that are due; say whether one is to be waited for."""
        left = False
        for name, member in self._members.items() if self._control else ():
            due = self._submit_control(name)
            if member.lost_at_s is not None:
                left |= due and self._clock() - member.lost_at_s < _CONTROL_BACK_S
            left |= any(is_control(unit.name) for unit in member.queue)
        return left

    def _submit_control(self, name: str) -> bool:
        """Have a machine measure its control cell: before anything else, and after its last.

        Returns:
            Whether one is due on a machine that is not connected.
        """
        member = self._members[name]
        queued = {unit.name for unit in member.queue}
        for unit in (START, END):
            if unit == END and (self._left_of(member.group) or member.queue):
                return False
            done = (name, unit.name) in self._home.finished() or unit.name in queued
            failed = len(self._failed[name, unit.name]) >= self._rules.attempts
            if done or failed:
                continue
            if member.lost_at_s is not None:
                return True
            member.queue.append(unit)
            self._executor.submit(name, [self._assignment(name, unit)])
        return False

    def _deal(self, group: str) -> None:
        """Give the units of a group that nobody has to its machines, evenly."""
        names = [name for name in self._of(group) if self._members[name].lost_at_s is None]
        for name in names if self._control else ():
            self._submit_control(name)
        left = self._left_of(group)
        if not names or not left:
            return
        if not self._rules.sharing.each and any(not self._members[name].queue for name in names):
            for name in names:  # what has not begun is dealt anew
                back = set(self._executor.withdraw(name))
                queue = self._members[name].queue
                self._members[name].queue = [unit for unit in queue if unit.name not in back]
        given = {unit for name in self._of(group) for unit in self._members[name].queue}
        free = [unit for unit in left if unit not in given]
        names.sort(key=lambda name: len(self._members[name].queue))
        for name, units in dealt(free, names).items():
            if units:
                self._members[name].queue += units
                self._executor.submit(name, [self._assignment(name, unit) for unit in units])

    def _assignment(self, name: str, unit: Unit) -> Assignment:
        control = is_control(unit.name)
        parcel = self._control if control else self._parcel
        assert parcel
        elsewhere = {} if control else self._home.elsewhere(name)
        return Assignment(
            fleet=self._home.fleet.id,
            machine=name,
            unit=unit.name,
            study=self._home.fleet.control if control else self._home.fleet.study,
            blocks=unit.blocks,
            elsewhere=tuple(
                (cell.slug, block) for cell, block in elsewhere if block in (unit.blocks or ())
            ),
            known=self._home.known(name, control=control),
            files=parcel.files,
            files_at=str(parcel.folder),
            wait_s=self._rules.wait_s,
            trust=self._rules.trust,
            environment=dict(self._admission.versions),
            control=control,
            diagnose=self._home.study.backends if unit == START else (),
        )

    def _take(self, line: bytes) -> None:
        try:
            message = decode(line)
            self._home.take(message)
        except MessageError as error:
            self._note("failed", reason=str(error))
            return
        if not isinstance(message, Ended):
            if isinstance(message, Progressed):
                self._listener.on_progress(message)
            elif isinstance(message, Diagnosed):
                for text in message.findings:
                    self._note("flagged", message.machine, reason=text)
            return
        if message.machine not in self._members:
            return
        member = self._members[message.machine]
        member.queue = [unit for unit in member.queue if unit.name != message.unit]
        if message.log:
            self._home.log(message.machine, message.log)
        if message.outcome == "refused":
            self._refuse(message.machine, message.reason)
        elif message.outcome == "finished" and self._home.complete(message):
            if (message.machine, message.unit) not in self._home.finished():
                self._note("finished", message.machine, message.unit)
        else:
            reason = message.reason or "records of it did not arrive"
            whose = message.machine if is_control(message.unit) else member.group
            self._failed[whose, message.unit].append(reason)
            self._note("failed", message.machine, message.unit, reason)
            self._deal(member.group)

    def _refuse(self, name: str, reason: str) -> None:
        self._refused[name] = reason
        if member := self._members.pop(name, None):
            self._executor.withdraw(name)
            self._deal(member.group)
        self._note("refused", name, reason=reason)

    def _give_up(self) -> None:
        """End where nothing but machines that were lost could go on, and they do not come back."""
        self._require_members()
        lost = {n: m.lost_at_s for n, m in self._members.items() if m.lost_at_s is not None}
        busy = any(member.queue for name, member in self._members.items() if name not in lost)
        waited_s = self._clock() - max(lost.values(), default=0.0)
        if lost and not busy and self._left() and waited_s > self._rules.back_s:
            raise FleetError(
                f"{', '.join(lost)} did not come back within {self._rules.back_s:g} s; what was "
                "measured is kept"
            )

    def _require_members(self) -> None:
        if not self._members:
            reasons = "; ".join(f"{name}: {why}" for name, why in self._refused.items())
            raise FleetError(f"no machine can measure the study: {reasons}")

    def _of(self, group: str) -> list[str]:
        return [name for name, member in self._members.items() if member.group == group]

    def _is_idle(self, name: str) -> bool:
        member = self._members[name]
        return not member.queue and member.lost_at_s is None

    def _left(self) -> list[Unit]:
        groups = dict.fromkeys(member.group for member in self._members.values())
        return [unit for group in groups for unit in self._left_of(group)]

    def _left_of(self, group: str) -> list[Unit]:
        """Return the units of a group that neither finished nor failed too often."""
        groups = self._home.groups
        done = {unit for name, unit in self._home.finished() if groups.get(name) == group}
        return [
            unit
            for unit in self._units
            if unit.name not in done and len(self._failed[group, unit.name]) < self._rules.attempts
        ]

    def _note(
        self, what: str, machine: str = "", unit: str = "", reason: str = "", group: str = ""
    ) -> None:
        self._listener.on_event(self._home.note(what, machine, unit, reason, group))
