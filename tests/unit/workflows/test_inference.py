"""What a study needs is exported by the exporter's own processes, and how they end is reported."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from greenbatch.design.study import Study
from greenbatch.errors import ExportError, GreenbatchError, StudyError, UsageError
from greenbatch.exporter.parallel import Fleet, Outcome
from greenbatch.exporter.precisions import export as lower
from greenbatch.models import ModelSpec
from greenbatch.workflows import inference, study_artifacts


class Exports:
    """Stands for the processes of a fleet: keeps their commands, and ends them as it is made to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, **outcomes: Outcome) -> None:
        self.commands: list[list[str]] = []
        exports = self

        def run(fleet: Fleet, specs: list[ModelSpec]) -> Iterator[Outcome]:
            for spec in specs:
                exports.commands.append(list(fleet._plan.command(spec.name)))
                good = Outcome(model=spec.name, verdict="proved", exported=("fp32",), seconds=3.0)
                yield outcomes.get(spec.name, good)

        monkeypatch.setattr(Fleet, "run", run)
        monkeypatch.setattr(study_artifacts, "load_artifacts", lambda study: {})


def export(folder: Path, precisions: Sequence[str] = ("fp32",), seed: int = 0) -> list[str]:
    """Export two networks of the registry and one of the user's; return what a listener gets."""
    study, _ = inference.plan(
        ["alexnet", "resnet18", "nets:build"],
        runtimes=["onnxruntime"],
        providers=["cpu"],
        batch_sizes=[1],
        artifacts_dir=folder,
        weights="random",
        precisions=list(precisions),
        seed=seed,
    )
    steps: list[str] = []
    study_artifacts.export_models(study, inference.Listener(on_step=steps.append))
    return steps[1:]


