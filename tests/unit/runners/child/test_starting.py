"""A forked child is like a fresh interpreter, and a process that must not be forked is not."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

import psutil
import pytest

from greenbatch.records import Status
from greenbatch.runners import backends
from greenbatch.runners.backends.onnx_runtime.session import OnnxSession
from greenbatch.runners.child import fork_server, starting
from greenbatch.runners.child.handle import ChildFailed, ChildProcess, environment_with
from greenbatch.runners.child.messages import Fits, Ready, TryBatch
from greenbatch.runners.child.starting import ServerFailed, Starter
from tests.fakes.messages import LOAD

BACKEND = "onnxruntime-cpu"
pytestmark = [
    pytest.mark.alone,
    pytest.mark.skipif(sys.platform != "linux", reason="only Linux has fork servers"),
]


@pytest.fixture(scope="module")
def starter() -> Iterator[Starter]:
    """A starter whose server the tests share."""
    with Starter() as starter:
        yield starter


@pytest.fixture(autouse=True)
def _one_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pytest names the test in a variable, and a server belongs to one environment."""

    def without(environment: Mapping[str, str]) -> dict[str, str]:
        found = environment_with(environment)
        return {name: text for name, text in found.items() if name != "PYTEST_CURRENT_TEST"}

    monkeypatch.setattr(starting, "environment_with", without)


def ready(child: ChildProcess) -> int:
    """Wait until a child has imported what it needs; return its process id."""
    child.begin("batch", BACKEND)
    child.event(Ready)
    return child.pid


def wait_for_the_end(pid: int) -> None:
    """Wait until a process has ended; its server needs a moment to see it off."""
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid):
        assert time.monotonic() < deadline, "the process goes on"
        time.sleep(0.01)


def test_a_server_forks_one_child_after_another(starter: Starter) -> None:
    pids = set()
    for _ in range(2):
        with starter.start(BACKEND, 60.0) as child:
            assert child.isolation == "fork"
            pids.add(ready(child))
            (server,) = starter._servers.values()
            assert psutil.Process(child.pid).ppid() == server.pid
        wait_for_the_end(child.pid)
    assert len(pids) == 2


def test_a_forked_child_has_a_group_of_its_own_and_the_cores_of_its_parent(
    starter: Starter,
) -> None:
    before = os.sched_getaffinity(0)
    one = {min(before)}
    os.sched_setaffinity(0, one)
    try:
        with starter.start(BACKEND, 60.0) as child:
            pid = ready(child)
            assert os.getpgid(pid) == os.getsid(pid) == pid
            assert os.sched_getaffinity(pid) == one
    finally:
        os.sched_setaffinity(0, before)


def test_a_forked_child_that_is_killed_or_fails_says_so(starter: Starter) -> None:
    with starter.start(BACKEND, 60.0) as child:
        os.kill(child.pid, signal.SIGTERM)
        with pytest.raises(ChildFailed, match="killed by SIGTERM while starting") as failure:
            child.event(Ready)
    assert failure.value.status is Status.ERROR
    with starter.start(BACKEND, 60.0) as child:
        child.begin("batch", BACKEND)
        with pytest.raises(ChildFailed, match=r"No such file or directory: '.*alexnet\.json'"):
            child.finish(TryBatch(load=LOAD), Fits)


def hang(starter: Starter, pids: list[int]) -> None:
    """Wait for what does not come."""
    with starter.start(BACKEND, 0.3) as child:
        pids.append(child.pid)
        child.event(Ready)


def test_a_forked_child_that_hangs_is_stopped(starter: Starter) -> None:
    pids: list[int] = []
    with pytest.raises(ChildFailed, match=r"longer than 0\.3 s") as failure:
        hang(starter, pids)
    assert failure.value.status is Status.TIMEOUT
    wait_for_the_end(pids[0])
    with starter.start(BACKEND, 60.0) as child:
        assert child.isolation == "fork"  # the server goes on


def test_a_server_that_is_killed_costs_its_child_alone(starter: Starter) -> None:
    with starter.start(BACKEND, 60.0) as child:
        (server,) = starter._servers.values()
        os.kill(server.pid, signal.SIGKILL)
        with pytest.raises(ChildFailed, match="forked from ended while starting"):
            child.event(Ready)
    with starter.start(BACKEND, 60.0) as child:
        assert child.isolation == "fork"
        assert psutil.Process(child.pid).ppid() != server.pid


