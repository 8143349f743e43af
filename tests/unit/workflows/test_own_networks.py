"""What a user's own networks come from, and what cannot run is refused before it is measured."""

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from greenbatch.cli.eval import evaluate
from greenbatch.errors import ArtifactError, UsageError
from greenbatch.models.artifacts import export_command
from greenbatch.models.sources.input_option import parse_input
from greenbatch.records import Manifest, TensorSpec, WeightsRecord
from greenbatch.runners.run import consent
from greenbatch.workflows import inference, own_networks
from greenbatch.workflows.layers import require_one_way

if TYPE_CHECKING:
    from greenbatch.models.artifacts import Artifact

IMAGES = TensorSpec(name="input", dtype="float32", dims=("batch", 3, 8, 8))
LOGITS = TensorSpec(name="logits", dtype="float32", dims=("batch", 5))


def manifest(name: str, source: str, origin: str) -> Manifest:
    """A manifest of which the source matters."""
    return Manifest(
        model=name,
        precision="fp32",
        file=f"{name}-fp32.onnx",
        sha256="0",
        size_bytes=1,
        opset=20,
        nodes=1,
        parameters=1,
        inputs=(IMAGES,),
        outputs=(LOGITS,),
        weights=WeightsRecord(kind="own", detail="", file="", sha256=""),
        parity=(),
        recipe="",
        exported_at="",
        export_s=0.0,
        source=source,
        origin=origin,
        input=parse_input("3x8x8"),
    )


@pytest.fixture(name="artifacts")
def fixture_artifacts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of artifacts, and a home of its own for what the user agreed to."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder = tmp_path / "artifacts"
    folder.mkdir()
    for each in (
        manifest("mine", "python", "nets:build"),
        manifest("file", "onnx", "file.onnx"),
        manifest("lib", "timm", "timm:resnet18"),
    ):
        (folder / f"{each.model}-fp32.json").write_text(each.to_json())
    return folder


def test_what_was_exported_here_is_built_again_from_its_source(artifacts: Path) -> None:
    consent.remember_export(artifacts, manifest("mine", "python", "nets:build"))
    chosen = own_networks.choose(["mine", "lib", "file", "alexnet"], artifacts)
    assert chosen.sources == {
        "mine": "nets:build",
        "lib": "timm:resnet18",
        "file": "file",
        "alexnet": "alexnet",
    }
    assert chosen.exported == ("mine", "lib")
    assert chosen.of_onnx == ("file",)


def test_code_that_a_strangers_artifact_names_is_not_taken(artifacts: Path) -> None:
    assert own_networks.choose(["mine"], artifacts).sources == {"mine": "mine"}
    consent.remember_export(artifacts, manifest("mine", "python", "other:build"))
    assert own_networks.choose(["mine"], artifacts).sources == {"mine": "mine"}


def test_inputs_and_name_are_those_of_the_one_own_network(artifacts: Path) -> None:
    chosen = own_networks.choose(["alexnet", "nets:build"], artifacts, ["3x8x8"], "tiny")
    assert chosen.sources == {"alexnet": "alexnet", "tiny": "nets:build"}
    assert chosen.inputs == {"tiny": ("3x8x8",)}
    several = own_networks.choose(["nets:build"], artifacts, ["3x8x8,3x16x16"])
    assert several.inputs == {
        "nets_build_3x8x8": ("3x8x8",),
        "nets_build_3x16x16": ("3x16x16",),
    }
    assert set(several.sources.values()) == {"nets:build"}
    with pytest.raises(UsageError, match="one network of your own"):
        own_networks.choose(["alexnet"], artifacts, ["3x8x8"])
    with pytest.raises(UsageError, match="one network of your own"):
        own_networks.choose(["nets:build", "more:build"], artifacts, (), "tiny")
    with pytest.raises(UsageError, match="'3x8'"):
        own_networks.choose(["nets:build"], artifacts, ["3x8"])


