"""The process that measures on a machine of a fleet."""

import json

import pytest

from greenbatch.runners.fleet.messages import Assignment
from greenbatch.workflows.fleet import measuring

pytestmark = [pytest.mark.alone, pytest.mark.slow]


def test_a_machine_is_examined_with_the_backends_of_the_study_alone() -> None:
    tried = ("onnxruntime-cpu", "onnxruntime-dnnl")
    assignment = Assignment(
        fleet="0" * 12, machine="a", unit="control-start", study="", blocks=None, diagnose=tried
    )
    steps: list[str] = []
    found = measuring._diagnose(assignment, steps.append)
    assert [each["name"] for each in json.loads(found.report)["backends"]] == [*tried]
    assert [step for step in steps if step.startswith("trying")] == [f"trying {n}" for n in tried]
    (failed,) = [text for text in found.findings if text.startswith(tried)]
    assert failed.startswith("onnxruntime-dnnl: ")
