"""Start-up cost of a backend, and the images to its break-even.

A start is the phases ``load`` and ``first`` (see `greenbatch.records.Repetition`); the
interpreter's own start and its imports are in neither.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from greenbatch.analysis.dataset.counted import sum_counted
from greenbatch.analysis.dataset.energy_basis import Basis, Part, all_unlike
from greenbatch.analysis.dataset.totals import provenance_codes, provenance_of
from greenbatch.analysis.dataset.variables import CACHES, ONE_OFF_PHASES, SOURCES, STATUSES
from greenbatch.analysis.findings.cells import CellArrays, CellRow, Place, cell_rows
from greenbatch.analysis.findings.comparisons import with_reference
from greenbatch.analysis.statistics.claims import ALPHA, p_differ
from greenbatch.analysis.statistics.intervals import Interval, bounds, interval, ratio
from greenbatch.analysis.statistics.multiple_testing import holm
from greenbatch.records import Cell, Provenance
from greenbatch.records.provenance import combine

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray

    from greenbatch.analysis.dataset.variables import AnyArray

    Array = NDArray[np.float64]

Quantity = Literal["time", "energy"]
QUANTITIES: tuple[Quantity, ...] = ("time", "energy")

_START = slice(len(ONE_OFF_PHASES))  # they are the first labels of the dimension


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost of a start, over the ok repetitions whose cache was alike.

    Attributes:
        duration_s: Of the whole start.
        energy_j: Gross, over the domains that count.
        energy_source: What the energies rest on.
        basis: The same domain by domain, where all repetitions are alike.
        phases_s, phases_j: The same of each phase.
    """

    duration_s: Interval | None
    energy_j: Interval | None
    energy_source: Provenance
    basis: Basis
    phases_s: Mapping[str, Interval]
    phases_j: Mapping[str, Interval]


