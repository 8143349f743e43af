"""Meters that read counters of joules: what powercap, perf events and hwmon have in common."""

import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self, TypeAlias

from greenbatch.errors import MeterUnavailable
from greenbatch.runners.metering.meter import Clock, Domain, EnergyMeter, Reading
from greenbatch.runners.metering.sampling.ticks import probe_ticks
from greenbatch.runners.metering.sources.mirrors import mirrored
from greenbatch.units import MICROJOULE_J

RAPL_TICK_S = 0.001  # Intel SDM volume 3B, 'RAPL interfaces': updated about every millisecond
_INTERVAL_S = 0.2
_FOCUS_INTERVAL_S = 0.001
_PROBE_LIMIT_S = 0.25
_MEMORY_LIMIT_S = 1.5  # a counter that ticks more slowly is of no use in a window
_PROBE_PAUSE_S = 0.0002
_READ_BYTES = 32  # more than the 20 digits of a 64-bit count


class Counter(ABC):
    """One counter; what it opens stays open between reads until `close`.

    Attributes:
        where: Its file or event, for a person.
    """

    where: str

    @abstractmethod
    def read_j(self) -> float:
        """Return its value, in J.

        Raises:
            OSError: It cannot be opened or read.
            ValueError: It holds no count.
        """

    @abstractmethod
    def close(self) -> None:
        """Give back what is open; a later read opens it again."""

    def cause(self, error: Exception) -> str:
        """Say what `read_j` met."""
        text = error.strerror if isinstance(error, OSError) else None
        return (text or str(error)).lower()

    def cure(self, error: Exception) -> str:
        """Say what mends it, beside going without the counter; empty where nothing is known."""
        return ""

    def refusal(self, error: Exception) -> str:
        """Say what is wrong, where, and what to do: one sentence."""
        cures = [cure for cure in (self.cure(error), "pass --meter estimate") if cure]
        return f"cannot read {self.where}: {self.cause(error)}; {' or '.join(cures)}"


class CounterFile(Counter):
    """A file below sysfs that holds a count of µJ.

    It is read through one descriptor, which gives a fresh value each time; where that fails the
    file is opened again, so that one which comes, goes and comes back is read whenever it is there.

    Args:
        path: The file.
        permission_cure: What makes it readable where the right is missing.
    """

    def __init__(self, path: Path, permission_cure: str = "") -> None:
        self.path = path
        self.where = str(path)
        self._permission_cure = permission_cure
        self._descriptor: int | None = None

    def read_j(self) -> float:
        """Return the count, in J."""
        if self._descriptor is not None:
            try:
                return self._count(self._descriptor) * MICROJOULE_J
            except (OSError, ValueError):
                self.close()
        self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return self._count(self._descriptor) * MICROJOULE_J
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the descriptor."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def cure(self, error: Exception) -> str:
        """Say how to get the right, where that is what is missing."""
        return self._permission_cure if isinstance(error, PermissionError) else ""

    @staticmethod
    def _count(descriptor: int) -> int:
        text = os.pread(descriptor, _READ_BYTES, 0).strip()
        if not text.isdigit():
            raise ValueError("it holds no number")
        return int(text)


class AbsentCounter(Counter):
    """A counter that was of no use when its meter was opened: every read gives the reason.

    Args:
        reason: One sentence.
    """

    def __init__(self, reason: str) -> None:
        self.where = self._reason = reason

    def read_j(self) -> float:
        """Raise the reason."""
        raise ValueError(self._reason)

    def close(self) -> None:
        """Nothing is open."""

    def refusal(self, error: Exception) -> str:
        """Return the reason."""
        return self._reason


Part: TypeAlias = tuple[Domain, Counter]


