"""Opening a run of somebody else reads, writes and deletes nothing outside it."""

import os
import shutil
import stat
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from greenbatch import files
from greenbatch.analysis.training.report.figures import FIGURES
from greenbatch.analysis.training.report.table_files import TABLES
from greenbatch.cli import main
from greenbatch.design.study import make_study
from greenbatch.design.training_study import make_training_study
from greenbatch.errors import FileError, GreenbatchError, JournalError, RunError
from greenbatch.exporter.publishing import _clean_up_unnamed
from greenbatch.records import encode
from greenbatch.records import journal as journals
from greenbatch.runners.run.directory import RunDirectory, TrainingDirectory
from tests.fakes import training_runs
from tests.fakes.records import IDLE, repetition
from tests.fakes.traced_run import traced_run
from tests.thorough import needs_thorough

pytestmark = pytest.mark.slow
KINDS = ("inference", "training")
ENVIRONMENT: dict[str, Any] = {"matters": {"cpu": "EPYC"}}
PLACES = (
    *("report", "report/figures", "report/tables", "report/index.html"),
    *("report/figures/energy.svg", "report/tables/cells.csv", "dataset.nc", ".lock"),
    *("traces", "traces/a.npz", "cache", "reference", "checkpoints", "accuracy"),
    *("journal.jsonl", "environment.json", "study.yaml", ".environment.json"),
)

Snapshot = dict[str, tuple[int, int, bytes]]


def snapshot(folder: Path) -> Snapshot:
    """Every entry below a folder: its mode, when it was written, and what is in it."""
    found = {}
    for path in sorted(folder.rglob("*")):
        state = path.lstat()
        data = path.read_bytes() if stat.S_ISREG(state.st_mode) else b""
        when_ns = 0 if stat.S_ISDIR(state.st_mode) else state.st_mtime_ns
        found[str(path.relative_to(folder))] = (state.st_mode, when_ns, data)
    return found


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home folder with what people have; nothing in it may change."""
    folder = tmp_path / "home"
    (folder / "thesis").mkdir(parents=True)
    for name in (".bashrc", ".netrc", "id_ed25519", "index.html", "photo.jpg", "energy.svg"):
        (folder / name).write_text("precious, and no JSON\n")
    for name in ("chapter1.tex", "results.csv", "settings.csv", "trainings.tex"):
        (folder / "thesis" / name).write_text("precious\n")
    monkeypatch.setenv("HOME", str(folder))
    before = snapshot(folder)
    yield folder
    assert snapshot(folder) == before


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run of either kind, with traces and a report."""
    folder = tmp_path_factory.mktemp("whole")
    inference = traced_run(folder / "inference", batch_sizes=(1, 4), blocks=2)
    training = training_runs.plain_run(folder / "training", batch_sizes=(32,), blocks=2)
    (training / "traces").mkdir()
    for run in (inference, training):
        report(run)
    return {"inference": inference, "training": training}


def report(run: Path) -> None:
    with pytest.raises(SystemExit) as end:
        main(["report", str(run)])
    assert end.value.code == 0


def copy_of(run: Path, path: Path) -> Path:
    shutil.copytree(run, path)
    return path


def plant(run: Path, place: str, home: Path) -> None:
    """Put a link where a file or folder of the run is expected."""
    path = run / place
    if path.is_dir():
        shutil.rmtree(path)
        path.symlink_to(home / "thesis")
        return
    path.parent.mkdir(exist_ok=True)
    target = home / "id_ed25519"
    if place in ("study.yaml", "environment.json"):  # what is read stays readable through the link
        target = run.parent / f"moved-{path.name}"
        path.rename(target)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


