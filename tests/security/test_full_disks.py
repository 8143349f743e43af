"""A disk that is full or read-only is one sentence, and leaves nothing half-written."""

import errno
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from greenbatch import files
from greenbatch.analysis import open_run, write_report
from greenbatch.analysis.training import open_training
from greenbatch.cli import application
from greenbatch.design.study import make_study
from greenbatch.errors import FileError, MeasurementError, RunError
from greenbatch.records import Status
from greenbatch.records import journal as journals
from greenbatch.runners.child.handle import ChildProcess
from greenbatch.runners.run.directory import RunDirectory
from greenbatch.runners.training.child import checkpoints
from greenbatch.runners.training.child.progress import Progress
from tests.fakes import runs, training_runs
from tests.fakes.records import IDLE, repetition
from tests.thorough import needs_thorough

pytestmark = pytest.mark.slow
KINDS = ("inference", "training")
BY_DAY = [("tmpfs", "inference"), ("read-only", "training")]
BY_NIGHT = [("tmpfs", "training"), ("read-only", "inference")]
GB = (sys.executable, "-m", "greenbatch.cli")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("whole")
    return {
        "inference": runs.realistic_run(folder / "inference", blocks=2),
        "training": training_runs.plain_run(folder / "training", batch_sizes=(32,), blocks=2),
    }