class CounterMeter(EnergyMeter):
    """Reads one counter for each domain.

    Args:
        parts: The domains with their counters, which become the meter's to close.
    """

    interval_s = _INTERVAL_S
    focus_interval_s = _FOCUS_INTERVAL_S

    def __init__(self, parts: Sequence[Part]) -> None:
        self.domains = tuple(domain for domain, _ in parts)
        self._counters = {domain.name: counter for domain, counter in parts}

    @classmethod
    def _probed(cls, parts: Sequence[Part], clock: Clock) -> Self:
        """Make the meter once every domain that counts can be read; find how often they tick.

        A counter of memory that cannot be read, or that stands still, is left out of the total,
        with the reason; of several counters that show one and the same, the first one counts.

        Raises:
            MeterUnavailable: One of another part cannot be read, or a CPU's stands still.
        """
        try:
            known = [_or_absent(part) for part in parts]
            readable = [part for part in known if _is_readable(part)]
            ticks_s = _ticks_s(readable, clock)
            known = [_or_still(part, ticks_s) for part in known]
            mirrors = mirrored([part for part in known if part[0].counts], ticks_s, clock)
        except BaseException:
            for _, counter in parts:
                counter.close()
            raise
        return cls(
            [
                (
                    replace(
                        domain,
                        tick_s=ticks_s.get(domain.name, domain.tick_s),
                        counts=domain.counts and domain.name not in mirrors,
                        note=_mirror_note(mirrors.get(domain.name)) or domain.note,
                    ),
                    counter,
                )
                for domain, counter in known
            ]
        )

    def read(self) -> Mapping[str, Reading]:
        """Read every counter; one that fails has a reading with the reason."""
        return {name: _reading(counter) for name, counter in self._counters.items()}

    def close(self) -> None:
        """Close every counter."""
        for counter in self._counters.values():
            counter.close()


def _reading(counter: Counter) -> Reading:
    try:
        return Reading(energy_j=counter.read_j())
    except (OSError, ValueError) as error:
        return Reading(reason=counter.refusal(error))


def _or_absent(part: Part) -> Part:
    """Put a counter of memory that cannot be read out of the total."""
    domain, counter = part
    if domain.counts and domain.part == "memory":
        try:
            counter.read_j()
        except PermissionError:  # a right can be had: the meter is refused with the cure
            return part
        except (OSError, ValueError) as error:
            counter.close()
            return _absent(domain, f"cannot read {counter.where}: {counter.cause(error)}")
    return part


def _or_still(part: Part, ticks_s: Mapping[str, float]) -> Part:
    """Put a counter of memory that stood still while it was watched out of the total."""
    domain, counter = part
    if domain.counts and domain.part == "memory" and domain.name not in ticks_s:
        counter.close()
        return _absent(domain, f"the counter {counter.where} stands still")
    return part


def _absent(domain: Domain, cause: str) -> Part:
    reason = f"{cause}; the total leaves {domain.name} out"
    return replace(domain, counts=False, note=reason), AbsentCounter(reason)


def _mirror_note(other: str | None) -> str | None:
    return other and f"it shows the counter of {other} once more, and is not added"


def _is_readable(part: Part) -> bool:
    domain, counter = part
    try:
        counter.read_j()
    except (OSError, ValueError) as error:
        if domain.counts:
            raise MeterUnavailable(counter.refusal(error)) from error
        return False
    return True


def _ticks_s(parts: Sequence[Part], clock: Clock) -> dict[str, float]:
    """Return how often each counter is updated, in s, where it was seen to be.

    Raises:
        MeterUnavailable: That of a CPU stands still.
    """
    awaited = {d.name: c for d, c in parts if d.counts and d.part == "cpu"}
    memory = {d.name: c for d, c in parts if d.counts and d.part == "memory"}
    counters = {domain.name: counter for domain, counter in parts}
    periods = _watched(counters, clock, _PROBE_LIMIT_S, {**awaited, **memory})
    for name, counter in awaited.items():
        if periods.get(name) is None:
            raise MeterUnavailable(
                f"the counter {counter.where} stands still, as on virtual machines that only "
                "imitate it; pass --meter estimate"
            )
    if slow := {name: c for name, c in memory.items() if periods.get(name) is None}:
        periods |= _watched(slow, clock, _MEMORY_LIMIT_S, slow)
    return {name: period_s for name, period_s in periods.items() if period_s is not None}


def _watched(
    counters: Mapping[str, Counter], clock: Clock, limit_s: float, wait_for: Collection[str]
) -> dict[str, float | None]:
    def values() -> dict[str, float]:
        readings = {name: _reading(counter) for name, counter in counters.items()}
        return {name: r.energy_j for name, r in readings.items() if r.energy_j is not None}

    return probe_ticks(values, clock, limit_s, _PROBE_PAUSE_S, wait_for=wait_for)