@dataclass(frozen=True, slots=True, kw_only=True)
class StartUp:
    """A cell's start beside its steady state.

    Attributes:
        row: The cell's figures.
        cold: With nothing at hand that was compiled earlier; ``None`` where it was not recorded.
        warm: With what an earlier repetition compiled; ``None`` where nothing is kept.
    """

    row: CellRow
    cold: Cost | None
    warm: Cost | None

    @property
    def cell(self) -> Cell:
        """Of which cell."""
        return self.row.cell

    @property
    def per_image_s(self) -> Interval | None:
        """The window's duration over its images, in s."""
        return interval(self.series("time").values())

    @property
    def per_image_j(self) -> Interval | None:
        """The window's gross energy over its images, in J."""
        return self.row.energy_per_image_j

    def series(self, quantity: Quantity) -> Mapping[int, float]:
        """The steady cost of an image by block, in s or J."""
        if quantity == "energy":
            return self.row.series["energy"].by_block
        return {block: 1 / rate for block, rate in self.row.series["throughput"].by_block.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class PayBack:
    """After how many images the cell of higher start-up cost has cost as little as the other.

    Attributes:
        quantity: What is paid: time or energy.
        verdict: ``pays`` after ``images``; ``never``, as it is shown not to be cheaper per image;
            ``unknown``, for the ``reason`` that is given then. Whether the costs per image differ
            is corrected over all cells that are set against the reference (Holm), for time and for
            energy; fewer than three blocks show nothing, and ``few`` says so.
        costly, cheap: The cells that are costlier and cheaper to start; ``None`` where not known.
        images: Counted from a cold start of both.
        low, high: Bounds of ``images``, see `break_even`; ``None`` where the spread is not
            known. ``low`` is known as well where no significant difference in the cost per image
            is shown and it may be lower.
        once: Whether a start was measured once only, so that its spread is not in the bounds.
    """

    quantity: Quantity
    verdict: Literal["pays", "never", "unknown"]
    reason: str = ""
    costly: Cell | None = None
    cheap: Cell | None = None
    images: float | None = None
    low: float | None = None
    high: float | None = None
    once: bool = False
    few: bool = False

    @property
    def sentence(self) -> str:
        """The verdict for a person; a clause without a full stop."""
        if self.verdict == "unknown" or self.costly is None or self.cheap is None:
            return f"not known in {self.quantity}: {self.reason}"
        who, other = self.costly.variant, self.cheap.variant
        if self.images is None:
            return (
                f"never in {self.quantity}: {who} costs more to start than {other}, and not "
                "cheaper per image"
            )
        text = (
            f"break-even of the start-up cost of {who} in {self.quantity} after "
            f"{_count(self.images)} images"
        )
        if self.low is None or self.high is None:
            return f"{text} (no interval: one block has both)"
        once = "; a start was measured once" if self.once else ""
        few = "; too few repetitions to be sure" if self.few else ""
        return f"{text} ({_count(self.low)} … {_count(self.high)}{once}{few})"


@dataclass(frozen=True, slots=True, kw_only=True)
class BreakEven:
    """Two cells' starts against each other, in time and in energy."""

    cell: Cell
    reference_cell: Cell
    time: PayBack
    energy: PayBack


def start_ups(dataset: "xr.Dataset", rows: Sequence[CellRow] | None = None) -> list[StartUp]:
    """List what starting costs, for each cell that has an ok repetition.

    Args:
        dataset: As `greenbatch.analysis.open_run` gives it.
        rows: Those of its cells that are requested; all by default.
    """
    by_cell = {row.cell: row for row in (cell_rows(dataset) if rows is None else rows)}
    arrays = CellArrays(dataset)
    return [
        StartUp(
            row=row,
            cold=_cost(arrays, place, warm=False),
            warm=_cost(arrays, place, warm=True),
        )
        for cell, place in arrays.cells()
        if (row := by_cell.get(cell)) and row.ok
    ]


def break_evens(found: Sequence[StartUp], reference: str | None = None) -> list[BreakEven]:
    """Set every variant against the reference variant, the other factors equal.

    Args:
        found: As `start_ups` gives them.
        reference: As for `greenbatch.analysis.comparison_rows`.
    """
    by_cell = {start.cell: start for start in found}
    pairs = [
        (by_cell[row.cell], by_cell[against.cell])
        for row, against in with_reference([start.row for start in found], reference)
    ]
    times, energies = (
        holm([p_differ(a.series(quantity), b.series(quantity)) for a, b in pairs])
        for quantity in QUANTITIES
    )
    return [
        _break_even(a, b, p_time, p_energy)
        for (a, b), p_time, p_energy in zip(pairs, times, energies, strict=True)
    ]


def break_even(a: StartUp, b: StartUp) -> BreakEven:
    """Find the break-even of the more expensive of two cold starts.

    images = (start of the costly one - start of the cheap one)
        / (cost per image of the cheap one - of the costly one).

    The bounds come from the corners of the 95 % intervals of both starts, of the costly one's cost
    per image, and of the ratio of the costs per image, paired by block; that ratio alone decides
    whether there is an upper bound, so that this and the table of ratios never contradict each
    other. Without a significant difference there is no break-even, and a lower bound of it only.
    Corners are wider than a bootstrap's quantiles, and that is meant: three repetitions
    have ten distinct resamples, and a cold start is often measured once in a run. Then its one
    value stands for its interval, and `PayBack.once` says so.
    """
    return _break_even(a, b, *(p_differ(a.series(name), b.series(name)) for name in QUANTITIES))


def _break_even(a: StartUp, b: StartUp, p_time: float, p_energy: float) -> BreakEven:
    return BreakEven(
        cell=a.cell,
        reference_cell=b.cell,
        time=_pay_back(a, b, "time", p_time),
        energy=_pay_back(a, b, "energy", p_energy),
    )


def _pay_back(a: StartUp, b: StartUp, quantity: Quantity, p: float) -> PayBack:
    """Set two starts against each other, with the corrected p of their costs per image."""
    sides = []
    for start in (a, b):
        cost, per_image = _costs(start, quantity)
        if cost is None or per_image is None:
            what = "cold start" if cost is None else f"{quantity} per image"
            return _unknown(quantity, f"the {what} of {start.cell.variant} is missing")
        sides.append((cost, per_image, start))
    if quantity == "energy" and (reason := all_unlike(_bases(a, b))):
        return _unknown(quantity, reason)
    (less, _, cheap), (more, per_image, costly) = sorted(sides, key=lambda side: side[0].centre)
    over = ratio(cheap.series(quantity), costly.series(quantity))
    if over is None:
        return _unknown(quantity, "no block has both")
    few = over.kind != "t"
    if (p > ALPHA and not few) or (few and over.centre <= 1):
        return _not_shown(quantity, over, _least_images(more, less, per_image, over))
    if over.centre <= 1:
        return PayBack(quantity=quantity, verdict="never", costly=costly.cell, cheap=cheap.cell)
    low, high = _bounds(more, less, per_image, over)
    return PayBack(
        quantity=quantity,
        verdict="pays",
        costly=costly.cell,
        cheap=cheap.cell,
        images=(more.centre - less.centre) / (per_image.centre * (over.centre - 1)),
        low=low,
        high=high,
        once=1 in (more.n, less.n),
        few=few,
    )


def _not_shown(quantity: Quantity, over: Interval, low: float | None) -> PayBack:
    if over.kind != "t":
        reason = f"too few repetitions to show a difference in the {quantity} per image"
    else:
        reason = f"no significant difference in the {quantity} per image"
    at_least = f"; {_count(low)} images at least" if low else ""
    return PayBack(quantity=quantity, verdict="unknown", reason=reason + at_least, low=low)


def _bounds(
    more: Interval, less: Interval, per_image: Interval, over: Interval
) -> tuple[float | None, float | None]:
    """Corners of the intervals; none where the ratio of the costs per image has no interval."""
    if over.low is None or over.high is None:
        return None, None
    if over.low <= 1:  # the range of two blocks
        return _least_images(more, less, per_image, over), math.inf
    high_s = bounds(more)[1] - bounds(less)[0]
    high = high_s / (bounds(per_image)[0] * (over.low - 1))
    return _least_images(more, less, per_image, over), high


def _least_images(
    more: Interval, less: Interval, per_image: Interval, over: Interval
) -> float | None:
    """The lower corner; none where no lower cost per image is possible, or it is not known."""
    if over.high is None or over.high <= 1:
        return None
    extra = max(0.0, bounds(more)[0] - bounds(less)[1])
    return extra / (bounds(per_image)[1] * (over.high - 1))


def _costs(start: StartUp, quantity: Quantity) -> tuple[Interval | None, Interval | None]:
    """Return the cost of the cold start and that of an image."""
    if quantity == "energy":
        return start.cold.energy_j if start.cold else None, start.per_image_j
    return start.cold.duration_s if start.cold else None, start.per_image_s


def _bases(a: StartUp, b: StartUp) -> list[Basis]:
    """List what the energies of two cells and of their cold starts rest on."""
    return [a.row.basis, b.row.basis, *(start.cold.basis for start in (a, b) if start.cold)]


def _unknown(quantity: Quantity, reason: str) -> PayBack:
    return PayBack(quantity=quantity, verdict="unknown", reason=reason)


def _cost(arrays: CellArrays, place: Place, *, warm: bool) -> Cost | None:
    """Summarise the starts of a cell's ok repetitions, those with a warm cache or the others."""
    import numpy as np

    chosen = arrays("status", place) == STATUSES.index("ok")
    chosen &= (arrays("cache", place) == CACHES.index("warm")) == warm
    duration_s = arrays("one_off_duration", place)[chosen][:, _START]
    energy_j = arrays("one_off_energy", place)[chosen][:, _START]
    source = arrays("one_off_energy_source", place)[chosen][:, _START]
    counted = np.broadcast_to(arrays.counted(place)[chosen][:, np.newaxis, :], energy_j.shape)
    if not np.isfinite(duration_s).any():
        return None
    by_phase_j = sum_counted(energy_j, counted)
    total_j = by_phase_j.sum(axis=-1)
    parts = (len(source), -1)
    known = np.isfinite(total_j)
    codes = provenance_codes(known, source.reshape(parts), counted.reshape(parts))
    return Cost(
        duration_s=interval(duration_s.sum(axis=-1)),
        energy_j=interval(total_j),
        energy_source=provenance_of(codes),
        basis=_basis(arrays, place, source[known], counted[known]),
        phases_s=_by_phase(duration_s),
        phases_j=_by_phase(by_phase_j),
    )


def _basis(arrays: CellArrays, place: Place, source: "AnyArray", counted: "AnyArray") -> Basis:
    """Say what starts rest on; an estimate is by the model of the cell's windows.

    Args:
        arrays, place: Of the cell.
        source, counted: Of the starts that have an energy, shape (repetition, phase, domain).
    """
    models = {part.domain: part.model for part in arrays.basis(place).parts}
    estimated = source == SOURCES.index("estimated")

    def part(domain: str, codes: "AnyArray") -> Part:
        kinds = combine(Provenance.ESTIMATED if code else Provenance.MEASURED for code in codes)
        return Part(domain, kinds, "" if kinds is Provenance.MEASURED else models.get(domain, ""))

    return Basis.of_repetitions(
        Basis(
            tuple(
                part(domain, of_start[:, at])
                for at, domain in sorted(enumerate(arrays.domains), key=lambda pair: pair[1])
                if counts[0, at]
            )
        )
        for of_start, counts in zip(estimated, counted, strict=True)
    )


def _by_phase(values: "Array") -> dict[str, Interval]:
    """Summarise values of shape (repetition, phase) by phase; a missing one is left out."""
    summaries = zip(ONE_OFF_PHASES, map(interval, values.T), strict=True)
    return {phase: summary for phase, summary in summaries if summary}


def _count(images: float | None) -> str:
    """Write a number of images to three digits."""
    if images == math.inf:
        return "perhaps never"
    return "–" if images is None else f"{float(f'{images:.3g}'):,.0f}"
