"""What a batch of any size takes and costs, from the sizes that the closed loop measured.

Between measured sizes, time and energy of a batch are interpolated by monotone cubics (Fritsch and
Carlson, SIAM J. Numer. Anal. 17, 1980; scipy's Pchip); outside of them there is no result.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.analysis.dataset.energy_basis import Basis
from greenbatch.analysis.dataset.flagged import flags_text
from greenbatch.analysis.dataset.totals import provenance_of
from greenbatch.analysis.dataset.variables import FLAGS, QUANTILES, SOURCES, STATUSES
from greenbatch.analysis.findings.cells import CellArrays, Place
from greenbatch.arrays import read_arrays
from greenbatch.errors import FileError, RunError
from greenbatch.records import Cell, Provenance
from greenbatch.records.provenance import combine

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

POINTS = 200
"""Equally likely times that stand for the distribution of a batch's time."""


@dataclass(frozen=True, slots=True, eq=False)
class Repeated:
    """One repetition of a curve; the first axis is the batch size, from the smallest on.

    Attributes:
        times_s: Equally likely times of a batch, rising, shape (sizes, POINTS).
        energy_j: Gross energy of a batch over the domains that count, shape (sizes,);
            ``None`` where it is missing at a measured size.
        idle_w: Power with the model loaded and nothing to do, over the same domains; ``None`` where
            it is missing, or estimated beside a measured energy.
    """

    times_s: "Array"
    energy_j: "Array | None"
    idle_w: float | None


@dataclass(frozen=True, slots=True, eq=False)
class ServiceCurve:
    """A model on a backend: time and energy of a batch of every size that can be priced.

    Attributes:
        cell: Which one, at its largest batch size.
        measured: Batch sizes that were measured, rising.
        blocks: The repetitions that have all of these, by number.
        left_out: How many others were measured in part.
        energy_source: What the energies rest on.
        bases: The same domain by domain, of each batch size.
        flagged: How many of the repetitions carry each flag, in words.
        raced: Whether the run had a budget, which measures what it was to decide.
    """

    cell: Cell
    measured: tuple[int, ...]
    blocks: Mapping[int, Repeated]
    left_out: int
    energy_source: Provenance
    bases: tuple[Basis, ...] = ()
    flagged: str = ""
    raced: bool = False

    @property
    def smallest(self) -> int:
        """The smallest batch size that can be priced."""
        return self.measured[0]

    @property
    def largest(self) -> int:
        """The largest batch size that can be priced."""
        return self.measured[-1]

    def capacities_hz(self, size: int) -> dict[int, float]:
        """Return the rate that full batches of a size hold, by block, in requests/s."""
        row = size - self.smallest
        return {name: size / float(one.times_s[row].mean()) for name, one in self.blocks.items()}


def read_service_curves(
    dataset: "xr.Dataset", traces: Path | None = None, models: Iterable[str] = ()
) -> list[ServiceCurve]:
    """Read the curves of all backends, in the study's order, from its offline cells.

    Args:
        dataset: As `greenbatch.analysis.open_run` gives it.
        traces: The run's folder of traces, which hold all latencies of a repetition; where there
            is none, the dataset's quantiles stand for them.
        models: Of these models only; all, if empty.

    Returns:
        One curve for each model, backend, precision and io that was measured at any batch size.

    Raises:
        RunError: The dataset holds several machines, whose repetitions are not alike.
    """
    arrays = CellArrays(dataset)
    wanted = set(models)
    places: dict[Cell, dict[int, Place]] = {}
    for cell, place in arrays.cells():
        if cell.scenario == "offline" and (not wanted or cell.model in wanted):
            places.setdefault(replace(cell, batch_size=1), {})[cell.batch_size] = place
    curves = (_curve(arrays, cell, by_size, traces) for cell, by_size in places.items())
    return [curve for curve in curves if curve is not None]


def _curve(
    arrays: CellArrays,
    cell: Cell,
    by_size: Mapping[int, Place],
    traces: Path | None,
) -> ServiceCurve | None:
    import numpy as np

    ok = {size: _measured(arrays, place, traces) for size, place in by_size.items()}
    sizes = tuple(sorted(size for size, known in ok.items() if known.any()))
    if not sizes:
        return None
    whole = np.all([ok[size] for size in sizes], axis=0)
    if not whole.any():  # no repetition has all sizes: those that most repetitions have
        most = max(int(ok[size].sum()) for size in sizes)
        first = next(size for size in sizes if ok[size].sum() == most)
        sizes = tuple(size for size in sizes if (ok[size] == ok[first]).all())
        whole = ok[first]
    every = np.any(list(ok.values()), axis=0)
    blocks = {
        int(arrays.blocks[at]): _repeated(arrays, cell, by_size, sizes, at, traces)
        for at in np.flatnonzero(whole).tolist()
    }
    return ServiceCurve(
        cell=replace(cell, batch_size=sizes[-1]),
        measured=sizes,
        blocks=blocks,
        left_out=int((every & ~whole).sum()),
        energy_source=combine(
            provenance_of(arrays("energy_per_image_source", by_size[size])[whole]) for size in sizes
        ),
        bases=tuple(arrays.basis(by_size[size]) for size in sizes),
        flagged=_flags(arrays, [by_size[size] for size in sizes], whole),
        raced=arrays.raced,
    )


