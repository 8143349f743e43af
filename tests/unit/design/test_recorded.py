"""What analysis reads of a run: typed, and lenient to old and foreign runs."""

from typing import Any

import pytest

from greenbatch.design.environment import Environment, Gpu
from greenbatch.design.recorded import (
    RecordedDesign,
    RecordedStudy,
    RecordedTrainingStudy,
    recorded_study,
)
from greenbatch.design.study import Study, make_study
from greenbatch.design.training_study import TrainingStudy, make_training_study
from greenbatch.documents import parse_yaml

INFERENCE = make_study(
    {
        "models": ["alexnet"],
        "backends": ["torch-cpu"],
        "scenarios": ["offline", "server"],
        "batch_sizes": [1, 8],
        "rates": [100],
        "settings": {"torch-cpu.x": [2, True]},
        "images": {
            "folder": "~/images",
            "found": 3,
            "count": 2,
            "broken": {"a": "b"},
            "sha256": "0",
        },
        "precision_target": "2%",
        "artifacts": {"alexnet": {"file": "alexnet-fp32.onnx", "sha256": "1", "weights": {}}},
    }
)
TRAININGS = make_training_study(
    {"models": ["dense"], "search": {"space": {"relu": [0, 1]}}, "substitutions": {"a": "dense"}}
)


@pytest.mark.parametrize("study", [INFERENCE, TRAININGS])
def test_a_written_study_is_read_with_the_same_values(study: Study | TrainingStudy) -> None:
    found = recorded_study(parse_yaml(study.to_yaml()))
    written = study.model_dump(mode="json", by_alias=True)
    read = found.model_dump()
    for name in type(found).model_fields.keys() & written.keys():
        assert read[name] == written[name], name
    assert found.members == written


@pytest.mark.parametrize(
    ("recorded", "design"), [(RecordedStudy, Study), (RecordedTrainingStudy, TrainingStudy)]
)
def test_analysis_reads_no_member_that_a_study_has_not(
    recorded: type[RecordedDesign], design: type[Study | TrainingStudy]
) -> None:
    only_of_inference = {"artifacts"} if design is TrainingStudy else set()
    assert recorded.model_fields.keys() - only_of_inference <= design.model_fields.keys()


def test_a_home_folder_in_a_study_is_not_written_out() -> None:
    found = recorded_study(parse_yaml(INFERENCE.to_yaml()))
    assert isinstance(found, RecordedStudy)
    assert found.images is not None
    assert found.images.folder == "~/images"


def test_what_is_missing_or_not_known_is_no_fault_and_numbers_stay_as_written() -> None:
    found = recorded_study({"settings": None, "colour": "green", "protocol": {"window_s": 2}})
    assert (found.settings, found.members["colour"]) == ({}, "green")
    assert str(found.protocol["window_s"]) == "2"
    environment = Environment.read({"machine": None, "gpus": ["old", {"name": "new", "x": 1}]})
    assert environment.machine.cpu is None
    old, new = environment.gpus
    assert old == "old"
    assert isinstance(new, Gpu)
    assert new.name == "new"


@pytest.mark.parametrize(
    ("members", "phrase"),
    [
        ([], "it holds a list, not a mapping"),
        ({5: 1}, "it has the member 5, which is no text"),
        ({"models": "alexnet"}, "models is 'alexnet': "),
        ({"batch_sizes": [0]}, r"batch_sizes\.0 is 0: "),
        ({"scale": True}, "scale is True: "),
        ({"scale": 10**400}, "scale is 1000"),
        ({"artifacts": {"a": 5}}, r"artifacts\.a is 5: "),
        ({"kind": "training", "precisions": ["fp16"]}, r"precisions\.0 is 'fp16': "),
    ],
)
def test_a_member_of_a_wrong_type_is_named(members: Any, phrase: str) -> None:
    with pytest.raises(ValueError, match=phrase):
        recorded_study(members)