def test_runtimes_that_cannot_run_an_onnx_file_are_left_out_and_named(artifacts: Path) -> None:
    steps: list[str] = []
    study, _ = inference.plan(
        ["file"], steps.append, providers=["cpu"], batch_sizes=[1], artifacts_dir=artifacts
    )
    assert study.backends == ("onnxruntime-cpu",)
    assert len(steps) == 1
    assert "torch is not measured" in steps[0]
    study, _ = inference.plan(
        ["alexnet"], steps.append, providers=["cpu"], batch_sizes=[1], artifacts_dir=artifacts
    )
    assert study.backends == ("onnxruntime-cpu", "torch-cpu")
    assert len(steps) == 1


@pytest.mark.parametrize(
    ("name", "source", "origin", "cure"),
    [
        ("file", "onnx", "file.onnx", "gb bench file --runtime onnxruntime"),
        ("mine", "python", "nets:build", "gb bench nets:build --name mine"),
    ],
)
def test_what_a_runtime_cannot_run_is_refused_once_with_a_command_that_works(
    artifacts: Path, name: str, source: str, origin: str, cure: str
) -> None:
    study, _ = inference.plan(
        [name],
        runtimes=["torch", "onnxruntime"],
        providers=["cpu"],
        batch_sizes=[1],
        artifacts_dir=artifacts,
    )
    found = {name: cast("Artifact", SimpleNamespace(manifest=manifest(name, source, origin)))}
    with pytest.raises(UsageError) as refused:
        own_networks.check_runnable(study, found)
    assert cure in str(refused.value)
    assert str(refused.value).startswith(f"torch-cpu cannot run {name}")


def test_torch_builds_every_family_of_torchvision(artifacts: Path) -> None:
    name = "ssdlite320_mobilenet_v3_large"
    study, _ = inference.plan(
        [name], runtimes=["torch"], providers=["cpu"], batch_sizes=[1], artifacts_dir=artifacts
    )
    found = cast("Artifact", SimpleNamespace(manifest=manifest(name, "torchvision", "")))
    own_networks.check_runnable(study, {name: found})
    with pytest.raises(UsageError):
        own_networks.check_runnable(
            study,
            {name: cast("Artifact", SimpleNamespace(manifest=manifest(name, "onnx", "x.onnx")))},
        )


@pytest.mark.parametrize(
    ("model", "precision", "command"),
    [
        ("mine", "fp32", "gb export nets:build --name mine --input=3x8x8 --out"),
        ("mine", "int8", "gb export nets:build --name mine --input=3x8x8 --precision int8 --out"),
        ("file", "fp16", "gb export file.onnx --name file --dynamic-batch --precision fp16 --out"),
        ("lib", "fp32", "gb export timm:resnet18 --name lib --out"),
        ("alexnet", "int8", "gb export alexnet --precision int8 --out"),
    ],
)
def test_a_missing_artifact_is_made_from_what_its_network_came_from(
    artifacts: Path, model: str, precision: str, command: str
) -> None:
    assert export_command(artifacts, model, precision) == f"{command} {artifacts}"


def test_eval_takes_a_network_by_its_source(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(artifacts)
    Path("file.onnx").touch()
    with pytest.raises(ArtifactError, match=r"/file-fp32\.onnx is missing"):
        evaluate(["file.onnx"], artifacts, artifacts=artifacts)
    with pytest.raises(ArtifactError, match=r"nets_build-int8\.json"):
        evaluate(["nets:build"], artifacts, precision=["int8"], artifacts=artifacts)


def test_layers_are_of_a_network_from_one_tensor_to_one(artifacts: Path) -> None:
    from dataclasses import replace

    plain = manifest("mine", "python", "")
    require_one_way(plain)
    boxes = TensorSpec(name="boxes", dtype="float32", dims=("count", 4))
    for other in (
        replace(plain, outputs=(LOGITS, LOGITS)),
        replace(plain, inputs=(IMAGES, IMAGES)),
        replace(plain, outputs=(boxes,)),
    ):
        with pytest.raises(UsageError, match=r"batch x 3 x 8 x 8.*measure it with gb bench"):
            require_one_way(other)