def limited(size_bytes: int, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run a command that, with all its children, may write files of so many bytes.

    It keeps no compiled modules: Python 3.11 takes one that was cut short for a whole one.
    """

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes))

    return subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit,
        env=os.environ | {"PYTHONDONTWRITEBYTECODE": "1"},
    )


def mounted(mount: str, folder: Path, command: str) -> subprocess.CompletedProcess[str]:
    """Run a shell command where ``folder`` is another file system, seen by this command alone."""
    script = f"{mount} && {command}"
    tried = subprocess.run(
        ["unshare", "-m", "sh", "-c", f"{mount} && :"], capture_output=True, text=True, check=False
    )
    if tried.returncode:
        pytest.skip(f"file systems cannot be mounted here: {tried.stderr.strip()}")
    return subprocess.run(
        ["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, check=False
    )


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def one_sentence(ran: subprocess.CompletedProcess[str], code: int) -> str:
    """Return the last line on standard error, which is no traceback's."""
    assert ran.returncode == code, ran.stderr
    assert "Traceback" not in ran.stderr
    last = ran.stderr.strip().splitlines()[-1]
    assert last.startswith("gb: ")
    return last


@pytest.mark.parametrize("kind", [KINDS[0], pytest.param(KINDS[1], marks=needs_thorough)])
def test_a_report_on_a_full_disk_says_what_is_there(
    kind: str, whole: dict[str, Path], tmp_path: Path
) -> None:
    run = shutil.copytree(whole[kind], tmp_path / "run")
    before = names(run)
    ran = limited(3_000, [*GB, "report", str(run)])
    last = one_sentence(ran, 2)
    assert "the file would exceed the limit on file sizes; raise the limit" in last
    assert f"{run / 'report/index.html'} is not written" in last
    assert "the dataset is not kept" in ran.stderr
    assert {Path(name).parts[0] for name in {*names(run)} - {*before}} <= {"report"}
    assert not [name for name in names(run) if "draft" in name]


@pytest.mark.parametrize("kind", [pytest.param(KINDS[0], marks=needs_thorough), KINDS[1]])
def test_an_earlier_report_outlives_one_that_fails(
    kind: str, whole: dict[str, Path], tmp_path: Path
) -> None:
    run = shutil.copytree(whole[kind], tmp_path / "run")
    page = run / "report/index.html"
    page.parent.mkdir()
    page.write_text("earlier")
    ran = limited(3_000, [*GB, "report", str(run)])
    assert f"{page} is that of an earlier report" in one_sentence(ran, 2)
    assert page.read_text() == "earlier"


@pytest.mark.parametrize(
    ("place", "kind"), [*BY_DAY, *(pytest.param(*each, marks=needs_thorough) for each in BY_NIGHT)]
)
def test_a_report_on_a_file_system_that_takes_nothing(
    kind: str, place: str, whole: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    run = folder / "run"
    if place == "tmpfs":
        mount = f"mount -t tmpfs -o size=300k none {folder}"
        cause = "the disk is full; free some space"
    else:
        shutil.copytree(whole[kind], run)
        mount = f"mount --bind {folder} {folder} && mount -o remount,ro,bind {folder}"
        cause = "the file system is read-only; remount it or choose another folder"
    copy = f"cp -r {whole[kind]} {run} &&" if place == "tmpfs" else ""
    ran = mounted(mount, folder, f"{copy} {' '.join(GB)} report {run}; echo $?; find {run}")
    code, *left = ran.stdout.splitlines()
    assert code == "2"
    assert "Traceback" not in ran.stderr
    assert f"{cause}, or copy the run" in ran.stderr.strip().splitlines()[-1]
    assert not [name for name in left if name.endswith(".draft")]


@pytest.mark.parametrize("kind", KINDS)
def test_a_dataset_that_cannot_be_kept_is_compiled_in_memory(
    kind: str, whole: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(whole[kind], tmp_path / "run")

    def full(path: Path, *_: object, **__: object) -> None:
        raise FileError(f"cannot write {path}: the disk is full; free some space")

    monkeypatch.setattr("greenbatch.analysis.dataset.store.write_atomically", full)
    with pytest.warns(UserWarning, match="the dataset is not kept: cannot write"):
        found = {"inference": open_run, "training": open_training}[kind](run)
    assert found.sizes["repetition"] == 2
    assert "dataset.nc" not in names(run)


def test_a_merge_on_a_full_disk_leaves_nothing(whole: dict[str, Path], tmp_path: Path) -> None:
    out = tmp_path / "out.nc"
    ran = limited(3_000, [*GB, "merge", str(whole["inference"]), "--out", str(out)])
    assert f"cannot write {out}: the file would exceed" in one_sentence(ran, 2)
    assert names(tmp_path) == []


WRITER = """
import sys
from pathlib import Path
from greenbatch.runners.run.directory import RunDirectory
from greenbatch.design.study import make_study
from tests.unit.records.test_records import repetition
study = make_study({"backends": ["torch-cpu"], "batch_sizes": [8], "models": ["alexnet"]})
with RunDirectory.create(Path(sys.argv[1]), study, {}) as run:
    for block in range(100):
        run.append([repetition(block=block), repetition(block=block + 1000)])
"""


def test_a_journal_on_a_full_disk_ends_with_a_whole_line(tmp_path: Path) -> None:
    ran = limited(20_000, [sys.executable, "-c", WRITER, str(tmp_path / "run")])
    file = tmp_path / "run/journal.jsonl"
    assert f"FileError: cannot write {file}: the file would exceed" in ran.stderr
    journal = journals.read(file)
    assert journal.torn is None
    blocks = [record.block for record in journal.repetitions]
    assert blocks == [n for block in range(len(blocks) // 2) for n in (block, block + 1000)]
    assert 10_000 < file.stat().st_size <= 20_000


def _directory(path: Path) -> RunDirectory:
    study = make_study({"backends": ["torch-cpu"], "batch_sizes": [8], "models": ["alexnet"]})
    return RunDirectory.create(path, study, {})


@pytest.mark.parametrize(
    "error",
    [
        FileError("cannot write a: the disk is full; free some space"),
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded"),
        OSError(errno.EROFS, "Read-only file system"),
        OSError(errno.EIO, "Input/output error"),
    ],
)
def test_a_run_that_cannot_be_written_says_how_it_goes_on(tmp_path: Path, error: Exception) -> None:
    run = _directory(tmp_path / "run")
    with run, pytest.raises(MeasurementError) as caught, run.resumable():
        raise error
    assert str(caught.value).endswith(f"go on with: gb resume {tmp_path / 'run'}")
    assert caught.value.exit_code == 3


def test_what_is_not_of_the_disk_is_left_as_it_is(tmp_path: Path) -> None:
    run = _directory(tmp_path / "run")
    with run, pytest.raises(ChildProcessError), run.resumable():
        raise ChildProcessError(errno.ECHILD, "No child processes")


def test_a_torn_line_is_cut_off_through_the_open_file(tmp_path: Path) -> None:
    with _directory(tmp_path / "run") as run:
        run.append([IDLE, repetition()])
    file = tmp_path / "run/journal.jsonl"
    before = file.read_bytes()
    file.write_bytes(before + before[:50])
    with pytest.warns(UserWarning, match="is torn"):
        RunDirectory.resume(tmp_path / "run", {}).close()
    assert file.read_bytes() == before


@needs_thorough
def test_a_training_on_a_full_disk_goes_on_when_there_is_room(tmp_path: Path) -> None:
    run = tmp_path / "run"
    design = "train dense --data digits --epochs 1 --repetitions 1 --profile quick --meter none"
    ran = limited(8_000, [*GB, *design.split(), "--out", str(run)])
    last = one_sentence(ran, 3)
    assert last.endswith(f"what was measured is kept, go on with: gb resume {run}")
    assert "cannot write" in last
    assert not [name for name in names(run) if "draft" in name]
    ran = subprocess.run(
        [*GB, "bench", "--resume", str(run)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    (training,) = journals.read(run / "journal.jsonl").trainings
    assert training.status == "ok"


@needs_thorough
@pytest.mark.slow
def test_a_bench_on_a_full_disk_goes_on_when_there_is_room(artifacts: Path, tmp_path: Path) -> None:
    run, kept, study = tmp_path / "disk/run", tmp_path / "kept", tmp_path / "study.yaml"
    run.parent.mkdir()
    study.write_text(
        "models: [shufflenet_v2_x0_5]\nbackends: [onnxruntime-cpu]\nbatch_sizes: [1]\n"
        f"repetitions: 3\nprofile: quick\nweights: random\nartifacts_dir: {artifacts}\n"
        "protocol: {window_s: 0.2, idle_s: 0.1}\n"
    )
    bench = f"{' '.join(GB)} bench"
    ran = mounted(
        f"mount -t tmpfs -o size=36k none {run.parent}",
        run.parent,
        f"{bench} --study {study} --out {run}; echo $?; find {run}; cp -r {run} {kept}",
    )
    code, *left = ran.stdout.splitlines()
    assert code == "3", ran.stderr
    assert "Traceback" not in ran.stderr
    assert "the disk is full; free some space" in ran.stderr
    assert ran.stderr.strip().endswith(f"go on with: gb resume {run}")
    assert not [name for name in left if name.endswith(".draft")]
    assert journals.read(kept / "journal.jsonl").torn is None
    last = subprocess.run(
        [*GB, "bench", "--resume", str(kept)], capture_output=True, text=True, check=False
    )
    assert last.returncode == 0, last.stderr
    found = journals.read(kept / "journal.jsonl").repetitions
    assert sorted(record.block for record in found) == [0, 1, 2]
    assert {record.status for record in found} == {"ok"}


def _checkpoint(path: Path) -> None:
    import torch

    checkpoints.save(
        path,
        1,
        {
            "network": {"weights": torch.zeros(50_000)},
            "optimizer": {},
            "scaler": {},
            "random": {"cpu": torch.get_rng_state(), "cuda": []},
            "state": Progress(epochs=1).members(),
        },
    )


def _arrays(path: Path) -> None:
    import numpy as np

    with files.draft(path / "a.npz") as unfinished, unfinished.open("wb") as file:
        np.savez_compressed(file, a=np.random.default_rng(0).random(50_000))


def _figure(path: Path) -> None:
    from matplotlib.figure import Figure

    from greenbatch.analysis.report.figures.style import save_figures

    save_figures({"a": lambda: Figure(figsize=(9, 9))}, path)


@pytest.mark.parametrize("write", [_checkpoint, _arrays, _figure])
def test_whatever_a_library_makes_of_a_full_disk_is_one_sentence(
    write: Callable[[Path], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, before[1]))
    try:
        with pytest.raises(FileError, match=r"cannot write .*: the file would exceed the limit"):
            write(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert names(tmp_path) == []


@pytest.mark.parametrize("disk", ["no space", None])
def test_a_child_whose_disk_is_full_ends_the_run_and_not_the_repetition(
    disk: str | None,
) -> None:
    from greenbatch.runners.child.handle import ChildFailed
    from greenbatch.runners.child.messages import Failed, Ready, encode

    with ChildProcess(60) as child:
        child._lines.put(encode(Failed(status=Status.ERROR, reason="no", disk=disk)))
        with pytest.raises(FileError if disk else ChildFailed, match="no"):
            child.event(Ready)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_the_command_makes_a_sentence_of_a_full_disk_wherever_it_is_met(
    code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise OSError(code, os.strerror(code), "some/file")

    monkeypatch.setattr(application, "app", fail)
    with pytest.raises(SystemExit) as end:
        application.run([])
    assert end.value.code == 2
    errors = capsys.readouterr().err
    assert errors.startswith("gb: cannot write some/file: ")
    assert errors.count("\n") == 1


def test_the_command_lets_other_faults_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(application, "app", fail)
    with pytest.raises(OSError, match="Bad file descriptor"):
        application.run([])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_standard_output_on_a_full_disk_is_one_sentence() -> None:
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            [*GB, "models"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ran.stderr == "gb: cannot write the output: the disk is full; free some space\n"
    assert ran.returncode == 2


def test_a_report_that_meets_a_file_in_its_way_is_refused(
    whole: dict[str, Path], tmp_path: Path
) -> None:
    run = shutil.copytree(whole["inference"], tmp_path / "run")
    (run / "report").write_text("mine")
    with pytest.raises(RunError, match=r"index\.html is not written"):
        write_report(run)
    assert (run / "report").read_text() == "mine"
