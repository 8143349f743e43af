"""What a dataset's attributes say of its run, as typed objects."""

import json
from typing import TYPE_CHECKING

from greenbatch.design.environment import Environment
from greenbatch.design.recorded import AnyRecordedStudy, RecordedStudy, RecordedTrainingStudy

if TYPE_CHECKING:
    import xarray as xr


def design_of(dataset: "xr.Dataset") -> AnyRecordedStudy:
    """Return the study of a dataset, of the dataset's kind; a merged one has an empty study."""
    is_training = dataset.attrs.get("kind") == RecordedTrainingStudy.kind
    return training_study_of(dataset) if is_training else study_of(dataset)


def study_of(dataset: "xr.Dataset") -> RecordedStudy:
    """Return the study of a dataset of inference."""
    return RecordedStudy.read(json.loads(dataset.attrs["study"]))


def training_study_of(dataset: "xr.Dataset") -> RecordedTrainingStudy:
    """Return the study of a dataset of trainings."""
    return RecordedTrainingStudy.read(json.loads(dataset.attrs["study"]))


def environment_of(dataset: "xr.Dataset") -> Environment:
    """Return what the run of a dataset was measured on and with."""
    return Environment.read(json.loads(dataset.attrs["environment"]))
