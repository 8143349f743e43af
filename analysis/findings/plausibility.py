"""What the joules are worth: energy per multiply-add beside what others published."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greenbatch import units
from greenbatch.analysis.dataset.described import environment_of
from greenbatch.analysis.findings.answers import Answer
from greenbatch.analysis.findings.cells import CellRow
from greenbatch.analysis.published.energy import REPRODUCED, measured_records
from greenbatch.analysis.published.peaks import Peak, peak_of
from greenbatch.design.environment import Domain, Environment
from greenbatch.records import Cell, Provenance

if TYPE_CHECKING:
    import xarray as xr

_CLASSES = {"cpu": "cpu", "cuda": "gpu", "gpu": "gpu", "npu": "npu"}
"""Class of device of the records, by a backend's device."""
_JETSON = ("Orin", "Xavier", "Tegra")
_WORDS = {"cpu": "CPUs", "gpu": "GPUs", "npu": "NPUs", "soc": "Jetson modules"}
LEAST_SHARE = 0.5
"""Of the least published energy: less than that is implausible."""
MOST_ROOFLINES = 30.0
"""Times the energy at peak performance: where the best cell needs more, it is implausible."""


@dataclass(frozen=True, slots=True)
class Range:
    """The least and the most of some energies per multiply-add, in J."""

    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Range | None":
        """Return the range of values; ``None`` where there is none."""
        found = list(values)
        return cls(min(found), max(found)) if found else None

    def __str__(self) -> str:
        low, high = (units.si(1e9 * end, "J", 2) for end in (self.low, self.high))
        return low if low == high else f"{low} to {high}"


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyWorth:
    """Energy per multiply-add on one class of device, beside what is published for it.

    Attributes:
        device_class: ``cpu``, ``gpu``, ``soc`` or ``npu``.
        best: Of the best cell of each network, in J.
        least: The least of all cells, in J.
        boundary: What the energy is of, in words.
        estimated: Whether an estimate is in it.
        published: Of ResNet-50, in J; ``None`` where nothing is published for the class.
        systems: On how many systems that was measured.
        roofline: How many times the energy at the peak of the device the best cells need; ``None``
            where no peak is known.
        peak: Of the device.
        left_out: Networks whose number of multiply-adds is not known.
    """

    device_class: str
    best: Range
    least: float
    boundary: str
    estimated: bool
    published: Range | None
    systems: int
    roofline: Range | None = None
    peak: Peak | None = None
    left_out: Sequence[str] = ()

    @property
    def too_little(self) -> bool:
        """Whether a cell needs less than half of the least published energy."""
        return self.published is not None and self.least < LEAST_SHARE * self.published.low

    @property
    def too_much(self) -> bool:
        """Whether even a best cell is far from the peak of the device."""
        return self.roofline is not None and self.roofline.high > MOST_ROOFLINES

    @property
    def sentence(self) -> str:
        """What the joules are worth, in one to three sentences."""
        found = (
            f"The best cells on {_WORDS[self.device_class]} need {self.best} per 10⁹ "
            f"multiply-adds ({self.boundary})"
        )
        if self.published is None:
            found += "; nothing is published for this class of device"
        else:
            low, high = (f"{share:.0%}".replace("%", "") for share in REPRODUCED)
            found += (
                f". Published: {self.published} (ResNet-50 on {self.systems} systems, at the wall "
                f"or the socket; such figures differ by {low} to {high} % when they are measured "
                "again)"
            )
        if self.roofline is not None and self.peak is not None:
            times = " to ".join(dict.fromkeys(f"{t:.2g}" for t in _ends(self.roofline)))
            found += (
                f". That is {times} times the energy at the peak of {self.peak.device} and "
                f"{self.peak.power_w:g} W ({self.peak.source})"
            )
        if self.left_out:
            found += f". The multiply-adds of {', '.join(self.left_out)} are not known"
        return f"{found}."

    @property
    def doubt(self) -> str:
        """Why the energy is implausible, in a sentence; empty where it is not."""
        if self.too_little and self.published is not None:
            cure = " Give --cpu-tdp, or measure at the wall." if self.estimated else ""
            return (
                f"Implausibly little energy: {units.si(1e9 * self.least, 'J', 2)} per 10⁹ "
                f"multiply-adds ({self.boundary}) is {self.least / self.published.low:.2g} times "
                f"the least that is published for {_WORDS[self.device_class]} "
                f"({units.si(1e9 * self.published.low, 'J', 2)}, at the wall). Do not quote these "
                f"joules as the energy of the machine.{cure}"
            )
        if self.too_much and self.roofline is not None:
            return (
                f"Implausibly much energy: the best cell of a network needs "
                f"{self.roofline.high:.2g} times the energy at the peak of the device; more than "
                f"{MOST_ROOFLINES:g} times suggests that the device was mostly idle, or that the "
                "energy of something else is in it."
            )
        return ""


