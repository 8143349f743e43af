"""A child that fails, dies or hangs costs its repetition and says how it ended."""

import os
import signal
import sys
import time
from types import SimpleNamespace

import psutil
import pytest

from greenbatch.records import Status
from greenbatch.runners.child import handle, jobs, main
from greenbatch.runners.child.handle import ChildFailed, ChildProcess
from greenbatch.runners.child.messages import Fits, Order, Ready, TryBatch, encode
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

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    pid = int(ran.stdout)
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the child outlived its parent"
        time.sleep(0.05)


def test_the_wait_for_the_request_is_no_part_of_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now_s=100.0)
    lines = [b"a request", encode(Order(job="batch", backend="onnxruntime-cpu"))]
    starts_s: list[float] = []

    def passes(seconds: float) -> None:
        clock.now_s += seconds

    def readline() -> bytes:
        passes(0.0 if len(lines) > 1 else 60.0)
        return lines.pop()

    def answer(line: bytes, send: object, born_s: float) -> None:
        starts_s.append(clock.now_s - born_s)
        raise ValueError("it ends here")

    monkeypatch.setattr(main, "time", SimpleNamespace(perf_counter=lambda: clock.now_s))
    monkeypatch.setattr(main, "_channel", lambda: lambda message: None)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=SimpleNamespace(readline=readline)))
    monkeypatch.setattr(jobs, "resolve", lambda job: answer)
    monkeypatch.setattr(jobs, "prepare", lambda backend: passes(2.0))
    assert main.do_job(99.0) == 1
    assert starts_s == [3.0]


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
