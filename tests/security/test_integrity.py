"""What is shown is what was measured: datasets, artifacts and references cannot be swapped."""

import json
import os
import shutil
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import h5py
import numpy as np
import pytest
import xarray as xr

from greenbatch.analysis import cell_rows, compile_dataset, open_run, write_dataset, write_report
from greenbatch.analysis.dataset.dataset_files import CONTENTS, NOTE, contents_digest
from greenbatch.analysis.dataset.run_files import read_run
from greenbatch.analysis.dataset.store import store
from greenbatch.analysis.runs import merge
from greenbatch.design.study import make_study
from greenbatch.documents import write_yaml
from greenbatch.errors import ArtifactError, ExportError, FileError, RunError, StudyError
from greenbatch.exporter.publishing import publish
from greenbatch.models.artifacts import read_manifest
from greenbatch.records import Cell, artifact_key, parse_manifest
from greenbatch.runners.child.messages import Made, MakeReference
from greenbatch.runners.run import reference
from tests.fakes import training_runs
from tests.fakes.runs import environment, figure, repetition, study, write_run

if TYPE_CHECKING:
    from greenbatch.runners.child.starting import Starter

GOLDEN = Path(__file__).parents[1] / "golden"
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_figures")]
MEMBERS: dict[str, Any] = {"backends": ["onnxruntime-cpu"], "batch_sizes": [1]}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with a compiled dataset, which tests leave as it is."""
    backends = ("onnxruntime-cpu", "torch-cpu")
    cells = [Cell("alexnet", name, batch_size=size) for name in backends for size in (1, 4)]
    records = [
        repetition(
            cell,
            block,
            energy=[figure(20.0 + block + number)],
            latency_s=0.01 + 0.001 * block,
            iterations=100 + block,
        )
        for block in range(3)
        for number, cell in enumerate(cells)
    ]
    path = write_run(tmp_path_factory.mktemp("compiled"), records, study(backends=backends))
    write_dataset(path)
    return path


@pytest.fixture
def run(compiled: Path, tmp_path: Path) -> Path:
    """A copy of it, to be spoilt."""
    return Path(shutil.copytree(compiled, tmp_path / "run"))


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """A run of an earlier version, to merge with."""
    return Path(shutil.copytree(GOLDEN / "run-schema-1", tmp_path / "other"))


def _edit(path: Path, change: Callable[[xr.Dataset], xr.Dataset], to: Path | None = None) -> Path:
    dataset = xr.load_dataset(path, engine="netcdf4")
    out = to or path
    change(dataset).drop_encoding().to_netcdf(out, engine="netcdf4")
    return out


def _cheaper(dataset: xr.Dataset) -> xr.Dataset:
    return dataset.assign(energy_per_image=dataset["energy_per_image"] / 1000)


def _energies(dataset: xr.Dataset) -> list[float]:
    return [row.energy_per_image_j.centre for row in cell_rows(dataset) if row.energy_per_image_j]


def test_a_report_of_a_run_shows_the_journal_and_not_an_edited_dataset(run: Path) -> None:
    measured = _energies(compile_dataset(run))
    _edit(run / "dataset.nc", _cheaper)
    with pytest.warns(UserWarning, match="was edited after greenbatch wrote it"):
        write_report(run)
    assert measured
    assert _energies(open_run(run)) == measured


def test_a_run_is_opened_from_its_journal_where_its_dataset_was_edited(run: Path) -> None:
    measured = _energies(compile_dataset(run))
    _edit(run / "dataset.nc", _cheaper)
    with pytest.warns(UserWarning, match="compiled again from the journal"):
        assert _energies(open_run(run)) == measured


def test_an_edit_is_noticed_whatever_it_changes(run: Path) -> None:
    changes: dict[str, Callable[[xr.Dataset], xr.Dataset]] = {
        "a number": _cheaper,
        "a label": lambda d: d.assign_coords(model=["other"]),
        "a code": lambda d: d.assign(energy_source=d["energy_source"] * 0 + 2),
        "a text": lambda d: d.assign_attrs(title="other"),
        "a variable is gone": lambda d: d.drop_vars("foreign_load"),
        "an attribute of a variable": lambda d: d.assign(
            duration=d["duration"].assign_attrs(units="h")
        ),
    }
    for what, change in changes.items():
        path = _edit(run / "dataset.nc", change, run.parent / "edited.nc")
        with pytest.warns(UserWarning, match=r"edited.nc was edited"):
            found = open_run(path)
        assert "edited" in found.attrs[NOTE], what


def test_a_dataset_that_is_opened_and_written_again_is_not_edited(run: Path) -> None:
    again = _edit(
        run / "dataset.nc",
        lambda d: d[sorted(map(str, d.data_vars), reverse=True)].drop_encoding(),
        run.parent / "again.nc",
    )
    assert NOTE not in open_run(again).attrs


def test_the_digest_of_a_compiled_dataset_is_that_of_its_file(run: Path) -> None:
    stated = xr.load_dataset(run / "dataset.nc", engine="netcdf4").attrs[CONTENTS]
    assert stated == contents_digest(compile_dataset(run)) == contents_digest(open_run(run))


def test_the_report_of_an_edited_file_says_so_first(run: Path) -> None:
    path = _edit(run / "dataset.nc", _cheaper, run.parent / "edited.nc")
    with pytest.warns(UserWarning, match="was edited"):
        page = write_report(path).page
    said = (page.parent / "report.md").read_text()
    assert "edited.nc was edited after greenbatch wrote it" in said


def test_an_older_file_without_a_digest_opens_and_is_said_to_be_unverifiable(run: Path) -> None:
    def older(dataset: xr.Dataset) -> xr.Dataset:
        del dataset.attrs[CONTENTS]
        return dataset

    path = _edit(run / "dataset.nc", older, run.parent / "older.nc")
    with pytest.warns(UserWarning, match="no digest of its contents"):
        assert _energies(open_run(path)) == _energies(compile_dataset(run))


def test_what_is_merged_from_an_edited_file_says_so_ever_after(run: Path, other: Path) -> None:
    path = _edit(run / "dataset.nc", _cheaper, run.parent / "edited.nc")
    with pytest.warns(UserWarning, match="was edited"):
        merged = merge([path, other], along="run")
    assert "edited.nc was edited" in merged.attrs[NOTE]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda d: d.isel(batch_size=0), "lacks the dimension batch_size"),
        (lambda d: d.isel(repetition=0), "lacks the dimension repetition"),
        (lambda d: d.isel(batch_size=[]), "no label is left along its dimension batch_size"),
        (lambda d: d[["energy"]].drop_encoding(), "lacks status"),
        (lambda d: d.drop_attrs(), "no dataset of greenbatch"),
        (lambda d: d.assign_attrs(schema="two"), "'schema' is 'two'"),
        (lambda d: d.assign_attrs(study="[]"), "'study', it holds a list"),
        (lambda d: d.assign_attrs(study="{"), "'study' is no JSON"),
        (lambda d: d.assign_attrs(environment="5"), "'environment', it holds a int"),
        (lambda d: d.assign_attrs(settings='["x"]'), "'settings' is no mapping"),
        (lambda d: d.assign_attrs(energy_provenance="sworn"), "'sworn'"),
        (lambda d: d.assign(status=d["status"] + 100), "status holds values that are no codes"),
        (lambda d: d.assign_coords(precision=("variant", ["fp8", "fp8"])), "has the label 'fp8'"),
        (lambda d: d.assign_coords(backend=("model", ["torch-cpu"])), "backend does not go along"),
        (lambda d: d.drop_vars("io"), "it lacks io"),
        (lambda d: d.assign_coords(batch_size=[0, 1]), "batch_size is no whole number"),
        (lambda d: d.isel(repetition=[0, 0]), "repetition is there twice"),
    ],
)
def test_a_file_that_lacks_what_is_needed_is_one_sentence(
    run: Path, change: Callable[[xr.Dataset], xr.Dataset], says: str
) -> None:
    path = _edit(run / "dataset.nc", change, run.parent / "cut.nc")
    with pytest.raises(RunError, match=says) as raised:
        open_run(path)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.isel(repetition=[0], variant=[0]).transpose(),
        lambda d: d.drop_vars(["foreign_load", "accuracy_top1", "stopped_half_width"]),
        lambda d: d.isel(batch_size=[1]).assign_coords(room=("model", ["cellar"])),
        lambda d: d.map(lambda a: a * np.nan if a.dtype.kind == "f" else a, keep_attrs=True),
    ],
)
@pytest.mark.filterwarnings("ignore:.*edited:UserWarning")
def test_a_file_that_was_cut_and_has_what_is_needed_is_reported(
    run: Path, change: Callable[[xr.Dataset], xr.Dataset]
) -> None:
    path = _edit(run / "dataset.nc", change, run.parent / "cut.nc")
    assert write_report(path).page.is_file()


def _external(file: h5py.File, secret: Path) -> None:
    size = secret.stat().st_size
    file.create_dataset("leak", (size,), "u1", external=[(str(secret), 0, size)])


def _external_in_place(file: h5py.File, secret: Path) -> None:
    del file["foreign_load"]
    file.create_dataset("foreign_load", (3,), "f8", external=[(str(secret), 0, 24)])


def _external_link(file: h5py.File, secret: Path) -> None:
    file["leak"] = h5py.ExternalLink(str(secret), "/x")


def _soft_link(file: h5py.File, secret: Path) -> None:
    file["leak"] = h5py.SoftLink("/status")


def _virtual(file: h5py.File, secret: Path) -> None:
    layout = h5py.VirtualLayout((4,), "f8")
    layout[:] = h5py.VirtualSource(str(secret), "x", (4,))
    file.create_virtual_dataset("leak", layout)


def _huge(file: h5py.File, secret: Path) -> None:
    file.create_dataset("leak", (10**9, 10), "f8", chunks=(1000, 10), compression="gzip")


def _huge_chunk(file: h5py.File, secret: Path) -> None:
    file.create_dataset("leak", (1,), "f8", chunks=(5 * 10**8,), maxshape=(None,))


def _group(file: h5py.File, secret: Path) -> None:
    file.create_group("more")


def _compound(file: h5py.File, secret: Path) -> None:
    file.create_dataset("leak", (3,), np.dtype([("a", "f8"), ("b", "i4")]))


def _references(file: h5py.File, secret: Path) -> None:
    file.create_dataset("leak", (3,), h5py.ref_dtype)


def _unknown_filter(file: h5py.File, secret: Path) -> None:
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((4,))
    plan.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, ())
    space = h5py.h5s.create_simple((4,))
    h5py.h5d.create(file.id, b"leak", h5py.h5t.IEEE_F64LE, space, plan)


@pytest.mark.parametrize(
    ("plant", "says"),
    [
        (_external, "has its data in another file"),
        (_external_in_place, "has its data in another file"),
        (_external_link, "is a link"),
        (_soft_link, "is a link"),
        (_virtual, "view of other variables"),
        (_huge, "more than 4 GB"),
        (_huge_chunk, "more than 4 GB"),
        (_group, "is a group"),
        (_compound, "neither a number nor text"),
        (_references, "neither a number nor text"),
        (_unknown_filter, "the filter 32015"),
    ],
)
def test_a_file_with_data_from_elsewhere_is_refused_before_it_is_read(
    run: Path, other: Path, plant: Callable[[h5py.File, Path], None], says: str
) -> None:
    secret = run.parent / "secret.txt"
    secret.write_text("-----BEGIN OPENSSH PRIVATE KEY-----")
    path = shutil.copy(run / "dataset.nc", run.parent / "planted.nc")
    with h5py.File(path, "a") as file:
        plant(file, secret)
    with pytest.raises(RunError, match=says) as raised:
        open_run(path)
    assert "\n" not in str(raised.value)
    with pytest.raises(RunError, match=says):
        merge([path, other], along="run")


def test_a_run_whose_dataset_has_data_from_elsewhere_is_compiled_from_its_journal(
    run: Path,
) -> None:
    secret = run.parent / "secret.txt"
    secret.write_text("token")
    with h5py.File(run / "dataset.nc", "a") as file:
        _external(file, secret)
    assert "leak" not in open_run(run)
    with h5py.File(run / "dataset.nc") as file:
        assert "leak" not in file


@pytest.mark.parametrize("data", [b"", b"<html>404</html>", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_a_file_that_is_no_dataset_is_one_sentence(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "dataset.nc"
    path.write_bytes(data)
    with pytest.raises(RunError, match=r"cannot read .*dataset\.nc as a dataset"):
        open_run(path)


def test_a_dataset_that_was_cut_in_half_is_one_sentence(run: Path) -> None:
    data = (run / "dataset.nc").read_bytes()
    path = run.parent / "half.nc"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(RunError, match=r"cannot read .*half\.nc as a dataset"):
        open_run(path)


def test_a_dataset_that_is_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "dataset.nc")
    with pytest.raises((FileError, RunError)):
        open_run(tmp_path / "dataset.nc")


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


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ({"repetitions": "many"}, "repetitions is 'many'"),
        ({"models": 5}, "models is 5"),
        ({"models": [5]}, "models.0 is 5"),
        ({"batch_sizes": [0]}, "batch_sizes.0 is 0"),
        ({"precisions": ["fp8"]}, "precisions.0 is 'fp8'"),
        ({"settings": [1]}, "settings is"),
        ({"artifacts": {"alexnet": "x"}}, "artifacts.alexnet"),
        ({"images": {"folder": 3}}, "images.folder is 3"),
        ({"protocol": {"window_s": "long"}}, "protocol.window_s is 'long'"),
        ({"scale": None}, "scale is None"),
        ({3: 4}, "member 3"),
    ],
)
def test_a_wrong_type_in_a_study_is_one_sentence(
    tmp_path: Path, members: dict[Any, Any], says: str
) -> None:
    run = write_run(tmp_path, [], {**study(), **members})
    with pytest.raises(RunError, match=says) as raised:
        write_report(run)
    assert "\n" not in str(raised.value)


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


@pytest.mark.parametrize("name", ["run-schema-1", "run-settings"])
def test_runs_of_earlier_versions_open_as_before(tmp_path: Path, name: str) -> None:
    shutil.copytree(GOLDEN / name, tmp_path / name)
    assert _energies(open_run(tmp_path / name)) == _energies(open_run(tmp_path / name))


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


def test_a_merged_file_of_which_a_run_was_chosen_is_one_sentence(run: Path, other: Path) -> None:
    merged = store(merge([run, other], along="run"), run.parent / "merged.nc")
    for change, says in (
        (lambda d: d.isel(run=[0]), "labels that it was merged with are gone"),
        (lambda d: d.isel(run=0), "lacks the dimension run"),
    ):
        path = _edit(merged, change, run.parent / "cut.nc")
        with (
            pytest.raises(RunError, match=says),
            warnings.catch_warnings(action="ignore"),
        ):
            write_report(path)


def test_an_artifact_is_not_replaced_by_another_of_the_same_file_name(tmp_path: Path) -> None:
    (tmp_path / "net-fp32.json").write_text(json.dumps(MANIFEST))
    other = parse_manifest(json.dumps(MANIFEST | {"precision": "fp32"}), "other")
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "net-fp32.onnx").touch()
    with pytest.raises(ExportError, match="is of net in int8, and would be replaced"):
        publish(tmp_path, other, [tmp_path / "room" / "net-fp32.onnx"])