def refused(arguments: list[str], place: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Run the command, which must refuse a place by name in one sentence."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main(arguments)
    captured = capsys.readouterr()
    assert end.value.code == 2
    assert captured.out == ""
    assert captured.err.startswith("gb: ")
    assert captured.err.count("\n") == 1
    assert f"has a symbolic link, '{place}'" in captured.err


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("place", PLACES)
def test_a_report_of_a_run_with_a_link_is_refused_by_name(
    kind: str,
    place: str,
    whole: dict[str, Path],
    home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = copy_of(whole[kind], tmp_path / "run")
    plant(run, place, home)
    before = snapshot(run)
    refused(["report", str(run)], place, capsys)
    assert snapshot(run) == before


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("command", "place"),
    [
        (["compare", "RUN", "RUN"], "traces/a.npz"),
        (["merge", "RUN", "RUN", "--out", "OUT"], "dataset.nc"),
        (["recommend", "RUN", "--rate", "10"], "traces"),
        (["bench", "--resume", "RUN"], "journal.jsonl"),
        (["bench", "--resume", "RUN"], ".lock"),
        (["bench", "--resume", "RUN"], "study.yaml"),
        (["train", "--resume", "RUN"], "checkpoints"),
        (["tune", "--resume", "RUN"], "cache"),
    ],
)
def test_every_command_refuses_a_run_with_a_link(
    kind: str,
    command: list[str],
    place: str,
    whole: dict[str, Path],
    home: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = copy_of(whole[kind], tmp_path / "run")
    plant(run, place, home)
    before = snapshot(run)
    names = {"RUN": str(run), "OUT": str(tmp_path / "out.nc")}
    refused([names.get(word, word) for word in command], place, capsys)
    assert snapshot(run) == before
    assert not (tmp_path / "out.nc").exists()


@pytest.mark.parametrize("place", ["journal.jsonl", "traces/a.npz", "accuracy/a.json"])
def test_a_named_pipe_in_a_run_is_refused_and_not_waited_for(
    place: str, whole: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = copy_of(whole["inference"], tmp_path / "run")
    (run / place).parent.mkdir(exist_ok=True)
    (run / place).unlink(missing_ok=True)
    os.mkfifo(run / place)
    with pytest.raises(SystemExit) as end:
        main(["report", str(run)])
    assert end.value.code == 2
    assert f"has '{place}', which is no file or folder; remove it" in capsys.readouterr().err


def test_a_run_that_the_user_reaches_by_a_link_is_opened(
    whole: dict[str, Path], tmp_path: Path
) -> None:
    run = copy_of(whole["inference"], tmp_path / "run")
    (tmp_path / "link").symlink_to(run)
    report(tmp_path / "link")


def test_the_folder_of_a_report_of_a_dataset_file_is_no_link(
    whole: dict[str, Path], home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for kind, run in whole.items():
        file = shutil.copy(run / "dataset.nc", tmp_path / f"{kind}.nc")
        (tmp_path / f"{kind}-report").symlink_to(home / "thesis")
        with pytest.raises(SystemExit) as end:
            main(["report", str(file)])
        assert end.value.code == 2
        assert "is a symbolic link" in capsys.readouterr().err


def test_a_folder_of_traces_beside_a_dataset_file_is_no_link(
    whole: dict[str, Path], home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(whole["inference"] / "dataset.nc", tmp_path / "some.nc")
    (tmp_path / "traces").symlink_to(home)
    with pytest.raises(SystemExit) as end:
        main(["recommend", str(tmp_path / "some.nc"), "--rate", "10"])
    assert end.value.code == 2
    assert "traces is a symbolic link" in capsys.readouterr().err


Create = Callable[[Path], object]


def _create(path: Path) -> object:
    study = make_study({"backends": ["torch-cpu"], "batch_sizes": [8], "models": ["alexnet"]})
    return RunDirectory.create(path, study, ENVIRONMENT)


def _create_training(path: Path) -> object:
    study = make_training_study({"models": ["simple-cnn"]}, "a test")
    return TrainingDirectory.create(path, study, ENVIRONMENT)


@pytest.mark.parametrize("create", [_create, _create_training])
@pytest.mark.parametrize("place", [".lock", "environment.json", "traces", "accuracy/a.json"])
def test_a_folder_for_a_new_run_with_planted_links_is_refused(
    place: str, create: Create, home: Path, tmp_path: Path
) -> None:
    run = tmp_path / "x"
    (run / place).parent.mkdir(parents=True)
    (run / place).symlink_to(home / "id_ed25519")
    before = snapshot(run)
    with pytest.raises(FileError, match=f"symbolic link, '{place}'"):
        create(run)
    assert snapshot(run) == before


def test_names_that_a_run_writes_under_cannot_be_planted(home: Path, tmp_path: Path) -> None:
    run = tmp_path / "x"
    run.mkdir()
    (run / "environment.json").hardlink_to(home / ".netrc")
    _create(run).close()  # type: ignore[attr-defined]
    assert (run / "environment.json").stat().st_nlink == 1


@pytest.mark.parametrize("place", [".lock", "journal.jsonl"])
def test_a_file_that_is_opened_by_name_has_no_second_name(
    place: str, home: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with _create(run):  # type: ignore[attr-defined]
        pass
    (run / place).unlink()
    (run / place).hardlink_to(home / "id_ed25519")  # its line would be cut off as a torn one
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(FileError, match=place):
            RunDirectory.resume(run, ENVIRONMENT)


def test_a_report_deletes_files_of_its_own_names_alone(tmp_path: Path) -> None:
    run = training_runs.plain_run(tmp_path / "run", batch_sizes=(32,), blocks=2)
    own = [run / "report/figures/effects.svg", run / "report/tables/anova.tex"]
    mine = [
        *(run / "report/figures" / name for name in (".profile", "photo.jpg", "search.txt")),
        *(run / "report/tables" / name for name in ("notes.csv", "chapter1.tex", ".hidden.csv")),
    ]
    for path in (*own, *mine):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("written before")
    report(run)
    assert not any(path.exists() for path in own)
    assert all(path.read_text() == "written before" for path in mine)


@needs_thorough
def test_the_names_that_a_report_of_trainings_deletes_are_those_it_writes(tmp_path: Path) -> None:
    for maker in (training_runs.search_run, training_runs.factorial_run, training_runs.delrey_run):
        run = maker(tmp_path / maker.__name__)
        report(run)
        assert {path.stem for path in (run / "report/figures").iterdir()} <= set(FIGURES)
        assert {path.stem for path in (run / "report/tables").iterdir()} <= set(TABLES)


def test_drafts_of_a_process_that_was_killed_are_removed_and_new_ones_stay(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with _create(run):  # type: ignore[attr-defined]
        pass
    old, new, mine = (
        run / "traces" / name
        for name in (
            ".a.npz.0123456789abcdef.draft",
            ".a.npz.fedcba9876543210.draft",
            ".a.npz.mine.draft",
        )
    )
    for path in (old, new, mine):
        path.write_text("half")
    for path in (old, mine):
        os.utime(path, (time.time() - 7200, time.time() - 7200))
    files.remove_old_drafts(run / "traces")
    assert [path.exists() for path in (old, new, mine)] == [False, True, True]
    RunDirectory.resume(run, ENVIRONMENT).close()  # the lock is held: no other process writes there
    assert [path.exists() for path in (old, new, mine)] == [False, False, True]


def test_a_report_leaves_no_temporary_names(whole: dict[str, Path]) -> None:
    for run in whole.values():
        left = [path.name for path in run.rglob(".*") if path.name != ".lock"]
        assert left == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["study.yaml", "environment.json", "journal.jsonl"])
def test_a_file_of_a_run_that_is_too_large_is_one_sentence(
    kind: str, name: str, whole: dict[str, Path], tmp_path: Path
) -> None:
    run = copy_of(whole[kind], tmp_path / "run")
    with (run / name).open("r+b") as file:
        file.truncate(10_000_000_001)  # holes: nothing is stored
    with pytest.raises(GreenbatchError, match=r"larger than (10|10000) MB"):
        main_raising(["report", str(run)])


def main_raising(arguments: list[str]) -> None:
    from greenbatch.cli.application import app

    app(args=arguments, prog_name="gb", standalone_mode=False)


def test_a_line_of_a_journal_is_limited_in_length_and_depth(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    file.write_bytes(encode(IDLE) + b'{"kind":"' + b"a" * 10_000_001 + b'"}\n')
    with pytest.raises(JournalError, match=r"line 2 .* is longer than 10 MB"):
        journals.read(file)
    nested = b"[" * 200_000 + b"]" * 200_000 + b"\n"
    file.write_bytes(nested + encode(IDLE))
    with pytest.raises(JournalError, match="line 1: "):
        journals.read(file)
    file.write_bytes(encode(IDLE) + nested)
    assert (journals.read(file).torn or "").startswith(f"{file}: line 2, the last, is torn")


def test_an_environment_that_is_nested_without_end_is_one_sentence(
    whole: dict[str, Path], tmp_path: Path
) -> None:
    for kind, run in whole.items():
        copy = copy_of(run, tmp_path / kind)
        (copy / "environment.json").write_text("[" * 200_000 + "]" * 200_000)
        with pytest.raises(GreenbatchError, match=r"cannot read .*environment\.json"):
            main_raising(["report", str(copy)])


def test_a_checksum_that_does_not_match_blames_nobody(tmp_path: Path) -> None:
    file = tmp_path / "journal.jsonl"
    line = encode(repetition())
    file.write_bytes(line.replace(b'"block":0', b'"block":1') + line)
    with pytest.raises(JournalError) as caught:
        journals.read(file)
    assert "it was changed or damaged after it was written" in str(caught.value)
    assert "somebody" not in str(caught.value)


DIGITS = "0123456789ab"


def test_an_export_removes_no_file_of_a_model_whose_name_begins_alike(tmp_path: Path) -> None:
    theirs = [
        *(f"net-x-{DIGITS}.safetensors", f"net-x-int8-{DIGITS}.onnx.data"),
        *(f"net-fp16x-{DIGITS}.safetensors", f"net-mine-{DIGITS}.onnx.data"),
        f"net-int8-{DIGITS}.safetensors",  # weights of a model net-int8
    ]
    named = f"net-{DIGITS}.safetensors"
    stale = [f"net-{DIGITS[::-1]}.safetensors", f"net-int8-{DIGITS}.onnx.data"]
    for name in (*theirs, *stale, named):
        (tmp_path / name).write_text("weights")
    (tmp_path / "net-fp32.json").write_text(f'{{"weights": {{"file": "{named}"}}}}')
    _clean_up_unnamed(tmp_path, "net")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {*theirs, named, "net-fp32.json"}


def test_artifacts_are_published_one_after_the_other(tmp_path: Path) -> None:
    from filelock import FileLock

    from greenbatch.exporter import publishing

    manifest: Any = SimpleNamespace(model="net", precision="fp32", to_json=lambda: "{}")
    room = tmp_path / "room"
    room.mkdir()
    graph = room / "net-fp32.onnx"
    graph.write_text("graph")
    at_work = threading.Thread(target=publishing.publish, args=(tmp_path, manifest, [graph]))
    other = tmp_path / f"net-{DIGITS}.safetensors"
    other.write_text("not named yet")
    with FileLock(tmp_path / ".artifacts.lock"):
        at_work.start()
        at_work.join(timeout=0.5)
        assert at_work.is_alive()
        assert graph.exists()
        assert other.exists()
    at_work.join(timeout=60)
    assert (tmp_path / "net-fp32.onnx").exists()
    assert not other.exists()


def test_locks_of_exports_follow_no_link(home: Path, tmp_path: Path) -> None:
    from greenbatch.exporter.publishing import clear, locked

    (tmp_path / ".net.lock").symlink_to(home / "id_ed25519")
    with pytest.raises(FileError, match=r"\.net\.lock"), locked(tmp_path, "net", print):
        pass
    clear(tmp_path, "net")


@pytest.mark.parametrize("kind", ["link", "pipe", "device"])
def test_output_goes_to_the_file_or_device_that_the_user_named(
    kind: str, home: Path, whole: dict[str, Path], tmp_path: Path
) -> None:
    run = copy_of(whole["inference"], tmp_path / "run")
    out = tmp_path / "junit.xml"
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(out.read_bytes()), daemon=True)
    if kind == "link":
        out.symlink_to(home / "index.html")
    elif kind == "pipe":
        os.mkfifo(out)
        reader.start()
    else:
        out = Path("/dev/null")
    shorter = copy_of(run, tmp_path / "shorter")
    journal = shorter / "journal.jsonl"
    journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-1]))
    main_raising(["compare", str(run), str(shorter), "--junit", str(out)])
    if kind == "link":
        assert not out.is_symlink()
        assert out.read_text().startswith("<?xml")
    elif kind == "pipe":
        reader.join(timeout=60)
        assert got[0].startswith(b"<?xml")
    else:
        assert stat.S_ISCHR(out.stat().st_mode)


def test_zarr_is_written_whole_or_not_at_all(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import xarray as xr

    from greenbatch.analysis.dataset import trace_store

    def write(self: xr.Dataset, store: Path, **_: object) -> None:
        (store / "zarr.json").write_text("{}")
        if fails:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(xr.Dataset, "to_zarr", write)
    monkeypatch.setattr(trace_store, "check_format", lambda form: None)
    fails = True
    with pytest.raises(FileError, match=r"cannot write .*a\.zarr: the disk is full"):
        trace_store.write_traces(xr.Dataset(), tmp_path / "a.zarr", "zarr")
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    fails = False
    trace_store.write_traces(xr.Dataset(), tmp_path / "a.zarr", "zarr")
    assert (tmp_path / "a.zarr" / "zarr.json").exists()
    (tmp_path / "b.zarr").symlink_to(home / "nowhere")
    with pytest.raises(RunError, match="exists"):
        trace_store.write_traces(xr.Dataset(), tmp_path / "b.zarr", "zarr")
