"""What ``gb layers`` cannot mean is one sentence; a block that fails costs that block."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from greenbatch.cli import main
from greenbatch.design.protocol import PROFILES
from greenbatch.errors import MeasurementError, UsageError
from greenbatch.records import Cell, Status
from greenbatch.runners.child.handle import ChildFailed
from greenbatch.runners.layers import session
from greenbatch.runners.layers.messages import NetworkCut
from greenbatch.runners.layers.session import LayerPlan, measure
from greenbatch.runners.metering import Metering

UNCUT = NetworkCut(operators={}, cut_after=(), parts=(), uncut="why")


def plan(backend: str = "onnxruntime-cpu", parts: int = 4, repetitions: int = 3) -> LayerPlan:
    return LayerPlan(
        cell=Cell("tiny", backend, batch_size=2),
        parts=parts,
        repetitions=repetitions,
        threads=1,
        seed=0,
        protocol=PROFILES["quick"],
    )


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ({"backend": "openvino-cpu"}, "openvino has no profiler .* choose onnxruntime or torch"),
        ({"backend": "onnxruntime-cuda"}, "the provider cuda: .* --provider cpu"),
        ({"parts": 1}, "--check is 1; wanted 2 parts or more, or 0"),
        ({"parts": -2}, "--check is -2"),
        ({"backend": "torch-cpu"}, "cuts an ONNX graph, which torch does not run; leave it out"),
        ({"repetitions": 0}, "--repetitions is 0; wanted 1 or more"),
    ],
)
def test_an_invalid_plan_is_refused(members: Any, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        plan(**members)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["alexnt"], "gb: unknown model 'alexnt'; did you mean 'alexnet'?\n"),
        (["alexnet", "--provider", "cdua"], "gb: unknown provider 'cdua'; did you mean 'cuda'?\n"),
        (["alexnet", "--runtime", "torhc"], "gb: unknown runtime 'torhc'; did you mean 'torch'?\n"),
        (
            ["alexnet", "--csv", "nowhere/rows.csv"],
            "gb: the folder of nowhere/rows.csv does not exist; make nowhere first\n",
        ),
    ],
)
def test_wrong_use_is_one_sentence_and_exit_2(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: Sequence[str],
    sentence: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as exit_:
        main(["layers", *arguments])
    assert exit_.value.code == 2
    assert capsys.readouterr().err == sentence


def test_a_failed_block_is_named_and_only_when_all_fail_is_it_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    artifact = cast("Any", SimpleNamespace(manifest=SimpleNamespace(sha256="0")))
    failing = {1}

    def block(*arguments: Any) -> Any:
        number = arguments[-1]
        if number in failing:
            raise ChildFailed(Status.OOM, "out of memory")
        return SimpleNamespace(block=number), {}

    monkeypatch.setattr(session, "_block", block)
    monkeypatch.setattr(session, "_cut_network", lambda *_: UNCUT)
    found = measure(plan(), artifact, Metering())
    assert [each.block for each in found.blocks] == [0, 2]
    assert found.failed == ("block 1: out of memory",)
    assert found.uncut == "why"
    failing.update(range(3))
    with pytest.raises(MeasurementError, match=r"could not be measured: block 0: out of memory"):
        measure(plan(), artifact, Metering())
