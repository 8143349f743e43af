"""Power over time of each cell, thinned so that a page can hold it."""

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch import units
from greenbatch.arrays import read_arrays
from greenbatch.errors import FileError
from greenbatch.records import Cell, EnergySource, Repetition, Status

if TYPE_CHECKING:
    from greenbatch.arrays import Numbers

FOLDER = "traces"
_MOST_POINTS = 40_000
"""Over all traces: about half a megabyte of page."""
_FEWEST_POINTS = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerTrace:
    """Power of one domain in one repetition, as steps.

    Attributes:
        kind: ``sampled`` by a power sensor, ``counter``: mean power between readings of an energy
            counter, or ``estimated``: the same of a model.
        edges_s: Ends of the steps, from the start of the window; one more than ``power_w``.
        power_w: Mean power of each step.
        window_s: The window ends here.
    """

    cell: Cell
    block: int
    domain: str
    kind: str
    edges_s: tuple[float, ...]
    power_w: tuple[float, ...]
    window_s: float


def power_traces(run: Path, repetitions: Iterable[Repetition]) -> list[PowerTrace]:
    """Read the power traces of a run's repetitions.

    A repetition whose file is not there, damaged, or without power has none; nothing stands in for
    it, and a warning names the first file that is damaged. Steps are merged until all traces
    together are small: a counter's by its energy, so that the area under the steps stays as it
    was; samples by their mean over time.

    Args:
        run: The run directory.
        repetitions: As its journal has them.
    """
    measured = [r for r in repetitions if r.status is Status.OK and r.trace and r.duration_s]
    found: list[PowerTrace] = []
    damaged: list[str] = []
    most = max(_FEWEST_POINTS, _MOST_POINTS // max(1, len(measured)))
    for repetition in measured:
        try:
            arrays = _arrays(run / FOLDER / Path(str(repetition.trace)).name)
        except FileError as error:
            damaged.append(str(error))
            continue
        for figure in repetition.energy:
            steps = _steps(arrays, figure.domain, most)
            if steps is None or repetition.duration_s is None:
                continue
            sampled = f"{figure.domain}_power_w" in arrays
            estimated = figure.source is EnergySource.ESTIMATED
            found.append(
                PowerTrace(
                    cell=repetition.cell,
                    block=repetition.block,
                    domain=figure.domain,
                    kind="estimated" if estimated else "sampled" if sampled else "counter",
                    edges_s=steps[0],
                    power_w=steps[1],
                    window_s=repetition.duration_s,
                )
            )
    if damaged:
        warnings.warn(
            f"{units.part(len(damaged), len(measured), 'power trace')} not shown: {damaged[0]}",
            stacklevel=2,
        )
    return found


def _arrays(path: Path) -> "Mapping[str, Numbers]":
    try:
        return read_arrays(path, lambda name: name.endswith(("_t_s", "_energy_j", "_power_w")))
    except FileNotFoundError:
        return {}


def _steps(
    arrays: "Mapping[str, Numbers]", domain: str, most: int
) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Edges and mean powers; ``None`` where fewer than two readings are known."""
    import numpy as np

    times = arrays.get(f"{domain}_t_s")
    energies = arrays.get(f"{domain}_energy_j")
    powers = arrays.get(f"{domain}_power_w")
    readings = energies if powers is None else powers
    if times is None or readings is None or times.shape != readings.shape:
        return None
    known = np.isfinite(times) & np.isfinite(readings)
    times, readings = times[known], readings[known]
    if powers is not None and len(times) > 1:  # trapezoids, as the integral over samples has them
        halves = np.diff(times) * (readings[1:] + readings[:-1]) / 2
        readings = np.concatenate([[0.0], np.cumsum(halves)])
    elif len(times) > 1:  # a counter is exact where it ticks, not where it was read again
        ticked = np.concatenate([[True], np.diff(readings) > 0])
        times, readings = times[ticked], readings[ticked]
    if len(times) < 2:
        return None
    # Steps of about the same length: readings come close together where a window begins and ends.
    wanted = np.linspace(times[0], times[-1], min(most, len(times) - 1) + 1)
    picked = np.unique(np.abs(times[:, None] - wanted[None, :]).argmin(0))
    times, readings = times[picked], readings[picked]
    apart = np.diff(times) > 0
    if not apart.all():
        keep = np.concatenate([[True], apart])
        times, readings = times[keep], readings[keep]
    if len(times) < 2:
        return None
    powers = np.diff(readings) / np.diff(times)
    return tuple(times.tolist()), tuple(powers.tolist())
