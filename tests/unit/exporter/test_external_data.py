"""Graphs that are too large for one file keep their weights in another, named by its content."""

from pathlib import Path

import onnx
import pytest
import torch
from onnx import TensorProto

from greenbatch.errors import ArtifactError, ParityError
from greenbatch.exporter import Origin, export_module, torch_to_onnx
from greenbatch.models.artifacts import load_artifact, sha256
from greenbatch.models.weights.load import WeightsApplied, load_weights
from greenbatch.records import Manifest
from tests.fakes.networks import SPEC, Constant, Convolutional
from tests.thorough import needs_thorough

ORIGIN = Origin(WeightsApplied("random", "seed 0"), "0" * 64)


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a file could hold a few bytes of weights only."""
    monkeypatch.setattr(torch_to_onnx, "_LARGEST_BYTES", 16)


def export(folder: Path, seed: int = 0) -> Manifest:
    """Make a small artifact whose weights lie beside it."""
    module = Convolutional()
    load_weights(module, SPEC, "random", seed)
    return export_module(module, SPEC, folder, ORIGIN)


def visible(folder: Path) -> set[str]:
    """Names of the files that a user sees."""
    return {path.name for path in folder.iterdir() if path.suffix != ".lock"}


@pytest.mark.slow
def test_weights_beside_the_graph_are_hashed_named_and_used(tmp_path: Path) -> None:
    manifest = export(tmp_path)
    assert manifest.data_file == f"tiny-fp32-{manifest.data_sha256[:12]}.onnx.data"
    assert sha256(tmp_path / manifest.data_file) == manifest.data_sha256
    assert visible(tmp_path) == {
        manifest.file,
        manifest.data_file,
        manifest.weights.file,
        "tiny-fp32.json",
    }
    model = onnx.load(tmp_path / manifest.file, load_external_data=False)
    large = [t for t in model.graph.initializer if t.data_location == TensorProto.EXTERNAL]
    assert {e.value for t in large for e in t.external_data if e.key == "location"} == {
        manifest.data_file
    }
    onnx.checker.check_model(tmp_path / manifest.file)
    artifact = load_artifact(tmp_path, "tiny")
    assert artifact.manifest == manifest
    assert artifact.size_bytes == sum(
        (tmp_path / name).stat().st_size for name in (manifest.file, manifest.data_file)
    )


@pytest.mark.slow
def test_a_graph_that_fits_holds_its_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    manifest = export(tmp_path)
    model = onnx.load(tmp_path / manifest.file, load_external_data=False)
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    assert (manifest.data_file, manifest.data_sha256) == ("", "")
    assert visible(tmp_path) == {manifest.file, manifest.weights.file, "tiny-fp32.json"}


@pytest.mark.slow
@needs_thorough
def test_another_export_never_leaves_a_graph_with_anothers_weights(tmp_path: Path) -> None:
    first = export(tmp_path)
    with pytest.raises(ParityError):
        export_module(Constant(), SPEC, tmp_path, ORIGIN)
    assert load_artifact(tmp_path, "tiny").manifest == first
    second = export(tmp_path, seed=1)
    assert second.data_file != first.data_file
    assert load_artifact(tmp_path, "tiny").manifest == second
    assert not (tmp_path / first.data_file).exists()


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["flip", "remove", "elsewhere"])
def test_damaged_weights_beside_a_graph_are_noticed(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "artifacts"
    manifest = export(folder)
    path = folder / manifest.data_file
    if damage == "flip":
        content = bytearray(path.read_bytes())
        content[7] ^= 1
        path.write_bytes(content)
    elif damage == "remove":
        path.unlink()
    else:
        path.rename(tmp_path / path.name)
        text = (folder / "tiny-fp32.json").read_text()
        (folder / "tiny-fp32.json").write_text(text.replace(manifest.data_file, f"../{path.name}"))
    with pytest.raises(ArtifactError, match=r"onnx\.data.*; make it again with: gb export tiny"):
        load_artifact(folder, "tiny")


@pytest.mark.slow
def test_tied_weights_are_written_for_each_name(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    class Tied(Convolutional):
        def __init__(self) -> None:
            super().__init__()
            self.twin = torch.nn.Conv2d(8, 8, 1)
            self.twin.weight = self.gate.weight

    module = Tied()
    load_weights(module, SPEC, "random", 0)
    manifest = export_module(module, SPEC, tmp_path, ORIGIN)
    state = load_file(tmp_path / manifest.weights.file)
    assert torch.equal(state["twin.weight"], state["gate.weight"])
