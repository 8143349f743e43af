"""Names have one form wherever they are read, so that no file is called by what it holds."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from greenbatch.analysis import cell_rows, compile_dataset
from greenbatch.analysis.training import open_training
from greenbatch.analysis.training.findings.rows import training_rows
from greenbatch.cli import main
from greenbatch.design.study import make_study
from greenbatch.design.training_study import make_training_study
from greenbatch.errors import ArtifactError, JournalError, RunError, StudyError, UsageError
from greenbatch.models import registry
from greenbatch.models.artifacts import read_manifest, stem
from greenbatch.models.sources.parse import check_name as check_own_name
from greenbatch.models.sources.parse import parse_source
from greenbatch.names import check_name
from greenbatch.records import Cell, TrainingCell, encode, parse
from greenbatch.records.accuracy import parse_accuracy
from greenbatch.records.artifact import parse_manifest
from greenbatch.runners import backends
from tests.fakes import runs, training_runs

GOLDEN = Path(__file__).parents[1] / "golden"
UNFIT = [
    "",
    "../../x",
    "/abs",
    "a/b",
    "a\\b",
    "..",
    ".",
    ".hidden",
    "-x",
    "--help",
    "a\0b",
    "a\nb",
    "a\x1b[31mb",
    "a\u202eb",
    "a b",
    "a*b",
    "<b>",
    "=1+1",
    "ä",
    "a" * 129,
    "a\n",
]


@pytest.mark.parametrize("name", UNFIT)
def test_an_unfit_name_is_refused_in_every_record_that_files_are_called_by(name: str) -> None:
    for make in (
        lambda: check_name("model", name),
        lambda: Cell(name, "torch-cpu"),
        lambda: Cell("alexnet", name),
        lambda: TrainingCell(name, "digits"),
        lambda: TrainingCell(f"timm:{name}", "digits"),
        lambda: TrainingCell("dense", "digits", name),
    ):
        with pytest.raises(ValueError, match=r"unfit for files|needs a model"):
            make()


@pytest.mark.parametrize("name", UNFIT)
def test_an_unfit_name_is_refused_in_a_study_a_manifest_and_an_option(
    name: str, tmp_path: Path
) -> None:
    common: dict[str, Any] = {"backends": ["torch-cpu"], "batch_sizes": [1]}
    of_sources = {"models": ["alexnet"], "sources": {name: "nets:build"}}
    for members in ({"models": [name]}, of_sources):
        with pytest.raises(StudyError, match="unfit for files"):
            make_study(common | members)
    with pytest.raises(StudyError, match="unfit for files"):
        make_training_study({"models": [name]}, "the options")
    with pytest.raises(UsageError, match="unfit"):
        check_own_name(name)
    with pytest.raises(ArtifactError, match="unfit for files"):
        read_manifest(tmp_path, name)


def test_an_unfit_name_is_refused_in_what_files_hold(tmp_path: Path) -> None:
    accuracy = json.loads((GOLDEN / "run-settings/accuracy/alexnet-fp32.json").read_text())
    parse_accuracy(json.dumps(accuracy), "a.json")
    with pytest.raises(ArtifactError, match=r"a\.json: the model's name '\.\./x' is unfit"):
        parse_accuracy(json.dumps(accuracy | {"model": "../x"}), "a.json")
    manifest = {
        **dict.fromkeys(("precision", "file", "sha256", "recipe", "exported_at"), "x"),
        **dict.fromkeys(("size_bytes", "opset", "nodes", "parameters", "export_s"), 1),
        **{name: [] for name in ("inputs", "outputs", "parity")},
        "weights": {"kind": "own", "detail": "", "file": "", "sha256": ""},
        "schema": 2,
    }
    assert parse_manifest(json.dumps(manifest | {"model": "x"}), "m.json").model == "x"
    with pytest.raises(ArtifactError, match=r"m\.json: the model's name '\.\./x' is unfit"):
        parse_manifest(json.dumps(manifest | {"model": "../x"}), "m.json")


def _renamed(record: Any, model: str) -> bytes:
    """Encode a repetition of another model, with a checksum that is right."""
    cell = replace(record.cell)
    object.__setattr__(cell, "model", model)
    return encode(replace(record, cell=cell))


def test_an_unfit_name_in_a_journal_with_right_checksums_is_refused() -> None:
    good = runs.repetition(Cell("alexnet", "torch-cpu"))
    lines = _renamed(good, "../../x") + encode(good)
    with pytest.raises(JournalError, match=r"line 1: .*the model's name '\.\./\.\./x' is unfit"):
        parse(lines)
    journal = parse(encode(good) + _renamed(good, "../../x"))
    assert len(journal.repetitions) == 1
    assert journal.torn is not None


@pytest.mark.slow
def test_an_unfit_name_in_a_run_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs.realistic_run(tmp_path / "run", models=("alexnet",), batch_sizes=(1,), blocks=1)
    study = yaml.safe_load((run / "study.yaml").read_text())
    (run / "study.yaml").write_text(yaml.safe_dump(study | {"models": ["alexnet", "../../x"]}))
    with pytest.raises(SystemExit) as stop:
        main(["report", str(run)])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("gb: ")
    assert "'../../x' is unfit for files" in said
    assert said.count("\n") == 1


def test_an_unfit_name_in_a_dataset_is_refused(tmp_path: Path) -> None:
    records = runs.realistic_records(models=("alexnet",), batch_sizes=(1,), blocks=1)
    dataset = compile_dataset(runs.write_run(tmp_path / "a", records, runs.study(batch_sizes=(1,))))
    dataset = dataset.assign_coords(model=["../../x"])
    with pytest.raises(RunError, match=r"no run can have: the model's name '\.\./\.\./x' is"):
        cell_rows(dataset)
    trained = training_runs.plain_run(tmp_path / "b", models=("dense",), blocks=1)
    with open_training(trained) as dataset, pytest.raises(RunError, match="is unfit for files"):
        training_rows(dataset.assign_coords(model=["a\nb"]))


def test_names_that_are_there_today_are_fit_and_files_are_called_as_before() -> None:
    for name in registry.names(registry.ALL):
        assert check_name("model", name) == name
        for backend in backends.BACKENDS:
            assert Cell(name, backend).slug == f"{name}_{backend}_fp32_host_offline_b1"
    for text in ("pkg.nets:build", "timm:vit_base_patch16_224.augreg_in21k", "a.b:C.d"):
        name = parse_source(text).default_name
        assert stem(name, "int8") == f"{name}-int8"
    assert TrainingCell("timm:mobilenetv2_050.lamb_in1k", "digits").slug.startswith("timm-mobile")
    for run in filter(Path.is_dir, GOLDEN.iterdir()):
        journal = parse((run / "journal.jsonl").read_bytes())
        assert journal.repetitions
        for record in journal.repetitions:
            cell = record.cell
            parts = (cell.model, cell.backend, cell.precision, cell.io, cell.scenario)
            assert cell.slug.startswith(f"{'_'.join(parts)}_b{cell.batch_size}")


def test_a_files_name_is_one_part_of_a_path_even_where_a_name_was_not_checked() -> None:
    cell = Cell("alexnet", "torch-cpu", settings=(("a/b", "../c"),))
    for member in ("model", "backend"):
        object.__setattr__(cell, member, "../\n/x")
    assert Path(cell.slug).name == cell.slug
    assert cell.slug.isprintable()
    trained = TrainingCell("dense", "folder:../../x\0")
    assert Path(trained.slug).name == trained.slug
    assert trained.slug.isprintable()


def test_a_source_that_reads_like_an_option_is_no_option(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    study = {
        "schema": 1,
        "models": ["x"],
        "backends": ["onnxruntime-cpu"],
        "batch_sizes": [1],
        "meters": ["none"],
        "sources": {"x": "--help"},
    }
    Path("s.yaml").write_text(yaml.safe_dump(study))
    with pytest.raises(SystemExit) as stop:
        main(["study", "run", "s.yaml", "--out", "run"])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    assert "'--help'" in said.splitlines()[-1]
