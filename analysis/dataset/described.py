"""What a dataset's attributes say of its run, as typed objects."""

import json
from typing import TYPE_CHECKING

from greenbatch.design.environment import Environment
from greenbatch.design.recorded import (
    AnyRecordedStudy,
    RecordedStudy,
    RecordedTrainingStudy,
    recorded_study,
)

if TYPE_CHECKING:
    import xarray as xr


def design_of(dataset: "xr.Dataset") -> AnyRecordedStudy:
    """Return the study of a dataset, of either kind."""
    return recorded_study(json.loads(dataset.attrs["study"]))


def study_of(dataset: "xr.Dataset") -> RecordedStudy:
    """Return the study of a dataset of inference."""
    return RecordedStudy.read(json.loads(dataset.attrs["study"]))


def training_study_of(dataset: "xr.Dataset") -> RecordedTrainingStudy:
    """Return the study of a dataset of trainings."""
    return RecordedTrainingStudy.read(json.loads(dataset.attrs["study"]))


def environment_of(dataset: "xr.Dataset") -> Environment:
    """Return what the run of a dataset was measured on and with."""
    return Environment.read(json.loads(dataset.attrs["environment"]))
