"""The control cell of a machine: the same network before and after a run, and whether it drifted.

Green Metrics Tool runs a control workload on each of its machines and demands a spread below 1 %
(docs.green-coding.io, 'Measurement control'). Here the bound on the change within a run is 2 %.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

import msgspec

from greenbatch.design.study import Study, make_study
from greenbatch.files import open_to_append, read_bytes
from greenbatch.records import Repetition, Status
from greenbatch.records.journal import read
from greenbatch.runners.fleet.planning import Unit
from greenbatch.runners.scheduling.stopping import observed
from greenbatch.user_folders import state_folder

MODEL, BATCH_SIZE, REPETITIONS = "shufflenet_v2_x0_5", 8, 3
DRIFT = 0.02
"""The largest change between start and end of a run that is not flagged, as a share."""
_FEWEST, _DEVIATIONS = 5, 3.0  # of a history that says something
_HISTORY_BYTES = 10_000_000

START = Unit("control-start", tuple(range(REPETITIONS)))
END = Unit("control-end", tuple(range(REPETITIONS, 2 * REPETITIONS)))


def is_control(unit: str) -> bool:
    """Whether a unit is of the control cell, by its name."""
    return unit.startswith("control-")


def control_study(study: Study) -> Study:
    """Return the design of the control cell for the machines of a study.

    Network, weights and batch are fixed; backend, meters and protocol are those of the study.
    """
    return make_study(
        {
            "name": "control",
            "models": [MODEL],
            "backends": [study.backends[0]],
            "batch_sizes": [BATCH_SIZE],
            "repetitions": 2 * REPETITIONS,
            "weights": "random",
            "seed": 0,
            "profile": study.profile,
            "protocol": study.protocol,
            "meters": list(study.meters),
            "cpu_tdp_w": study.cpu_tdp_w,
            "isolation": study.isolation,
            "wait_quiet": 0,
            "allow_fallback": study.allow_fallback,
            "artifacts_dir": str(Path(study.artifacts_dir) / "control"),
        },
        "the control cell",
    )


@dataclass(frozen=True, slots=True)
class Drift:
    """How a control cell changed within a run.

    Attributes:
        quantity: ``energy`` per image, or ``time`` per image where no energy is known.
        start, end: Mean of the repetitions at either time, in J or s.
    """

    quantity: str
    start: float
    end: float

    @property
    def share(self) -> float:
        """The change as a share of the start."""
        return self.end / self.start - 1

    @property
    def flagged(self) -> bool:
        """Whether it is more than `DRIFT`."""
        return abs(self.share) > DRIFT

    @property
    def sentence(self) -> str:
        """What was found."""
        return (
            f"{self.quantity} per image of the control cell changed by {self.share:+.1%} between "
            f"start and end of the run (bound: {DRIFT:.0%})"
        )


def drift_of(run: Path) -> Drift | None:
    """Return how the control cell of a machine drifted; ``None``: start or end is missing."""
    found = read(run / "journal.jsonl").repetitions
    start, end = (_of(found, unit) for unit in (START, END))
    quantity, values = observed([*start, *end])
    if not start or not end or len(values) != len(start) + len(end):
        return None
    return Drift(quantity, fmean(values[: len(start)]), fmean(values[len(start) :]))


def start_of(run: Path) -> tuple[str, float] | None:
    """Return what the control cell took at the start: the quantity, and its mean in J or s."""
    quantity, values = observed(_of(read(run / "journal.jsonl").repetitions, START))
    return (quantity, fmean(values)) if values else None


class Verdict(NamedTuple):
    """What is found of a control cell.

    Attributes:
        what: The event that it is: ``control``, or ``flagged``.
        reason: One sentence.
    """

    what: str
    reason: str


class _Entry(msgspec.Struct, frozen=True):
    """A control cell at the start of an earlier run."""

    design: str
    quantity: str
    value: float


class History:
    """What the control cell of each machine took in earlier runs, in the user's state folder.

    Args:
        folder: Of the files; by default ``fleet-history`` in the user's state folder.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder or state_folder("fleet-history")

    def judge(self, machine: str, design: str, quantity: str, value: float) -> str:
        """Compare a value with the earlier ones of the machine; return what is wrong, if anything.

        Beyond three standard deviations, and beyond `DRIFT`, it is flagged, from five earlier runs
        on.

        Args:
            machine: Its name.
            design: Identifies the control cell: its artifact, backend and protocol.
            quantity: ``energy`` or ``time``.
            value: In J or s.
        """
        earlier = [
            math.log(entry.value)
            for entry in self._read(machine)
            if (entry.design, entry.quantity) == (design, quantity)
        ]
        if len(earlier) < _FEWEST:
            return ""
        apart = math.log(value) - fmean(earlier)
        if abs(apart) <= max(_DEVIATIONS * stdev(earlier), math.log1p(DRIFT)):
            return ""
        return (
            f"{quantity} per image of the control cell is {math.expm1(apart):+.1%} from its mean "
            f"in {len(earlier)} earlier runs, whose standard deviation is {stdev(earlier):.1%}"
        )

    def add(self, machine: str, design: str, quantity: str, value: float) -> None:
        """Keep a value for later runs."""
        descriptor = open_to_append(self._file(machine))
        with open(descriptor, "wb") as file:  # noqa: PTH123 - it is a descriptor
            file.write(msgspec.json.encode(_Entry(design, quantity, value)) + b"\n")

    def _read(self, machine: str) -> list[_Entry]:
        try:
            lines = read_bytes(self._file(machine), _HISTORY_BYTES).splitlines()
        except FileNotFoundError:
            return []
        return [msgspec.json.decode(line, type=_Entry) for line in lines]

    def _file(self, machine: str) -> Path:
        return self._folder / f"{machine}.jsonl"


def judge(run: Path, machine: str, design: str, history: History | None) -> Iterator[Verdict]:
    """Judge the control cell of a machine, within this run and against earlier ones.

    Args:
        run: The folder of its run.
        machine: Its name.
        design: Identifies the control cell.
        history: Of earlier runs, to which this one is added; ``None``: they are not compared.
    """
    if not (start := start_of(run)):
        yield Verdict("flagged", "its control cell was not measured at the start")
        return
    drift = drift_of(run)
    if drift is None:
        yield Verdict("flagged", "its control cell was not measured at the end")
    else:
        yield Verdict("flagged" if drift.flagged else "control", drift.sentence)
    if history:
        if reason := history.judge(machine, design, *start):
            yield Verdict("flagged", reason)
        history.add(machine, design, *start)


def _of(found: Sequence[Repetition], unit: Unit) -> list[Repetition]:
    blocks = unit.blocks or ()
    return [each for each in found if each.block in blocks and each.status is Status.OK]
