"""Trainings as windows of known energy and length, for the estimators of published studies."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from greenbatch.analysis.findings.estimator_errors import Measured
from greenbatch.analysis.published.estimators import MeasuredWindow
from greenbatch.analysis.training.findings.rows import training_rows

if TYPE_CHECKING:
    import xarray as xr


def training_windows(dataset: "xr.Dataset") -> Iterator[Measured]:
    """Give the trainings of a run whose energy is known."""
    for row in training_rows(dataset):
        for block, energy_j in row.series["energy"].items():
            image_j, duration_s = row.series["image"].get(block), row.series["duration"].get(block)
            if image_j and duration_s and energy_j > 0:
                yield row.label, energy_j / image_j, MeasuredWindow(energy_j, duration_s)