def test_a_forked_child_ends_with_the_process_that_asked_for_it() -> None:
    code = (
        "import os, signal\n"
        "from greenbatch.runners.child.starting import Starter\n"
        f"print(Starter().start({BACKEND!r}, 60.0).pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    wait_for_the_end(int(ended.stdout))


class _Refusing:
    """Stands for a server that cannot be had."""

    asked: list[tuple[str, str | None]]

    def __init__(self, backend: str, environment: Mapping[str, str]) -> None:
        self.asked.append((backend, environment.get("NVIDIA_TF32_OVERRIDE")))
        if environment.get("NVIDIA_TF32_OVERRIDE") == "1":
            raise ServerFailed("what it imports starts threads (1)")

    lives = True

    def close(self) -> None: ...


def test_each_environment_has_a_server_of_its_own_and_a_refusal_is_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def child(timeout_s: float, **how: Any) -> str:
        return str(how["isolation"])

    _Refusing.asked = []
    monkeypatch.setattr(starting, "ForkServer", _Refusing)
    monkeypatch.setattr(starting, "ChildProcess", child)
    starter = Starter()
    how: list[Any] = [
        starter.start(BACKEND, 1.0, {} if value is None else {"NVIDIA_TF32_OVERRIDE": value})
        for value in (None, "0", None, "1", "0")
    ]
    spawned = "spawn: what it imports starts threads (1)"
    assert how == ["fork", "fork", "fork", spawned, spawned]
    assert _Refusing.asked == [(BACKEND, None), (BACKEND, "0"), (BACKEND, "1")]
    asked: Any = Starter("spawn").start(BACKEND, 1.0)
    assert asked == "spawn"


def test_a_backend_that_does_not_declare_itself_is_not_forked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    heir: type[Any] = type("Heir", (OnnxSession,), {"packages": ("torch",)})
    monkeypatch.setattr(backends, "resolve", lambda spec: heir)
    reason = fork_server.preload(BACKEND)
    assert reason == f"the backend {BACKEND} does not declare what may be imported before a fork"


def test_a_process_with_a_thread_a_device_or_a_child_is_not_forked() -> None:
    """OpenBLAS has threads too, which end at a fork."""
    code = (
        "import subprocess, threading\n"
        "import numpy\n"
        "from greenbatch.runners.child import fork_server\n"
        "print(fork_server._threads(), fork_server.unsafe(after_trial=True))\n"
        "fork_server._DEVICES = ('/dev/zero',)\n"
        "with open('/dev/zero'): print(fork_server.unsafe())\n"
        "with subprocess.Popen(['sleep', '9']) as child:\n"
        "    print(fork_server.unsafe())\n"
        "    child.kill()\n"
        "print(fork_server.unsafe())\n"
        "threading.Timer(0.3, lambda: None).start()\n"
        "fork_server._ENDING_S = 0.1\n"
        "print(fork_server.unsafe(after_trial=True))\n"
    )
    env = {key: value for key, value in os.environ.items() if not key.endswith("_NUM_THREADS")}
    env["OPENBLAS_NUM_THREADS"] = "2"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False
    )
    assert done.stdout.splitlines() == [
        "2 None",
        "what it imports opens /dev/zero, which does not work in a fork",
        "what it imports starts processes, which a fork would share",
        "None",
        "what it imports starts threads (1), which a fork would not copy",
    ], done.stderr


def test_a_forked_child_has_a_memory_peak_of_its_own() -> None:
    code = (
        "import os\n"
        "from greenbatch.runners.child.system import peak_memory_bytes\n"
        "large = bytearray(200 << 20)\n"
        "del large\n"
        "before = peak_memory_bytes()[0]\n"
        "pid = os.fork()\n"
        "if pid: os.waitpid(pid, 0)\n"
        "else:\n"
        "    taken = bytearray(30 << 20)\n"
        "    print(before >> 20, peak_memory_bytes()[0] >> 20, peak_memory_bytes()[1] >> 20)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    parent, own, started = map(int, done.stdout.split())
    assert parent > 200
    assert 30 < own < 150
    assert started == 0
