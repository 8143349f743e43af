"""``gb export --check`` finds every damage to a folder of artifacts."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from greenbatch.cli import main
from greenbatch.errors import ArtifactError
from greenbatch.exporter import Origin, export_module, torch_to_onnx
from greenbatch.exporter.precisions import fidelity
from greenbatch.exporter.precisions.export import export_lower
from greenbatch.exporter.precisions.running import run
from greenbatch.exporter.user_network import export_own
from greenbatch.exporter.verify import check_folder
from greenbatch.models.artifacts import sha256
from greenbatch.models.instructions import instruction_set
from greenbatch.models.sources.parse import parse_source
from greenbatch.models.weights.load import WeightsApplied, load_weights
from tests.fakes.networks import SPEC, Convolutional, exported

ORIGIN = Origin(WeightsApplied("random", "seed 0"), "0" * 64)
MANIFEST = "tiny-fp32.json"


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small artifact whose weights lie beside it."""
    folder = tmp_path_factory.mktemp("pristine")
    module = Convolutional()
    load_weights(module, SPEC, "random", 0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch_to_onnx, "_LARGEST_BYTES", 16)
        export_module(module, SPEC, folder, ORIGIN)
    return folder


@pytest.fixture
def folder(pristine: Path, tmp_path: Path) -> Path:
    """A copy of it, to damage."""
    return shutil.copytree(pristine, tmp_path / "artifacts")


def restate(folder: Path, **members: Any) -> None:
    """Change members of the manifest."""
    stated = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps(stated | members))


