"""Artifacts and reference outputs are those that were measured, whatever they are called."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from greenbatch.analysis.dataset.run_files import read_run
from greenbatch.design.study import make_study
from greenbatch.errors import ArtifactError, ExportError, StudyError
from greenbatch.exporter.publishing import publish
from greenbatch.models.artifacts import read_manifest
from greenbatch.records import artifact_key, parse_manifest
from greenbatch.runners.child.messages import Made, MakeReference
from greenbatch.runners.run import reference
from tests.fakes.runs import study, write_run

if TYPE_CHECKING:
    from greenbatch.runners.child.starting import Starter

MEMBERS: dict[str, Any] = {"backends": ["onnxruntime-cpu"], "batch_sizes": [1]}
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_figures")]


def test_artifacts_of_names_that_end_alike_are_called_apart() -> None:
    assert artifact_key("net", "int8") != artifact_key("net-int8", "fp32")
    assert artifact_key("net", "fp32") == "net"


def _kept(file: str, sha256: str) -> dict[str, Any]:
    return {"file": file, "sha256": sha256, "weights": {"kind": "own", "detail": "x"}}


def test_artifacts_of_an_earlier_study_are_identified_by_their_files(tmp_path: Path) -> None:
    artifacts = {
        "net": _kept("net-fp32.onnx", "a"),
        "net-int8": _kept("net-int8-fp32.onnx", "b"),
        "net-int8-int8": _kept("net-int8-int8.onnx", "c"),
        "cnn-int8": _kept("cnn-int8.onnx", "d"),
    }
    wanted = {"net": "a", "net-int8": "b", "net-int8@int8": "c", "cnn@int8": "d"}
    sources = dict.fromkeys(("net", "net-int8"), "net.onnx")
    members = MEMBERS | {"models": [*sources], "sources": sources, "precisions": ["fp32", "int8"]}
    read = make_study(members | {"artifacts": artifacts})
    assert {key: entry.sha256 for key, entry in read.artifacts.items()} == wanted
    run = write_run(tmp_path, [], study(artifacts=artifacts))
    found = read_run(run).study
    assert {key: found.artifact(key).sha256 for key in found.artifacts} == wanted


def test_a_study_whose_artifacts_would_be_called_alike_is_refused() -> None:
    sources = {"net": "net.onnx", "net@int8": "other.onnx"}
    members = MEMBERS | {"models": [*sources], "sources": sources, "precisions": ["int8"]}
    with pytest.raises(StudyError, match="'net@int8' is named twice"):
        make_study(members)


def test_a_study_whose_cells_would_share_a_file_is_refused() -> None:
    settings = {"onnxruntime-cpu.provider.x": ["1,2", "1-2"]}
    with pytest.raises(StudyError, match="two cells of the study have the same file name"):
        make_study(MEMBERS | {"models": ["alexnet"], "settings": settings})


MANIFEST: dict[str, Any] = {
    "schema": 2,
    "model": "net",
    "precision": "int8",
    "file": "net-int8.onnx",
    "sha256": "0",
    "size_bytes": 1,
    "opset": 17,
    "nodes": 1,
    "parameters": 1,
    "inputs": [],
    "outputs": [],
    "weights": {"kind": "own", "detail": "", "file": "", "sha256": ""},
    "parity": [],
    "recipe": "",
    "exported_at": "",
    "export_s": 0.0,
}


def test_a_manifest_of_another_artifact_is_not_taken_for_the_one_asked_for(tmp_path: Path) -> None:
    (tmp_path / "net-fp32.json").write_text(json.dumps(MANIFEST))
    with pytest.raises(ArtifactError, match="is of net in int8, and not of net in fp32"):
        read_manifest(tmp_path, "net", "fp32")


def test_a_manifest_that_is_nested_too_deeply_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "net-fp32.json").write_text("[" * 200_000)
    with pytest.raises(ArtifactError, match="nested more than"):
        read_manifest(tmp_path, "net", "fp32")


class _Child:
    """Stands for the process that computes reference outputs."""

    def __init__(self, *_: object) -> None: ...

    def __enter__(self) -> "_Child":
        return self

    def __exit__(self, *_: object) -> None: ...

    def begin(self, *_: object) -> None: ...

    def finish(self, request: MakeReference, _: type[Made]) -> None:
        request.out.write_text("computed here")


def test_reference_outputs_that_lie_in_a_run_are_computed_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    starter = cast("Starter", SimpleNamespace(start=_Child))
    monkeypatch.setattr(reference, "loading", lambda *_: None)
    (tmp_path / "alexnet.npy").write_text("planted")
    design = make_study(MEMBERS | {"models": ["alexnet"]})
    files = reference.make_references(design, {"alexnet": None}, tmp_path, starter)  # type: ignore[dict-item]
    assert files["alexnet"].read_text() == "computed here"


def test_an_artifact_is_not_replaced_by_another_of_the_same_file_name(tmp_path: Path) -> None:
    (tmp_path / "net-fp32.json").write_text(json.dumps(MANIFEST))
    other = parse_manifest(json.dumps(MANIFEST | {"precision": "fp32"}), "other")
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "net-fp32.onnx").touch()
    with pytest.raises(ExportError, match="is of net in int8, and would be replaced"):
        publish(tmp_path, other, [tmp_path / "room" / "net-fp32.onnx"])
