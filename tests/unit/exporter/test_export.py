"""An artifact is verified before it gets its name, and made once for each recipe."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
from safetensors.torch import load_file

from greenbatch.errors import ArtifactError, ExportError, ParityError, UnknownNameError
from greenbatch.exporter import Origin, export, export_model, export_module
from greenbatch.exporter.recipe import Recipe, identities, recipe
from greenbatch.models import build as building
from greenbatch.models import find, synthetic_images
from greenbatch.models.artifacts import load_artifact, read_manifest
from greenbatch.models.weights import checkpoints
from greenbatch.models.weights.load import Weights, WeightsApplied, load_weights
from greenbatch.records import Manifest
from tests.fakes.networks import SPEC, Constant, Convolutional, Frozen, Infinite, Unrolled

pytestmark = pytest.mark.slow
ORIGIN = Origin(WeightsApplied("random", "seed 0"), "0" * 64)
NETWORK = "shufflenet_v2_x0_5"


def visible(folder: Path) -> list[str]:
    """Names of the files that a user sees."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.nn.Module, Manifest]:
    """A small artifact."""
    folder = tmp_path_factory.mktemp("tiny")
    module = Convolutional()
    load_weights(module, SPEC, "random", 0)
    return folder, module, export_module(module, SPEC, folder, ORIGIN)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study model; tests copy nothing and leave it as it is."""
    folder = tmp_path_factory.mktemp("study")
    export_model(NETWORK, folder, weights="random")
    return folder


def test_manifest_says_what_is_in_the_artifact(
    made: tuple[Path, torch.nn.Module, Manifest],
) -> None:
    folder, module, manifest = made
    assert manifest == read_manifest(folder, "tiny") == load_artifact(folder, "tiny").manifest
    path = folder / manifest.file
    assert path.name == "tiny-fp32.onnx"
    assert manifest.size_bytes == path.stat().st_size
    assert manifest.parameters == sum(p.numel() for p in module.parameters())
    assert str(Path(torch.__file__).parent).encode() not in path.read_bytes()
    model = onnx.load(path)
    assert manifest.nodes == len(model.graph.node)
    assert [o.version for o in model.opset_import if not o.domain] == [manifest.opset]
    assert [(t.name, t.dtype, t.dims) for t in manifest.inputs] == [
        ("input", "float32", ("batch", 3, 16, 16))
    ]
    assert [(t.name, t.dtype, t.dims) for t in manifest.outputs] == [
        ("logits", "float32", ("batch", 10))
    ]
    assert {"torch", "torchvision", "onnx", "onnxscript", "onnxruntime"} <= set(manifest.versions)
    assert [p.batch_size for p in manifest.parity] == [1, 2, 3, 7, 16]
    assert all(0 <= p.max_rel < 1e-4 < p.spread for p in manifest.parity)
    assert all(p.rows_rel < 1e-5 for p in manifest.parity)
    assert visible(folder) == sorted([manifest.file, manifest.weights.file, "tiny-fp32.json"])


def test_batch_axis_is_symbolic_at_both_ends(
    made: tuple[Path, torch.nn.Module, Manifest],
) -> None:
    import onnxruntime as ort

    folder, module, manifest = made
    session = ort.InferenceSession(str(folder / manifest.file), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape[0] == session.get_outputs()[0].shape[0] == "batch"
    images = synthetic_images(SPEC, 13, 5)  # a size that neither tracing nor verifying saw
    with torch.inference_mode():
        wanted = module(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(session.run(None, {"input": images})[0], wanted, atol=1e-4)


def test_weights_file_holds_what_the_network_computes_with(
    made: tuple[Path, torch.nn.Module, Manifest],
) -> None:
    folder, module, manifest = made
    path = folder / manifest.weights.file
    state = load_file(path)
    assert state.keys() == module.state_dict().keys()
    assert all(torch.equal(value, state[key]) for key, value in module.state_dict().items())
    assert manifest.weights.sha256.startswith(path.stem.removeprefix("tiny-"))
    assert path.stat().st_mode == (folder / manifest.file).stat().st_mode


@pytest.mark.parametrize(
    ("module", "error", "says"),
    [
        (Constant(), ParityError, "do not vary between images"),
        (Infinite(), ExportError, "not finite"),
        (Frozen(), ExportError, "batch"),
        (Unrolled(), ExportError, "fixes a size that depends on the batch"),
    ],
)
def test_a_faulty_network_is_an_error_and_leaves_no_file(
    tmp_path: Path, module: torch.nn.Module, error: type[ExportError], says: str
) -> None:
    with pytest.raises(error, match=says) as caught:
        export_module(module, SPEC, tmp_path, ORIGIN)
    assert "tiny" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert visible(tmp_path) == []


def test_an_artifact_that_computes_something_else_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from greenbatch.exporter import torch_to_onnx

    module = Convolutional()
    load_weights(module, SPEC, "random", 0)
    write = torch_to_onnx.write_graph

    def write_then_change(network: torch.nn.Module, *arguments: object) -> object:
        written = write(network, *arguments)  # type: ignore[arg-type]
        with torch.no_grad():
            module.head.bias.add_(0.1)
        return written

    monkeypatch.setattr(torch_to_onnx, "write_graph", write_then_change)
    with pytest.raises(ParityError, match="computes something else in ONNX Runtime"):
        export_module(module, SPEC, tmp_path, ORIGIN)
    assert visible(tmp_path) == []


def test_a_failed_export_leaves_an_older_artifact_as_it_was(
    tmp_path: Path,
) -> None:
    module = Convolutional()
    load_weights(module, SPEC, "random", 0)
    manifest = export_module(module, SPEC, tmp_path, ORIGIN)
    with pytest.raises(ParityError):
        export_module(Constant(), SPEC, tmp_path, ORIGIN)
    assert load_artifact(tmp_path, "tiny").manifest == manifest


def test_weights_that_no_manifest_names_are_removed(tmp_path: Path) -> None:
    module = Convolutional()
    names = set()
    (tmp_path / "tiny-mine.safetensors").write_bytes(b"a user's own")
    for seed in (0, 1):
        load_weights(module, SPEC, "random", seed)
        names.add(export_module(module, SPEC, tmp_path, ORIGIN).weights.file)
    assert len(names) == 2
    assert len(list(tmp_path.glob("tiny-*.safetensors"))) == 2  # the second, and the user's
    assert (tmp_path / "tiny-mine.safetensors").exists()


def test_leftovers_of_a_killed_export_are_removed(tmp_path: Path) -> None:
    left = tmp_path / ".tiny.export-abc"
    left.mkdir()
    (left / "tiny-fp32.onnx").write_bytes(b"half")
    with pytest.raises(ParityError):
        export_module(Constant(), SPEC, tmp_path, ORIGIN)
    assert visible(tmp_path) == []


def test_a_folder_that_cannot_be_written_is_an_error_of_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match=r"cannot write artifacts into .*file"):
        export_module(Constant(), SPEC, tmp_path / "file" / "artifacts", ORIGIN)


def test_multiply_adds_are_those_of_torchvisions_table(exported: Path) -> None:
    manifest = read_manifest(exported, NETWORK)
    assert manifest.multiply_adds == pytest.approx(find(NETWORK).flops, abs=0.0005e9)  # its digits
    assert manifest.not_counted == ""


def test_a_second_export_does_nothing_and_does_not_import_torch(exported: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in exported.iterdir()}
    code = (
        "import sys; from greenbatch.exporter import export_model;"
        f"export_model({NETWORK!r}, sys.argv[1], weights='random');"
        "sys.exit(any(m in sys.modules for m in ('torch', 'onnx', 'onnxruntime')))"
    )
    assert subprocess.run([sys.executable, "-c", code, exported], check=False).returncode == 0
    after = {path.name: path.stat().st_mtime_ns for path in exported.iterdir()}
    assert {n: t for n, t in after.items() if not n.endswith(".lock")} == {
        n: t for n, t in before.items() if not n.endswith(".lock")
    }


@pytest.mark.parametrize("suffix", [".onnx", ".safetensors", ".json"])
def test_a_damaged_artifact_is_noticed_and_made_again(
    tmp_path: Path, exported: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in exported.iterdir():
        if path.suffix != ".lock":
            os.link(path, tmp_path / path.name)
    (victim,) = tmp_path.glob(f"*{suffix}")
    content = bytearray(victim.read_bytes())
    content[len(content) // 2] ^= 0xFF
    victim.unlink()  # the link only
    victim.write_bytes(content)
    with pytest.raises(ArtifactError) as caught:
        load_artifact(tmp_path, NETWORK)
    assert victim.name in str(caught.value)
    assert "\n" not in str(caught.value)

    class Asked(Exception):
        pass

    def made_again(*_: object) -> torch.nn.Module:
        raise Asked

    monkeypatch.setattr(building, "build", made_again)
    with pytest.raises(Asked):
        export_model(NETWORK, tmp_path, weights="random")
    with pytest.raises(Asked):  # nor is an intact one kept when another seed is asked for
        export_model(NETWORK, exported, weights="random", seed=1)
    assert load_artifact(exported, NETWORK)  # what was there stays until the new one is right


def test_auto_keeps_random_weights_until_published_ones_are_there(
    tmp_path: Path, exported: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(checkpoints, "PUBLISHER", "http://127.0.0.1:9/")
    assert export_model(NETWORK, exported, weights="auto").weights.kind == "random"
    spec = find(NETWORK)
    cached = tmp_path / "hub" / "checkpoints" / spec.checkpoint
    cached.parent.mkdir(parents=True)
    cached.touch()
    assert set(identities(spec, Weights("auto"), 0)) == {"pretrained"}


def test_recipe_changes_with_everything_that_goes_in(tmp_path: Path) -> None:
    spec = find("alexnet")
    other_input = replace(spec, input=replace(spec.input, shape=(3, 64, 64)))
    path = tmp_path / "w.pth"
    path.write_bytes(b"a")
    identity = identities(spec, Weights("random"), 0)["random"]
    recipes = [
        recipe(spec, "fp32", identity),
        recipe(spec, "fp16", identity),
        recipe(find("vit_b_16"), "fp32", identity),
        recipe(other_input, "fp32", identity),
        recipe(spec, "fp32", identities(spec, Weights("random"), 1)["random"]),
        recipe(spec, "fp32", identities(spec, Weights("pretrained"), 0)["pretrained"]),
        recipe(spec, "fp32", identities(spec, Weights("file", path), 0)["file"]),
    ]
    path.write_bytes(b"b")
    recipes.append(recipe(spec, "fp32", identities(spec, Weights("file", path), 0)["file"]))
    assert len(set(map(str, recipes))) == len(recipes)
    of_weights = [0, 4, 5, 6, 7]
    assert len({recipes[place].base for place in of_weights}) == 1
    assert recipe(spec, "fp32", identity) == recipes[0]


def test_auto_keeps_the_weights_of_a_file_and_nothing_else_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "w.pth"
    path.write_bytes(b"a")
    spec = find("alexnet")

    def there(kind: str, stated: Recipe) -> None:
        manifest = SimpleNamespace(recipe=str(stated), weights=SimpleNamespace(kind=kind))
        monkeypatch.setattr(export, "sound_manifest", lambda *_: manifest)

    def kept(weights: str | Path) -> bool:
        return export.find_up_to_date("alexnet", tmp_path, weights=weights) is not None

    made = recipe(spec, "fp32", identities(spec, Weights("file", path), 0)["file"])
    there("file", made)
    assert [kept(weights) for weights in ("auto", path, "random")] == [True, True, False]
    there("file", Recipe("another", made.choice))
    assert not kept("auto")
    there("random", recipe(spec, "fp32", identities(spec, Weights("random"), 1)["random"]))
    assert not kept("auto")


def test_weights_of_a_file_that_are_lost_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = SimpleNamespace(recipe="", weights=SimpleNamespace(kind="file", detail="w.pth"))
    monkeypatch.setattr(export, "sound_manifest", lambda *_: manifest)
    monkeypatch.setattr(export, "_make", lambda *_, **__: None)
    with pytest.warns(UserWarning, match=r"alexnet had the weights of w\.pth.*--weights"):
        export_model("alexnet", tmp_path)


def test_wrong_names_are_told_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'vit_b_16'"):
        export_model("vit_b_61", tmp_path)
    with pytest.raises(UnknownNameError, match="unknown precision 'fp12'"):
        export_model("alexnet", tmp_path, precision="fp12")
    with pytest.raises(UnknownNameError, match="unknown weights 'randm'"):
        export_model("alexnet", tmp_path, weights="randm")
    assert list(tmp_path.iterdir()) == []


def test_a_missing_artifact_is_an_error_with_the_cure(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="gb export alexnet"):
        load_artifact(tmp_path, "alexnet")


def test_two_exports_at_once_leave_one_intact_artifact(tmp_path: Path) -> None:
    code = (
        "import sys; from tests.fakes.networks import SPEC, Convolutional as C;"
        "from greenbatch.exporter import export_module, Origin;"
        "from greenbatch.models.weights.load import load_weights; m = C();"
        "export_module(m, SPEC, sys.argv[1], Origin(load_weights(m, SPEC, 'random',"
        " int(sys.argv[2])), sys.argv[2]))"
    )
    children = [
        subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(seed)]) for seed in (0, 1)
    ]
    assert [child.wait() for child in children] == [0, 0]
    manifest = load_artifact(tmp_path, "tiny").manifest
    assert visible(tmp_path) == sorted([manifest.file, manifest.weights.file, "tiny-fp32.json"])