def _ends(of: Range) -> tuple[float, float]:
    return of.low, of.high


def energy_worths(
    dataset: "xr.Dataset", rows: Sequence[CellRow], answered: Sequence[Answer]
) -> list[EnergyWorth]:
    """Set the energy per multiply-add of a run beside published figures, by class of device.

    Multiply-adds are published for listed networks and counted at the export of others. A network
    of which they are not known is named, and has no other part in it.

    Args:
        dataset: Of one run.
        rows: The cells of its closed loop.
        answered: The best cell of each network.
    """
    environment = environment_of(dataset)
    per_mac = _per_mac(dataset, rows)
    best = {answer.best for answer in answered if answer.criterion == "energy"}
    groups: dict[str, list[CellRow]] = {}
    devices = dict(zip(dataset["backend"].values, dataset["device"].values, strict=True))
    for row in rows:
        name = _class_of(str(devices.get(row.cell.backend, "")), environment)
        if name and row.cell in per_mac:
            groups.setdefault(name, []).append(row)
    found = []
    for name, members in groups.items():
        chosen = [row.cell for row in members if row.cell in best]
        of_best = Range.of(per_mac[cell] for cell in chosen)
        if of_best is None:  # the best cells ran on another device
            continue
        records = measured_records(name)
        peak = _peak(environment) if name == "gpu" else None
        found.append(
            EnergyWorth(
                device_class=name,
                best=of_best,
                least=min(per_mac[row.cell] for row in members),
                boundary=_boundary(environment, members),
                estimated=any(row.energy_source.in_part_estimated for row in members),
                published=Range.of(record.joules_per_mac for record in records),
                systems=len({record.system for record in records}),
                roofline=_rooflines(chosen, per_mac, peak),
                peak=peak,
                left_out=_uncounted(dataset, rows),
            )
        )
    return found


def _uncounted(dataset: "xr.Dataset", rows: Sequence[CellRow]) -> tuple[str, ...]:
    """Name the networks with an energy whose multiply-adds are not known."""
    counts = dict(zip(dataset["model"].values, dataset["flops"].values, strict=True))
    names = dict.fromkeys(row.cell.model for row in rows if row.energy_per_image_j is not None)
    return tuple(name for name in names if not counts.get(name, 0) > 0)


def _per_mac(dataset: "xr.Dataset", rows: Sequence[CellRow]) -> dict[Cell, float]:
    """Energy per multiply-add of each cell that has an energy, in J."""
    counts = dict(zip(dataset["model"].values, dataset["flops"].values, strict=True))
    return {
        row.cell: row.energy_per_image_j.centre / float(counts[row.cell.model])
        for row in rows
        if row.energy_per_image_j is not None and counts.get(row.cell.model, 0) > 0
    }


def _class_of(device: str, environment: Environment) -> str:
    found = _CLASSES.get(device, "")
    names = (gpu if isinstance(gpu, str) else gpu.name or "" for gpu in environment.gpus)
    if found == "gpu" and any(mark in name for name in names for mark in _JETSON):
        return "soc"
    return found


def _peak(environment: Environment) -> Peak | None:
    """Find the peak of the machine's GPUs; ``None`` where they are of several kinds."""
    names = {gpu if isinstance(gpu, str) else gpu.name or "" for gpu in environment.gpus}
    return peak_of(names.pop()) if len(names) == 1 else None


def _rooflines(
    cells: Iterable[Cell], per_mac: Mapping[Cell, float], peak: Peak | None
) -> Range | None:
    if peak is None:
        return None
    floors = {cell: peak.joules_per_mac(cell.precision) for cell in cells}
    return Range.of(per_mac[cell] / floor for cell, floor in floors.items() if floor)


def _boundary(environment: Environment, rows: Sequence[CellRow]) -> str:
    """Say what the energy is of: ``measured: the processor package, memory``."""
    sources = {
        "estimated in part" if row.energy_source is Provenance.MIXED else str(row.energy_source)
        for row in rows
        if row.energy_source is not Provenance.MISSING
    }
    parts = dict.fromkeys(_part(domain) for _, domain in environment.domains if domain.counts)
    what = ", ".join(parts) or "unknown parts of the machine"
    return f"{' and '.join(sorted(sources))}: {what}"


def _part(domain: Domain) -> str:
    for start, words in (
        ("cpu-estimate", "the CPU time of the process"),
        ("package", "the processor package"),
        ("dram", "memory"),
        ("gpu", "the GPU board"),
    ):
        if domain.name.startswith(start):
            return words
    return domain.name