def test_each_network_has_a_process_with_the_options_of_the_study(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    exports = Exports(monkeypatch)
    assert export(tmp_path, ["fp32", "int8"], seed=7) == [
        f"exported {name} (fp32) in 3 s" for name in ("alexnet", "resnet18", "nets_build")
    ]
    common = ["export", "--json", f"--out={tmp_path}", "--precision=int8"]
    drawn = ["--weights=random", "--seed=7"]
    memory = [[o for o in command if o.startswith("--memory=")] for command in exports.commands]
    assert [len(options) for options in memory] == [1, 1, 1]
    assert all(int(option.removeprefix("--memory=")) > 1e9 for (option,) in memory)
    for command, (option,) in zip(exports.commands, memory, strict=True):
        command.remove(option)
    assert [command[command.index("export") :] for command in exports.commands] == [
        [*common, *drawn, "--", "alexnet"],
        [*common, *drawn, "--", "resnet18"],
        [*common, "--name=nets_build", "--", "nets:build"],
    ]


def test_int8_that_is_missing_is_made_for_gpus_if_all_of_the_study_are(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    exports = Exports(monkeypatch)
    (tmp_path / "resnet18-int8.json").touch()  # kept as it is

    def exported(*backends: str) -> dict[str, bool]:
        exports.commands.clear()
        study = Study(
            models=("alexnet", "resnet18"),
            backends=backends,
            precisions=("int8",),
            batch_sizes=(1,),
            artifacts_dir=str(tmp_path),
        )
        study_artifacts.export_models(study, inference.Listener())
        return {command[-1]: "--int8-for=gpu" in command for command in exports.commands}

    cuda = ("onnxruntime-cuda", "onnxruntime-tensorrt")
    assert exported(*cuda) == {"alexnet": True, "resnet18": False}
    assert exported("onnxruntime-cuda", "onnxruntime-cpu") == dict.fromkeys(exported(*cuda), False)


def test_another_precision_of_an_exported_network_needs_no_source(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    exports = Exports(monkeypatch)
    made: list[str] = []
    monkeypatch.setattr(lower, "find_lower", lambda _, precision, __: precision in made)
    study = Study(
        models=("mine",),
        backends=("onnxruntime-cpu",),
        precisions=("fp32", "fp16"),
        batch_sizes=(1,),
        sources={"mine": "nets:build"},
        exported=("mine",),
        artifacts_dir=str(tmp_path),
    )
    study_artifacts.export_models(study, inference.Listener())
    ((*_, last),) = exports.commands
    assert last == "mine"
    made.append("fp16")
    exports.commands.clear()
    study_artifacts.export_models(study, inference.Listener())
    assert exports.commands == []


def test_a_note_that_concerns_all_is_reported_once(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    notes = ("random weights are used",)
    made = {
        name: Outcome(model=name, verdict="proved", notes=notes) for name in ("alexnet", "resnet18")
    }
    Exports(monkeypatch, **made)
    assert export(tmp_path) == [*notes, "exported nets_build (fp32) in 3 s"]


@pytest.mark.parametrize(
    ("backends", "expected"),
    [
        (["onnxruntime-cpu"], []),
        (["openvino-cpu", "onnxruntime-cuda"], ["CUDA leaves one"]),
        (["onnxruntime-tensorrt"], ["CUDA leaves one"]),
    ],
)
def test_what_a_gpu_would_leave_to_the_cpu_is_reported_if_the_study_uses_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, backends: list[str], expected: list[str]
) -> None:
    made = Outcome(model="resnet18", verdict="proved", gpu_notes=("CUDA leaves one",))
    Exports(monkeypatch, resnet18=made)
    study = Study(
        models=("resnet18",),
        backends=tuple(backends),
        batch_sizes=(1,),
        weights="random",
        artifacts_dir=str(tmp_path),
    )
    steps: list[str] = []
    study_artifacts.export_models(study, inference.Listener(on_step=steps.append))
    assert steps[1:] == expected


@pytest.mark.parametrize(
    ("codes", "error"), [((2, 2), UsageError), ((3, 3), ExportError), ((2, 3), ExportError)]
)
def test_every_network_that_failed_is_named_with_its_reason(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    codes: tuple[int, int],
    error: type[GreenbatchError],
) -> None:
    failed = {
        name: Outcome(model=name, verdict="failed", reason=f"{name} is no good", exit_code=code)
        for name, code in zip(("alexnet", "resnet18"), codes, strict=True)
    }
    Exports(monkeypatch, **failed)
    with pytest.raises(GreenbatchError) as caught:
        export(tmp_path)
    assert type(caught.value) is error
    assert str(caught.value) == "alexnet is no good; resnet18 is no good"


def test_an_artifact_that_is_up_to_date_starts_no_process(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    exports = Exports(monkeypatch)
    monkeypatch.setattr(
        "greenbatch.exporter.export.find_up_to_date", lambda name, *_, **__: name == "alexnet"
    )
    export(tmp_path)
    assert [command[-1] for command in exports.commands] == ["resnet18", "nets:build"]


def test_a_design_whose_dataset_has_no_room_is_refused_before_it_is_measured(
    tmp_path: Path,
) -> None:
    settings = {
        "onnxruntime-cpu.intra_op_num_threads": [1, 2, 3, 4],
        "onnxruntime-cpu.allow_spinning": [0, 1],
        "torch-cpu.channels_last": [0, 1],
        "torch-cpu.num_threads": [1, 2, 3, 4],
        "openvino-cpu.num_streams": [1, 2, 3, 4],
        "openvino-cpu.inference_num_threads": [1, 2, 3, 4],
    }
    options: dict[str, Any] = {
        "providers": ["cpu"],
        "batch_sizes": [1, 2, 4, 8],
        "artifacts_dir": tmp_path,
        "repetitions": 50,
    }
    runtimes = ["onnxruntime", "torch", "openvino"]
    wide, _ = inference.plan(["alexnet"], runtimes=runtimes, settings=settings, **options)
    inference.check_room(wide)  # settings of different backends do not multiply
    many = list(range(1, 51))
    settings = {"openvino-cpu.num_streams": many, "openvino-cpu.inference_num_threads": many}
    options["repetitions"] = 400
    large, _ = inference.plan(["alexnet"], runtimes=["openvino"], settings=settings, **options)
    with pytest.raises(StudyError, match=r"4,000,000 places, .*; measure its factors in several"):
        inference.check_room(large)