def flip(path: Path) -> None:
    """Change one bit in the middle of a file."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def change_graph(folder: Path, change: Callable[[onnx.ModelProto], None], **members: Any) -> None:
    """Change the graph, and state its new hash as somebody would who wants it to pass."""
    path = folder / "tiny-fp32.onnx"
    model = onnx.load(path, load_external_data=False)
    change(model)
    path.write_bytes(model.SerializeToString())
    restate(folder, sha256=sha256(path), **members)


def point_elsewhere(model: onnx.ModelProto) -> None:
    """Let the graph take its weights from outside of its folder."""
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = "../secret"


def future(model: onnx.ModelProto) -> None:
    """Make the graph of an operator set that is not there yet."""
    model.opset_import[0].version = 999


def freeze(model: onnx.ModelProto) -> None:
    """Write a number where the batch axis is."""
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1


def test_an_intact_folder_has_no_fault(folder: Path) -> None:
    (finding,) = check_folder(folder)
    assert (finding.fault, finding.file) == ("", folder / MANIFEST)
    assert finding.manifest is not None
    assert finding.manifest.model == "tiny"


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "graph": (lambda f: flip(f / "tiny-fp32.onnx"), "is not the file that was verified"),
    "data": (lambda f: flip(next(f.glob("*.data"))), "is not the file that was verified"),
    "weights": (lambda f: flip(next(f.glob("*.safetensors"))), "is not the file that was"),
    "no data": (lambda f: next(f.glob("*.data")).unlink(), "is missing"),
    "manifest torn": (lambda f: (f / MANIFEST).write_text("{"), "cannot read the manifest"),
    "other schema": (lambda f: restate(f, schema=99), "no manifest of schema"),
    "path out": (lambda f: restate(f, file="../net.onnx"), "is the manifest of ../net.onnx"),
    "data out": (lambda f: restate(f, data_file="../d.onnx.data"), "not beside it"),
    "renamed": (
        lambda f: (f / MANIFEST).rename(f / "other-fp32.json"),
        "is the manifest of tiny-fp32.onnx",
    ),
    "data elsewhere": (lambda f: change_graph(f, point_elsewhere), "takes weights from '../secre"),
    "future opset": (
        lambda f: change_graph(f, future, opset=999),
        "operator set 999, and the installed onnx knows 1 to",
    ),
    "opset": (lambda f: change_graph(f, future), "operator set of .* is 999 instead of"),
    "frozen": (lambda f: change_graph(f, freeze), "inputs of .* instead of the manifest's"),
    "nodes": (lambda f: restate(f, nodes=1), "number of nodes of .* instead of the manifest's 1"),
    "stray": (lambda f: (f / "mine.onnx").touch(), "mine.onnx is in no manifest"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damage_is_told_in_one_sentence(folder: Path, damage: str) -> None:
    act, says = DAMAGES[damage]
    act(folder)
    faults = [finding.fault for finding in check_folder(folder) if finding.fault]
    assert len(faults) == 1, faults
    assert "\n" not in faults[0]
    assert re.search(says, faults[0])


def test_an_artifact_of_an_onnx_file_is_sound_until_it_is_damaged(tmp_path: Path) -> None:
    """It has no file of weights beside it."""
    made, folder = tmp_path / "made", tmp_path / "artifacts"
    exported(made, Convolutional())
    source = parse_source(str(made / "tiny-fp32.onnx"))
    export_own(source, folder, name="mine")
    export_lower("mine", "fp16", folder)
    assert [finding.fault for finding in check_folder(folder)] == ["", ""]
    stated = json.loads((folder / "mine-fp16.json").read_text())
    (folder / "mine-fp16.json").write_text(json.dumps(stated | {"nodes": 1}))
    (fault,) = (finding.fault for finding in check_folder(folder) if finding.fault)
    assert fault.endswith(f" --dynamic-batch --precision fp16 --out {folder}")
    for precision, ends in (("fp16", " --precision fp16"), ("fp32", "")):
        flip(folder / f"mine-{precision}.onnx")
        (fault,) = (finding.fault for finding in check_folder(folder) if finding.fault)
        again = f"gb export tiny-fp32.onnx --name mine --dynamic-batch{ends} --out {folder}"
        assert fault.endswith(f"make it again with: {again}")
        (folder / f"mine-{precision}.json").unlink()
        (folder / f"mine-{precision}.onnx").unlink()


def test_a_link_is_held_to_what_it_leads_to(folder: Path, tmp_path: Path) -> None:
    data = next(folder.glob("*.data"))
    data.rename(tmp_path / "elsewhere")
    data.symlink_to(tmp_path / "elsewhere")
    (finding,) = check_folder(folder)
    assert "is a link out of its folder" in finding.fault


def test_no_artifacts_is_wrong_use(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ArtifactError, match=str(folder)):
            list(check_folder(folder))


def test_the_command_prints_a_line_each_and_exits_3_on_damage(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["export", "--check", str(folder)])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"ok: {folder / 'tiny-fp32.onnx'}\n"
    with pytest.raises(SystemExit):
        main(["export", "--check", str(folder), "--json"])
    (line,) = map(json.loads, capsys.readouterr().out.splitlines())
    for provider in ("cuda", "tensorrt"):
        found = line["left_to_cpu"][provider]
        assert (found["computing"], found["shape"]) == ([], [])
        assert found["nodes"] > 0
    flip(folder / "tiny-fp32.onnx")
    (folder / "mine.onnx").touch()
    with pytest.raises(SystemExit) as ended:
        main(["export", "--check", str(folder), "--json"])
    assert ended.value.code == 3
    result = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["model"], line["ok"]) for line in result] == [("tiny", False), (None, False)]
    assert [line["left_to_cpu"] for line in result] == [None, None]
    with pytest.raises(SystemExit) as ended:
        main(["export", "alexnet", "--check", str(folder)])
    assert ended.value.code == 2


@pytest.mark.slow
def test_int8_names_what_gpus_would_leave_to_the_cpu(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    exported(tmp_path, Convolutional())
    export_lower("tiny", "int8", tmp_path)
    with pytest.raises(SystemExit) as ended:
        main(["export", "--check", str(tmp_path)])
    assert ended.value.code == 0
    shown = capsys.readouterr().out
    assert "tiny in int8: CUDA 1.31.1 leaves" in shown
    assert "no kernel for int32" in shown
    assert "--int8-for gpu" in shown
    export_lower("tiny", "int8", tmp_path, processor="gpu")
    with pytest.raises(SystemExit) as ended:
        main(["export", "--check", str(tmp_path)])
    assert ended.value.code == 0
    assert "leaves" not in capsys.readouterr().out


@pytest.mark.slow
def test_int8_that_was_proved_on_another_processor_is_proved_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported(tmp_path, Convolutional())
    export_lower("tiny", "int8", tmp_path)
    path = tmp_path / "tiny-int8.json"
    stated = json.loads(path.read_text())
    assert stated["proved_with"] == instruction_set()
    assert json.loads((tmp_path / "tiny-fp32.json").read_text())["proved_with"] == ""

    def faults() -> list[str]:
        return [finding.fault for finding in check_folder(tmp_path) if finding.fault]

    def saturate(*arguments: Any, optimise: bool = True, **options: Any) -> Any:
        ran.append(optimise)
        outputs = run(*arguments, optimise=optimise, **options)
        spoils = optimise and spoilt
        return {name: -values if spoils else values for name, values in outputs.items()}

    ran, spoilt = list[bool](), False
    monkeypatch.setattr(fidelity, "run", saturate)
    assert faults() == []
    assert ran == []  # this is the processor on which it was proved
    for other in ("x86_64", ""):
        path.write_text(json.dumps(stated | {"proved_with": other}))
        assert faults() == []
    assert ran == [True, False] * 2
    spoilt = True
    (fault,) = faults()
    assert "most likely products saturate" in fault
    assert fault.endswith(f"'gb export tiny --precision int8 --out {tmp_path}'")
