"""What two published estimators make of a run's own windows, and of its greatest saving."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from greenbatch.analysis.dataset.variables import STATUSES
from greenbatch.analysis.findings.cells import CellArrays
from greenbatch.analysis.findings.wording import DASH, Table, amount
from greenbatch.analysis.published.estimators import MeasuredWindow, sum_of_watts, with_idle_tail

if TYPE_CHECKING:
    import xarray as xr

_OK = STATUSES.index("ok")
Measured = tuple[str, float, MeasuredWindow]
"""A cell, the images in the window, and the window."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimates:
    """A cell's energy per image (of trainings: per image seen), mean of repetitions, in J.

    Attributes:
        measured: As the run has it.
        with_tail: By mean power with an idle tail; ``None`` where idle power is not known.
        summed: By the sum of watts times the duration.
    """

    cell: str
    measured: float
    with_tail: float | None
    summed: float


def inference_windows(dataset: "xr.Dataset") -> Iterator[Measured]:
    """Give the measured windows of a run of inference whose energy is known."""
    import numpy as np

    view = CellArrays(dataset)
    for cell, place in view.cells():
        images, duration_s = view("images", place), view("duration", place)
        energy_j = view("energy_per_image", place) * images
        idle_w = np.where(view.counted(place), view("idle_power", place), 0.0).sum(-1)
        for number in np.flatnonzero((view("status", place) == _OK) & (energy_j > 0)).tolist():
            idle = float(idle_w[number])
            window = MeasuredWindow(
                float(energy_j[number]), float(duration_s[number]), idle if idle == idle else None
            )
            yield str(cell), float(images[number]), window


def estimates(windows: Sequence[Measured], tail_s: float) -> list[Estimates]:
    """Estimate each cell's energy in both ways.

    Args:
        windows: As `inference_windows` gives them, or of trainings
            `greenbatch.analysis.training.findings.windows.training_windows`.
        tail_s: Length of the idle tail, in s.
    """
    found = []
    for cell, group in groupby(windows, key=lambda entry: entry[0]):
        members = [(images, window) for _, images, window in group]
        tails = [with_idle_tail(window, tail_s) for _, window in members]
        pairs = zip(tails, members, strict=True)
        known = [tail / images for tail, (images, _) in pairs if tail is not None]
        found.append(
            Estimates(
                cell=cell,
                measured=_mean([window.energy_j / images for images, window in members]),
                with_tail=_mean(known) if len(known) == len(members) else None,
                summed=_mean([sum_of_watts(window) / images for images, window in members]),
            )
        )
    return found


def estimates_table(found: Sequence[Estimates], *, trainings: bool) -> Table:
    """Show the estimates beside what was measured, with their errors."""
    image = "image seen" if trainings else "image"
    tails = any(one.with_tail is not None for one in found)
    body = tuple(
        (
            one.cell,
            amount(one.measured, "J"),
            *((_with_error(one.with_tail, one.measured),) if tails else ()),
            _with_error(one.summed, one.measured),
        )
        for one in found
    )
    tail = ("mean power with an idle tail x duration",) if tails else ()
    columns = ("cell", f"energy per {image}", *tail, "sum of watts x duration")
    numeric = tuple(name != "cell" for name in columns)
    return Table("estimators", "Estimators of published studies", columns, body, numeric)


def saving_sentences(found: Sequence[Estimates]) -> list[str]:
    """Say what the greatest saving between two cells is, and what the sum would have read."""
    if len(found) < 2:
        return []
    least = min(found, key=lambda one: one.measured)
    most = max(found, key=lambda one: one.measured)
    faulty_least = min(found, key=lambda one: one.summed)
    faulty_most = max(found, key=lambda one: one.summed)
    measured = (
        f"The greatest saving between two cells is {_share(least.measured, most.measured)} "
        f"({least.cell} against {most.cell})."
    )
    faulty = (
        "By the sum of watts times the duration, your greatest saving would have read "
        f"{_share(faulty_least.summed, faulty_most.summed)} ({faulty_least.cell} against "
        f"{faulty_most.cell})."
    )
    return [measured, faulty]


def _share(least: float, most: float) -> str:
    return f"{100 * (1 - least / most):.1f} %"


def _with_error(value: float | None, measured: float) -> str:
    if value is None:
        return DASH
    factor = value / measured
    error = f"{factor:.3g}×" if factor > 2 else f"{100 * (factor - 1):+.1f} %".replace("-", "−")
    return f"{amount(value, 'J')} ({error})"


def _mean(values: Sequence[float]) -> float:
    return math.exp(math.fsum(map(math.log, values)) / len(values))
