"""A wrong type or an impossible value in a file of a run is one sentence."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from greenbatch.analysis import write_report
from greenbatch.analysis.dataset.run_files import read_run
from greenbatch.documents import write_yaml
from greenbatch.errors import RunError
from greenbatch.records import Cell
from tests.fakes import training_runs
from tests.fakes.runs import environment, repetition, study, write_run

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_figures")]


@pytest.mark.parametrize("text", ["[1, 2]", "5", "null", "{", "schema: 2", ""])
def test_a_study_that_is_no_mapping_is_one_sentence(tmp_path: Path, text: str) -> None:
    run = write_run(tmp_path, [])
    (run / "study.yaml").write_text(text)
    with pytest.raises(RunError, match=r"study\.yaml"):
        write_report(run)


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"machine": [1]}, "machine is"),
        ({"machine": {"memory_bytes": "much"}}, "memory_bytes is 'much'"),
        ({"gpus": 4}, "gpus is 4"),
        ({"meters": [{"domains": [7]}]}, "meters.0.domains.0 is 7"),
        ({"meters_absent": ["nvml"]}, "meters_absent is"),
        ({"versions": {"torch": 2}}, "versions.torch is 2"),
        ({"backends": {"onnxruntime-cpu": 1}}, "backends.onnxruntime-cpu is 1"),
    ],
)
def test_a_wrong_type_in_an_environment_is_one_sentence(
    tmp_path: Path, members: dict[str, Any], says: str
) -> None:
    run = write_run(tmp_path, [], study(), environment() | members)
    with pytest.raises(RunError, match=says) as raised:
        write_report(run)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("member", ["models", "backends", "batch_sizes", "repetitions"])
@pytest.mark.parametrize("make", [study, training_runs.study])
def test_a_run_with_nothing_along_a_dimension_is_one_sentence(
    tmp_path: Path, make: Callable[[], dict[str, Any]], member: str
) -> None:
    empty: object = 0 if member == "repetitions" else []
    whole = make()
    for members in (whole | {member: empty}, {k: whole[k] for k in whole if k != member}):
        with pytest.raises(RunError, match=f"has no {member.removesuffix('s')}.*restore"):
            write_report(write_run(tmp_path, [], members))


def test_a_study_of_an_unknown_kind_is_one_sentence(tmp_path: Path) -> None:
    run = write_run(tmp_path, [], study(kind="a\nb"))
    with pytest.raises(
        RunError, match=r"kind is 'a\\nb': input should be 'inference' or"
    ) as raised:
        write_report(run)
    assert "\n" not in str(raised.value)


def test_what_analysis_does_not_read_may_be_anything(tmp_path: Path) -> None:
    run = write_run(tmp_path, [], study(note=[1, {"a": None}]), environment(room={"c": 21.5}))
    assert write_yaml(read_run(run).study.members)
    assert write_report(run).page.is_file()


@pytest.mark.parametrize(
    "change",
    [
        {"block": -1},
        {"latency_s": {"fast": 0.1}},
        {"memory_host_bytes": 10**400},
        {"iterations": 10**400, "images": 10**400},
    ],
)
def test_a_record_with_an_impossible_value_is_one_sentence(
    tmp_path: Path, change: dict[str, Any]
) -> None:
    record = replace(repetition(Cell("alexnet", "onnxruntime-cpu")), **change)
    with pytest.raises(RunError, match="values that no measurement has") as raised:
        write_report(write_run(tmp_path, [record]))
    assert "\n" not in str(raised.value)
