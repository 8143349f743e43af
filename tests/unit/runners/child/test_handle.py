"""A child that fails, dies or hangs costs its repetition and says how it ended."""

import os
import signal
import sys
import time

import psutil
import pytest

from greenbatch.records import Status
from greenbatch.runners.child import handle, main
from greenbatch.runners.child.handle import ChildFailed, ChildProcess
from greenbatch.runners.child.messages import Fits, Ready, TryBatch
from greenbatch.runners.training.messages import Trained
from tests.fakes.messages import LOAD

pytestmark = pytest.mark.alone


def test_a_child_that_is_killed_says_by_what() -> None:
    with ChildProcess(60.0) as process:
        os.kill(process.pid, signal.SIGTERM)
        with pytest.raises(ChildFailed, match="killed by SIGTERM while starting") as failure:
            process.event(Ready)
    assert failure.value.status is Status.ERROR


def test_a_child_that_aborts_for_lack_of_memory_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """C++ ends a process whose exception nobody catches."""
    words = "terminate called after throwing an instance of 'std::bad_alloc'"
    code = f"import os, sys; print({words!r}, file=sys.stderr, flush=True); os.abort()"
    monkeypatch.setattr(handle, "python_command", lambda *_: [sys.executable, "-S", "-c", code])
    with ChildProcess(60.0) as process, pytest.raises(ChildFailed, match="SIGABRT") as failure:
        process.event(Ready)
    assert failure.value.status is Status.OOM


def wait_in_vain(pids: list[int]) -> None:
    with ChildProcess(0.5) as process:
        pids.append(process.pid)
        process.event(Ready)  # no request was sent, so none comes


def test_a_child_that_hangs_is_stopped() -> None:
    pids: list[int] = []
    with pytest.raises(ChildFailed, match=r"longer than 0\.5 s") as failure:
        wait_in_vain(pids)
    assert failure.value.status is Status.TIMEOUT
    assert not psutil.pid_exists(pids[0])


def test_only_silence_is_limited_where_each_event_renews_the_time() -> None:
    with ChildProcess(8.0, renews=True) as process:
        process.begin("repetition", "onnxruntime-cpu")
        before_s = process._deadline_s
        process.event(Ready)
        assert process._deadline_s > before_s
        process._deadline_s = 0.0
        with pytest.raises(ChildFailed, match=r"it sent nothing for 8 s"):
            process.event(Trained, stage="training")


def test_a_child_that_fails_says_why() -> None:
    with ChildProcess(60.0) as process:
        process.begin("batch", "onnxruntime-cpu")
        with pytest.raises(ChildFailed, match=r"No such file or directory: '.*alexnet\.json'"):
            process.finish(TryBatch(load=LOAD), Fits)


def test_a_child_ends_with_its_parent() -> None:
    code = (
        "import os, signal, time\n"
        "from greenbatch.runners.child.handle import ChildProcess\n"
        "process = ChildProcess(60.0)\n"
        "time.sleep(1)\n"
        "print(process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    import subprocess
    import sys

    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    pid = int(told.stdout)
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the child outlived its parent"
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (MemoryError(), "oom"),
        (RuntimeError("CUDA out of memory. Tried to allocate 20 GiB"), "oom"),
        (RuntimeError("[ONNXRuntimeError] : 6 : Failed to allocate memory for requested"), "oom"),
        (ValueError("some rain"), "error"),
    ],
)
def test_failures_are_told_apart(error: BaseException, status: str) -> None:
    assert main._diagnose(error)[0] == status
