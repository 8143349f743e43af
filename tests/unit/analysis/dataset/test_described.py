"""What a dataset says of its run is checked as what the dataset is, and read as typed objects."""

import json
from pathlib import Path

import pytest

from greenbatch.analysis.dataset.dataset_form import require_attributes
from greenbatch.analysis.dataset.described import design_of, environment_of, study_of
from greenbatch.analysis.dataset.store import compile_dataset
from greenbatch.analysis.training.dataset.store import compile_training
from greenbatch.design.recorded import RecordedTrainingStudy
from tests.fakes import runs, training_runs


def test_study_and_environment_of_a_dataset_are_those_of_its_run(tmp_path: Path) -> None:
    dataset = compile_dataset(runs.write_run(tmp_path, [], runs.study(("vit_b_16",))))
    study, environment = study_of(dataset), environment_of(dataset)
    assert (study.models, study.batch_sizes, study.threads) == (["vit_b_16"], [1, 4], 2)
    assert environment.machine.cpu == "Example CPU 9000"
    assert [domain.name for _, domain in environment.domains] == ["package-0"]


def test_the_study_of_a_dataset_of_trainings_is_one_of_trainings(tmp_path: Path) -> None:
    dataset = compile_training(training_runs.write(tmp_path, []))
    assert isinstance(design_of(dataset), RecordedTrainingStudy)


def test_a_study_that_is_none_of_the_datasets_kind_is_refused(tmp_path: Path) -> None:
    attrs = dict(compile_dataset(runs.write_run(tmp_path, [])).attrs)
    attrs["study"] = json.dumps(training_runs.study(precisions=["amp-fp16"]))
    with pytest.raises(ValueError, match=r"'study', precisions\.0 is 'amp-fp16'"):
        require_attributes(attrs)
