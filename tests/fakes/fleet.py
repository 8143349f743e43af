"""Simulated machines of a fleet: each keeps its journal, and may die, hang or repeat itself.

A step of the simulation is one repetition on each machine that is alive; no time passes.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from random import Random

import msgspec

from greenbatch.design.study import Study, make_study
from greenbatch.errors import FleetError
from greenbatch.records import Repetition, encode
from greenbatch.records.journal import checksum_of
from greenbatch.records.journal import decode as decode_record
from greenbatch.runners.fleet.control import control_study
from greenbatch.runners.fleet.executors import Seen
from greenbatch.runners.fleet.fleet_file import FleetFile, study_of
from greenbatch.runners.fleet.machines import MachineFacts
from greenbatch.runners.fleet.messages import (
    Assignment,
    Ended,
    FileRef,
    Lines,
    Message,
    Opened,
    Outcome,
    Progressed,
)
from greenbatch.runners.fleet.messages import encode as encode_message
from greenbatch.runners.scheduling.order import orders
from tests.fakes import runs

VERSIONS = {"greenbatch": "1.0", "onnxruntime": "1.31.1", "python": "3.11.7"}


def study(repetitions: int = 3, batch_sizes: Sequence[int] = (1, 4)) -> Study:
    """A study of one network whose artifact is known."""
    return make_study(runs.study(batch_sizes=batch_sizes, repetitions=repetitions))


def fleet_file(design: Study, machines: str = "each", *, control: bool = False) -> FleetFile:
    """What a fleet of simulated machines is."""
    text = control_study(design).to_yaml() if control else ""
    kind = {"kind": "simulated"}
    return FleetFile("0123456789ab", design.to_yaml(), machines, False, kind, control=text)


def facts(name: str, cpu: str = "Example CPU 9000", **versions: str) -> MachineFacts:
    """What a simulated machine says of itself."""
    return MachineFacts(
        name=name,
        boot=f"boot-{name}",
        cpu=cpu,
        cores_granted=2,
        hardware_threads=4,
        memory_bytes=8 << 30,
        gpus=(),
        power_limits_w={},
        rapl=("package-0",),
        governor="performance",
        versions=VERSIONS | versions,
    )


class SimulatedMachine:
    """A machine: its disk outlives its worker.

    Attributes:
        power_w: What it draws.
        alive: Whether its worker is connected.
        refuses: Why it cannot measure; empty: it can.
        fails: How many units fail before one succeeds.
        drift: By how much its control cell changes, as a share.
        examined: The backends that it was to try, by unit.
    """

    def __init__(self, about: MachineFacts, power_w: float = 20.0) -> None:
        self.facts = about
        self.power_w = power_w
        self.alive = True
        self.refuses = ""
        self.fails = 0
        self.files: set[str] = set()
        self.journal: list[bytes] = []
        self.controls: list[bytes] = []
        self.drift = 0.0
        self.examined: dict[str, tuple[str, ...]] = {}
        self.queue: list[Assignment] = []
        self.began = False
        self.measured = 0

    def step(self) -> list[Message]:
        """Measure one repetition of the first unit; return what is sent."""
        if not self.alive or not self.queue:
            return []
        unit = self.queue[0]
        about = {"machine": unit.machine, "unit": unit.unit}
        if self.refuses:
            return self._end(unit, "refused", self.refuses)
        if self.fails:
            self.fails -= 1
            return self._end(unit, "failed", "the measuring process was ended by signal 9")
        design = study_of(unit.study, "the assignment")
        journal = self.controls if unit.control else self.journal
        mine = [line for line in journal if self._is_of(line, unit)]
        sent: list[Message] = []
        if not self.began:
            self.began = True
            if unit.diagnose:
                self.examined[unit.unit] = unit.diagnose
            environment = json.dumps(self._environment())
            sent.append(Opened(**about, environment=environment))
            unknown = [line for line in mine if checksum_of(line) not in unit.known]
            if unknown:
                sent.append(self._lines(unit, unknown))
        ordered = islice(orders(design.cells(), design.seed), design.repetitions)
        for block, order in enumerate(ordered):
            if unit.blocks is not None and block not in unit.blocks:
                continue
            for position, cell in enumerate(order):
                place = (cell, block)
                if place in self._done(journal) or (cell.slug, block) in unit.elsewhere:
                    continue
                power_w = self.power_w * (1 + self.drift * (unit.unit == "control-end"))
                record = runs.repetition(
                    cell,
                    block,
                    energy=[runs.figure(power_w * runs.WINDOW_S)],
                    position=position,
                    trace=f"{cell.slug}_r{block}.npz",
                )
                journal.append(encode(record))
                self.measured += not unit.control
                sent.append(self._lines(unit, [journal[-1]]))
                sent.append(
                    Progressed(
                        machine=unit.machine, unit=unit.unit, done=len(self.journal), total=99
                    )
                )
                return sent
        return [*sent, *self._end(unit, "finished", "", mine)]

    def die(self) -> None:
        """Lose the worker with its units; the disk stays."""
        self.alive = False
        self.queue.clear()
        self.began = False

    def _end(
        self, unit: Assignment, outcome: Outcome, reason: str, lines: Sequence[bytes] = ()
    ) -> list[Message]:
        self.queue.pop(0)
        self.began = False
        return [
            Ended(
                machine=unit.machine,
                unit=unit.unit,
                outcome=outcome,
                reason=reason,
                lines=tuple(map(checksum_of, lines)),
            )
        ]

    def _lines(self, unit: Assignment, lines: Sequence[bytes]) -> Lines:
        names = [decode_record(line) for line in lines]
        traces = {r.trace: b"trace" for r in names if isinstance(r, Repetition) and r.trace}
        data = b"".join(lines)
        return Lines(machine=unit.machine, unit=unit.unit, data=data, traces=traces)

    def _is_of(self, line: bytes, unit: Assignment) -> bool:
        record = decode_record(line)
        assert isinstance(record, Repetition)
        return unit.blocks is None or record.block in unit.blocks

    @staticmethod
    def _done(journal: Sequence[bytes]) -> set[tuple[object, int]]:
        records = map(decode_record, journal)
        return {(r.cell, r.block) for r in records if isinstance(r, Repetition)}

    def _environment(self) -> dict[str, object]:
        about = runs.environment()
        about["machine"] |= {"name": self.facts.name, "cpu": self.facts.cpu}
        del about["machine"]["hostname"]
        return about


class SimulatedFleet:
    """An executor over simulated machines.

    Args:
        machines: By name.
        seed: Of what goes wrong.
        drops: Share of the messages with records that are lost on the way.
        repeats: Share of the messages that arrive twice.
    """

    name = "simulated"
    link = ""
    come_s = 20.0
    awaited = 0

    def __init__(
        self,
        machines: Sequence[SimulatedMachine],
        seed: int = 0,
        drops: float = 0.0,
        repeats: float = 0.0,
    ) -> None:
        self.all = {machine.facts.name: machine for machine in machines}
        self.random = Random(seed)
        self.drops = drops
        self.repeats = repeats
        self.reachable = True
        self.steps = 0
        self.before_step: Callable[[], None] = lambda: None
        self._given: dict[str, list[str]] = {}

    def machines(self) -> Mapping[str, Seen]:
        """Return those that are alive."""
        self._check()
        return {name: Seen(machine.facts) for name, machine in self.all.items() if machine.alive}

    def lacking(self, machine: str, files: Sequence[FileRef], folder: Path) -> list[FileRef]:
        """Return the files that a machine was not sent."""
        return [file for file in files if file.sha256 not in self.all[machine].files]

    def send_file(self, machine: str, file: FileRef, path: Path) -> None:
        """Send a file, which must not be there yet."""
        assert file.sha256 not in self.all[machine].files
        self.all[machine].files.add(file.sha256)

    def submit(self, machine: str, assignments: Sequence[Assignment]) -> None:
        """Give units to a machine, as they travel: as bytes."""
        for each in assignments:
            copied = msgspec.json.decode(msgspec.json.encode(each), type=Assignment)
            self.all[machine].queue.append(copied)
        self._given.setdefault(machine, []).extend(each.unit for each in assignments)

    def lost(self) -> list[str]:
        """Return machines that have died with units."""
        return [name for name, units in self._given.items() if units and self._died(name)]

    def withdraw(self, machine: str) -> list[str]:
        """Take back what has not begun."""
        member = self.all[machine]
        kept = member.queue[:1] if member.began else []
        units = [unit.unit for unit in kept]
        back = [name for name in self._given.pop(machine, []) if name not in units]
        member.queue = kept
        self._given[machine] = units
        return back

    def receive(self, timeout_s: float) -> list[bytes]:
        """Let every machine measure a repetition; return what arrives."""
        self._check()
        self.steps += 1
        assert self.steps < 10_000, "the fleet makes no progress"
        self.before_step()
        arrived: list[bytes] = []
        for name, machine in self.all.items():
            for message in machine.step():
                if isinstance(message, Ended):
                    self._given[name] = [u for u in self._given[name] if u != message.unit]
                elif isinstance(message, Lines) and self.random.random() < self.drops:
                    continue
                line = encode_message(message)
                arrived += [line] * (2 if self.random.random() < self.repeats else 1)
        return arrived

    def cancel(self) -> None:
        """End everything."""
        for machine in self.all.values():
            machine.queue.clear()

    def close(self) -> None:
        """Do nothing."""

    def _died(self, name: str) -> bool:
        return bool(self._given[name]) and not self.all[name].queue

    def _check(self) -> None:
        if not self.reachable:
            raise FleetError("the scheduler does not answer any more")
