"""What gb starts runs nothing of the current folder, ends with gb, and measures alone."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from greenbatch.errors import MeasurementError
from greenbatch.processes import python_command
from greenbatch.runners.host import machine_lock
from greenbatch.runners.host.machine_lock import MachineLock, machine_for
from tests.fakes.hostile import NETWORK, SHADOWING, command, gb_in, imported, plant
from tests.fakes.runs import realistic_run
from tests.thorough import needs_thorough

LONG_S = 60.0
STUDY = """
models: [shufflenet_v2_x0_5]
backends: [onnxruntime-cpu]
batch_sizes: [1]
repetitions: REPETITIONS
profile: quick
meters: [none]
weights: random
artifacts_dir: ARTIFACTS
protocol: {window_s: 0.2, idle_s: 0.1}
"""


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str] | None = None) -> None:
    """Wait until something holds, while a process runs."""
    deadline = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < deadline, "it did not come to this"
        assert process is None or process.poll() is None, process.communicate()
        time.sleep(0.05)


def children(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """Every process that a command has started, and those that these have."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(process.pid).children(recursive=True)
    return []


def gone(processes: list[psutil.Process]) -> bool:
    """Whether all have ended."""
    return all(
        not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
        for process in processes
    )


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts the installed command in a folder, and ends it behind the test."""
    begun: list[subprocess.Popen[str]] = []

    def start(*arguments: object) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command(*arguments),
            cwd=tmp_path,
            env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        begun.append(process)
        return process

    yield start
    for process in begun:
        process.kill()
        process.communicate()


def write_study(path: Path, artifacts: Path, repetitions: int) -> Path:
    """Write a study of one cell."""
    text = STUDY.replace("REPETITIONS", str(repetitions)).replace("ARTIFACTS", str(artifacts))
    path.write_text(text)
    return path


# The current folder -----------------------------------------------------------------------------


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    """A folder whose modules are named like installed ones, and a run in it."""
    plant(tmp_path, *SHADOWING)
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nbackend: module://evil\n")
    realistic_run(tmp_path / "old", models=["alexnet"])
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("arguments", ["models", "report old", "meter --meter estimate -- true"])
def test_planted_modules_shadow_none_in_a_command_that_only_looks(
    hostile: Path, arguments: str
) -> None:
    completed = gb_in(hostile, *arguments.split())
    assert imported(hostile) == ""
    assert completed.returncode == 0, completed.stderr


@needs_thorough
@pytest.mark.slow
def test_planted_modules_shadow_none_in_doctor_whose_page_is_plain_text(hostile: Path) -> None:
    completed = gb_in(hostile, "doctor")
    assert imported(hostile) == ""
    assert completed.returncode == 0, completed.stderr
    lines = completed.stdout.splitlines()
    assert [line for line in lines if line and not line.startswith(" ")][1:] == [
        "Machine",
        "GPUs",
        "Meters",
        "Backends",
        "Disturbances now",
    ]
    assert lines[0].startswith("Here gb can measure latency")
    assert "\x1b" not in completed.stdout
    assert completed.stderr == ""


@pytest.mark.slow
@needs_thorough
def test_planted_modules_shadow_none_where_an_own_network_is_found(hostile: Path) -> None:
    (hostile / "nets.py").write_text("import gb_layers_of_own\n" + NETWORK)
    (hostile / "gb_layers_of_own.py").touch()
    own = ("nets_build", "--artifacts", "artifacts", "--provider", "cpu", "--meter", "none")
    size = ("--batch-sizes", 1, "--repetitions", 1, "--profile", "quick")
    for arguments in (
        ("export", "nets:build", "--input", "3x32x32"),
        ("bench", *own, *size, "--runtime", "onnxruntime", "--out", "new"),
    ):
        completed = gb_in(hostile, *arguments)
        assert imported(hostile) == "", arguments
        assert completed.returncode == 0, completed.stderr
    assert (hostile / "new/report/index.html").is_file()


def test_pythonpath_still_counts_and_grandchildren_are_safe_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/gb_asked.py").write_text(
        "import subprocess, sys\n"
        'code = \'import sys; print(sys.argv[1:], any(p in ("", ".") for p in sys.path))\'\n'
        "subprocess.run([sys.executable, '-c', code, *sys.argv[1:]], check=True)\n"
    )
    plant(tmp_path, "runpy", "ctypes", "gb_asked")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"), prepend=os.pathsep)
    completed = subprocess.run(
        python_command("gb_asked", "a b", "-c"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert completed.stdout == "['a b', '-c'] False\n"
    assert imported(tmp_path) == ""


# The end of gb ----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "at_least"),
    [
        ("export vgg11 vgg13 --weights random --jobs 2", 2),
        ("bench vgg11 vgg13 --weights random --provider cpu --meter none", 2),
        ("layers vgg11 --weights random", 1),
        ("doctor", 1),
        ("train dense --data digits --epochs 100 --meter none", 1),
    ],
)
def test_nothing_outlives_a_gb_that_is_killed(
    begin: Callable[..., subprocess.Popen[str]], arguments: str, at_least: int
) -> None:
    process = begin(*arguments.split())
    wait_for(lambda: len(children(process)) >= at_least, process)
    left = children(process)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    wait_for(lambda: gone(left))


def test_a_process_whose_parent_has_ended_before_it_asks_exits(tmp_path: Path) -> None:
    line = python_command("greenbatch.cli", "models")
    line[line.index(str(os.getpid()))] = str(2**22 + 1)  # no process has this id
    completed = subprocess.run(line, capture_output=True, text=True, check=False)
    assert (completed.returncode, completed.stdout) == (1, "")


def test_the_generator_of_requests_ends_with_its_parent() -> None:
    code = (
        "import os, signal, numpy as np\n"
        "from greenbatch.runners.scenarios.generator import Generator\n"
        "print(Generator(np.array([1e6])).pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    completed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    pid = int(completed.stdout)
    wait_for(lambda: not psutil.pid_exists(pid) or gone([psutil.Process(pid)]))


@pytest.mark.alone
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_run_with_how_to_go_on_and_the_next_run_has_the_machine(
    begin: Callable[..., subprocess.Popen[str]],
    artifacts: Path,
    tmp_path: Path,
    number: signal.Signals,
) -> None:
    study = write_study(tmp_path / "s.yaml", artifacts, repetitions=1000)
    process = begin("bench", "--study", study, "--out", "run")
    journal = tmp_path / "run/journal.jsonl"
    wait_for(lambda: journal.exists() and journal.stat().st_size and children(process), process)
    if number == signal.SIGTERM:
        _measures_alone(process, study, tmp_path)
        wait_for(lambda: children(process), process)
    left = children(process)
    os.kill(process.pid, number)
    _, err = process.communicate(timeout=LONG_S)
    assert process.returncode == 128 + number
    assert err.endswith(
        "gb: interrupted; finished repetitions are kept; resume with: gb resume run\n"
    )
    wait_for(lambda: gone(left))  # one that just started ends once it sees that gb has


def _measures_alone(process: subprocess.Popen[str], study: Path, folder: Path) -> None:
    refused = gb_in(folder, "bench", "--study", study, "--out", "second")
    assert refused.returncode == 3
    assert refused.stderr == (
        f"gb: process {process.pid} (run) is measuring on this machine, and two runs would disturb "
        "each other; wait for it (--wait-machine 1h), or add --share-machine: its repetitions are "
        "then flagged as disturbed\n"
    )
    assert not (folder / "second").exists()
    few = folder / "few.yaml"
    few.write_text(study.read_text().replace("repetitions: 1000", "repetitions: 1"))
    shared = gb_in(folder, "bench", "--study", few, "--out", "second", "--share-machine")
    assert shared.returncode == 0, shared.stderr
    lines = (folder / "second/journal.jsonl").read_text().splitlines()
    assert any(
        "disturbed" in line and f"host: process {process.pid} (run)" in line for line in lines
    )


@pytest.mark.alone
@pytest.mark.slow
def test_a_signal_while_artifacts_are_exported_leaves_nothing(
    begin: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    process = begin("bench", "vgg11", "--weights", "random", "--provider", "cpu", "--meter", "none")
    wait_for(lambda: list((tmp_path / "artifacts").glob(".*.export-*")), process)
    left = children(process)
    assert left
    os.kill(process.pid, signal.SIGTERM)
    _, err = process.communicate(timeout=LONG_S)
    assert process.returncode == 128 + signal.SIGTERM
    assert err.endswith("gb: interrupted\n")
    wait_for(lambda: gone(left))
    assert {path.suffix for path in (tmp_path / "artifacts").iterdir()} <= {".lock"}


def test_a_signal_that_is_ignored_stays_so() -> None:
    """``nohup gb bench`` goes on when its terminal is closed."""
    code = (
        "import os, signal\n"
        "from greenbatch.cli.signals import interrupted_by_signals\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "with interrupted_by_signals() as received:\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
        "    print('goes on')\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGTERM)\n"
        "    except KeyboardInterrupt:\n"
        "        print(*received)\n"
        "print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)\n"
    )
    completed = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert completed.stdout.split("\n") == ["goes on", str(int(signal.SIGTERM)), "True", ""], (
        completed.stderr
    )


# The lock of the machine ------------------------------------------------------------------------


def test_a_run_that_shares_the_machine_takes_it_when_the_other_has_ended(tmp_path: Path) -> None:
    first, second = MachineLock(tmp_path, "first"), MachineLock(tmp_path, "second")
    assert first.acquire()
    assert first.neighbours() == ()
    assert second.neighbours() == (f"host: process {os.getpid()} (first)",)
    first.release()
    assert second.neighbours() == ()
    assert first.neighbours() == (f"host: process {os.getpid()} (second)",)
    second.release()


def test_what_cannot_be_flagged_does_not_share_the_machine() -> None:
    with (
        machine_for("a", share=False),
        pytest.raises(MeasurementError, match=r"each other; wait for it$"),
        machine_for("layers", share=None),
    ):
        pass
    steps: list[str] = []
    with machine_for("a", share=True, on_step=steps.append):
        assert steps == []
        with machine_for("b", share=True, on_step=steps.append) as second:
            assert not second.held
    assert "is measuring too; repetitions beside it are flagged as disturbed" in steps[0]


def test_a_run_waits_for_the_machine_as_long_as_was_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[str] = []
    slept_s: list[float] = []
    with machine_for("first", share=False) as first:

        def sleep(seconds: float) -> None:
            slept_s.append(seconds)
            if len(slept_s) == 3:
                first.release()

        monkeypatch.setattr(time, "sleep", sleep)
        with machine_for("second", share=False, wait_s=60.0, on_step=steps.append) as second:
            assert second.held
            assert len(slept_s) == 3
    holder = f"process {os.getpid()} (first)"
    assert steps == [f"{holder} is measuring on this machine; waiting for it"]
    now_s = iter(range(100))
    monkeypatch.setattr(time, "monotonic", lambda: float(next(now_s)))
    with (
        machine_for("first", share=False),
        pytest.raises(MeasurementError, match=r"\(first\) is measuring .*--wait-machine 1h"),
        machine_for("second", share=False, wait_s=10.0),
    ):
        pass


def test_machines_that_have_one_folder_do_not_lock_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = MachineLock(tmp_path, "here")
    monkeypatch.setattr(machine_lock, "boot_id", lambda: "of another machine")
    there = MachineLock(tmp_path, "there")
    assert here.acquire()
    assert there.acquire()
    here.release()
    there.release()


def test_a_machine_that_cannot_be_locked_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(machine_lock, "runtime_folder", full)
    with pytest.raises(MeasurementError, match=r"No space left .*; set XDG_RUNTIME_DIR to"):
        machine_for("a", share=False).__enter__()