def _flags(arrays: CellArrays, places: Sequence[Place], chosen: "NDArray[np.bool_]") -> str:
    """Say how many of some repetitions of several cells carry each flag."""
    masks = [mask for place in places for mask in arrays("flags", place)[chosen].tolist()]
    counts = {name: sum(bool(mask & bit) for mask in masks) for name, bit in FLAGS.items()}
    return flags_text(counts, len(masks))


def flag_notes(curves: Iterable[ServiceCurve]) -> list[str]:
    """Say which backends rest on repetitions with flags; those of one text together."""
    by_text: dict[str, list[str]] = {}
    for curve in curves:
        if curve.flagged:
            by_text.setdefault(curve.flagged, []).append(curve.cell.variant)
    return [
        f"Measured repetitions of {', '.join(dict.fromkeys(names))}: {text}; see the report."
        for text, names in by_text.items()
    ]


def _measured(arrays: CellArrays, place: Place, traces: Path | None) -> "NDArray[np.bool_]":
    """Return which repetitions have times: those of an edited dataset may be gone."""
    import numpy as np

    timed = (arrays("status", place) == STATUSES.index("ok")) & np.isfinite(
        arrays("duration", place)
    )
    if traces is None:
        timed &= np.isfinite(arrays("latency", place)).all(axis=-1)
    return np.asarray(timed)


def _repeated(
    arrays: CellArrays,
    cell: Cell,
    by_size: Mapping[int, Place],
    sizes: tuple[int, ...],
    at: int,
    traces: Path | None,
) -> Repeated:
    import numpy as np

    times, energies, idles = [], [], []
    for size in sizes:
        place = by_size[size]
        mean_s = float(arrays("duration", place)[at] / arrays("iterations", place)[at])
        one = replace(cell, batch_size=size)
        latencies_s = _latencies(traces, one, int(arrays.blocks[at]))
        if latencies_s is None:
            times.append(_from_quantiles(arrays("latency", place)[at], mean_s))
        else:
            times.append(_scaled(np.quantile(latencies_s, _grid()), mean_s))
        energies.append(float(arrays("energy_per_image", place)[at]) * size)
        idles.append(_idle_w(arrays, place, at))
    energy_j = np.array(energies)
    known_w = [idle for idle in idles if idle is not None]
    return Repeated(
        times_s=_times_between(np.array(sizes), np.array(times)),
        energy_j=_between(np.array(sizes), energy_j) if np.isfinite(energy_j).all() else None,
        idle_w=float(np.mean(known_w)) if len(known_w) == len(idles) else None,
    )


def _idle_w(arrays: CellArrays, place: Place, at: int) -> float | None:
    """Sum the idle power of the domains that count, if it is known as their energy is."""
    estimated, counts = SOURCES.index("estimated"), arrays.counted(place)[at]
    power_w = arrays("idle_power", place)[at][counts]
    of_energy = arrays("energy_source", place)[at][counts] == estimated
    of_idle = arrays("idle_power_source", place)[at][counts] == estimated
    total_w = float(power_w.sum())
    return total_w if counts.any() and total_w == total_w and (of_energy == of_idle).all() else None


def _latencies(traces: Path | None, cell: Cell, block: int) -> "Array | None":
    if traces is None:
        return None
    path = traces / f"{cell.slug}_r{block}.npz"
    try:
        found: Array = read_arrays(path, lambda name: name == "latency_s")["latency_s"]
    except FileNotFoundError:
        return None
    except (FileError, KeyError) as error:
        cause = error if isinstance(error, FileError) else f"{path} has no latencies; restore it"
        raise RunError(f"{cause}, or delete the file to go by the dataset's quantiles") from error
    return found if len(found) else None


def _grid() -> "Array":
    import numpy as np

    return (np.arange(POINTS) + 0.5) / POINTS


def _from_quantiles(latency_s: "Array", mean_s: float) -> "Array":
    """Draw a distribution through the quantiles; below the median, level, to have the mean."""
    import numpy as np

    grid = _grid()
    times_s = np.interp(grid, QUANTILES, latency_s)
    lower = grid < QUANTILES[0]
    level_s = (mean_s - times_s[~lower].sum() / POINTS) / (lower.sum() / POINTS)
    times_s[lower] = np.clip(level_s, 0.0, latency_s[0])
    return _scaled(times_s, mean_s)


def _scaled(times_s: "Array", mean_s: float) -> "Array":
    """Hold the mean, which the throughput rests on."""
    scaled: Array = times_s * (mean_s / times_s.mean())
    return scaled


def _times_between(sizes: "NDArray[np.int64]", times_s: "Array") -> "Array":
    """Interpolate the mean by size, and the shape around it by the logarithm of the size."""
    import numpy as np

    means_s = times_s.mean(axis=1)
    shapes = times_s / means_s[:, np.newaxis]
    every = np.arange(sizes[0], sizes[-1] + 1)
    columns = [np.interp(np.log(every), np.log(sizes), shape) for shape in shapes.T]
    return np.column_stack(columns) * _between(sizes, means_s)[:, np.newaxis]


def _between(sizes: "NDArray[np.int64]", values: "Array") -> "Array":
    import numpy as np

    if len(sizes) == 1:
        return values
    from scipy.interpolate import PchipInterpolator

    between: Array = PchipInterpolator(sizes, values)(np.arange(sizes[0], sizes[-1] + 1))
    return between
