"""The CPU time of process trees, against what the kernel's accounting says."""

import ctypes
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest import mock

import psutil
import pytest

from greenbatch.runners.metering.sources import process_tree
from greenbatch.runners.metering.sources.process_tree import ProcessTree

pytestmark = pytest.mark.alone


PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
TICK_S = 1 / os.sysconf("SC_CLK_TCK")
BUSY = "import time\nwhile time.process_time() < {}: pass\n"  # counted from the process's start
MORE = BUSY.format(0.4) + "print('done', flush=True)\nsys.stdin.read()\n"
STAY = "import sys\nprint('done', flush=True)\nsys.stdin.read()\n"


@dataclass
class SetClock:
    """A clock that stands until it is moved."""

    now_s: float = 0.0

    def __call__(self) -> float:
        return self.now_s


def _waited_s() -> float:
    """Return the CPU time of this process's children that it has waited for, and of theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _until(condition: Callable[[], bool]) -> None:
    end_s = time.perf_counter() + 20
    while not condition():
        assert time.perf_counter() < end_s, "it did not come to pass within 20 s"
        time.sleep(0.01)


@contextmanager
def _running(*command: str) -> Iterator["subprocess.Popen[str]"]:
    """Run a command that says a line when it has done its work, and ends when its input does."""
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            yield child
        finally:
            child.kill()


def _line(child: "subprocess.Popen[str]") -> str:
    assert child.stdout
    return child.stdout.readline().strip()


def _finish(child: "subprocess.Popen[str]") -> None:
    assert child.stdin
    child.stdin.close()
    child.wait()


def _python(code: str) -> tuple[str, ...]:
    return sys.executable, "-S", "-c", code


def _running_child(code: str) -> str:
    """Return code that runs other code in a child and waits for it."""
    return f"import subprocess, sys\nsubprocess.run([sys.executable, '-S', '-c', {code!r}])\n"


# Each burner lives for some 10 ms: less than the time between two looks.
SHORT_LIVED = """
i=0
while [ $i -lt 40 ]; do
    (k=0; while [ $k -lt 8000 ]; do k=$((k+1)); done)
    i=$((i+1))
done
echo done
read -r _
"""


@pytest.mark.parametrize("pause_s", [0.001, 0.03, None])
def test_short_lived_children_are_counted_whole_however_seldom_it_looks(
    pause_s: float | None,
) -> None:
    before_s = _waited_s()
    with _running("sh", "-c", SHORT_LIVED) as child:
        clock = SetClock()
        tree = ProcessTree(child.pid, clock)
        seen_s = [tree.cpu_s()]
        done_s = time.perf_counter() + 0.3
        while pause_s is not None and time.perf_counter() < done_s:
            clock.now_s += 0.5  # every look searches for new ones
            seen_s.append(tree.cpu_s())
            time.sleep(pause_s)
        assert _line(child) == "done"
        seen_s.append(tree.cpu_s())
        _finish(child)
    seen_s.append(tree.cpu_s())
    truth_s = _waited_s() - before_s
    assert truth_s > 0.1
    assert seen_s == sorted(seen_s)
    # user and system time, of the shell and of its children, are each stated in whole ticks
    assert seen_s[-1] == pytest.approx(truth_s, abs=5 * TICK_S)


def test_three_generations_count_once_while_they_live_and_after() -> None:
    middle = _running_child(BUSY.format(0.15)) + BUSY.format(0.15)
    oldest = _running_child(middle) + BUSY.format(0.15)
    before_s = _waited_s()
    with _running(*_python(oldest + STAY)) as child:
        clock = SetClock()
        tree = ProcessTree(child.pid, clock)
        seen_s = [tree.cpu_s()]
        while seen_s[-1] < 0.35:
            time.sleep(0.005)
            clock.now_s += 0.5  # every look searches for new ones
            seen_s.append(tree.cpu_s())
        assert _line(child) == "done"
        seen_s.append(tree.cpu_s())
        _finish(child)
    seen_s.append(tree.cpu_s())
    assert seen_s == sorted(seen_s)
    assert seen_s[-1] == pytest.approx(_waited_s() - before_s, abs=5 * TICK_S)


WAITING = BUSY.format(0.2) + "import sys\nprint('worked', flush=True)\nsys.stdin.readline()\n"


def _say(child: "subprocess.Popen[str]", line: str) -> None:
    assert child.stdin
    child.stdin.write(f"{line}\n")
    child.stdin.flush()


def test_generations_that_go_between_two_looks_move_up_to_the_one_that_stays() -> None:
    before_s = _waited_s()
    with _running(*_python(_running_child(_running_child(WAITING)) + STAY)) as child:
        clock = SetClock()
        tree = ProcessTree(child.pid, clock)
        assert _line(child) == "worked"
        clock.now_s = 1.0
        assert tree.cpu_s() >= 0.2 - 3 * TICK_S  # all three are seen, each to a tick
        _say(child, "go")
        assert _line(child) == "done"  # two have gone
        seen_s = tree.cpu_s()
        _finish(child)
    assert seen_s == pytest.approx(_waited_s() - before_s, abs=5 * TICK_S)


def test_a_child_that_goes_after_its_parent_was_read_counts_once() -> None:
    before_s = _waited_s()
    with _running(*_python(_running_child(WAITING) + STAY)) as child:
        clock = SetClock()
        tree = ProcessTree(child.pid, clock)
        assert _line(child) == "worked"
        clock.now_s = 1.0
        tree.cpu_s()
        read = process_tree._read

        def late(process: psutil.Process) -> process_tree._Usage:
            if process.pid != child.pid and child.poll() is None and not went:
                went.append(process.pid)
                _say(child, "go")
                assert _line(child) == "done"
            return read(process)

        went: list[int] = []
        with mock.patch.object(process_tree, "_read", late):
            tree.cpu_s()
        assert went
        seen_s = tree.cpu_s()
        _finish(child)
    assert seen_s == pytest.approx(_waited_s() - before_s, abs=5 * TICK_S)


ORPHAN = f"""
import os, signal
parent = os.getppid()
print(os.getpid(), flush=True)
while os.getppid() == parent: signal.sigtimedwait([], 0.01)
{BUSY.format(0.3)}
print('alone', flush=True)
signal.pause()
"""
LEAVING = f"""
import subprocess, sys
subprocess.Popen([sys.executable, '-S', '-c', {ORPHAN!r}])
sys.stdin.readline()
"""


@contextmanager
def _adopting() -> Iterator[None]:
    """Make this process, in the place of init, the one that waits for orphans."""
    libc = ctypes.CDLL(None)
    assert libc.prctl(PR_SET_CHILD_SUBREAPER, 1) == 0
    try:
        yield
    finally:
        libc.prctl(PR_SET_CHILD_SUBREAPER, 0)


def test_an_orphan_counts_while_it_lives_and_keeps_what_it_was_seen_to_use() -> None:
    with _adopting(), _running(*_python(_running_child(LEAVING) + WAITING + MORE)) as child:
        orphan = int(_line(child))
        try:
            tree = ProcessTree(child.pid, SetClock())
            _say(child, "leave")
            assert {_line(child), _line(child)} == {"alone", "worked"}
            last_s = tree.cpu_s()
            assert last_s >= 0.5 - 8 * TICK_S
        finally:
            os.kill(orphan, signal.SIGKILL)
        os.waitpid(orphan, 0)
        _say(child, "go on")
        assert _line(child) == "done"
        assert tree.cpu_s() == pytest.approx(last_s + 0.2, abs=5 * TICK_S)


def test_children_that_are_not_waited_for_keep_what_they_were_seen_to_use() -> None:
    # with SIGCHLD ignored the kernel clears children away, and adds their time to nobody's
    code = (
        "import os, signal, sys\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        "if not os.fork():\n"
        "    import time\n"
        "    while time.process_time() < 0.3: pass\n"
        "    print(os.getpid(), flush=True)\n"
        "    sys.stdin.read()\n"
        "sys.stdin.readline()\n"
    )
    with _running(*_python(code + BUSY.format(0.2) + STAY)) as child:
        clock = SetClock()
        tree = ProcessTree(child.pid, clock)
        worker = int(_line(child))
        clock.now_s = 1.0
        last_s = tree.cpu_s()
        assert last_s >= 0.3 - 4 * TICK_S
        os.kill(worker, signal.SIGKILL)
        _until(lambda: not _lives(worker))
        _say(child, "go on")
        assert _line(child) == "done"
        assert tree.cpu_s() == pytest.approx(last_s + 0.2, abs=5 * TICK_S)


def test_what_a_tree_had_used_before_is_not_counted_when_it_ends() -> None:
    code = _running_child(BUSY.format(0.2)) + BUSY.format(0.2)
    with _running(*_python(code + STAY)) as child:
        assert _line(child) == "done"
        tree = ProcessTree(child.pid, time.perf_counter)
        _finish(child)
        assert tree.cpu_s() <= 3 * TICK_S


def test_a_process_that_has_gone_has_used_nothing() -> None:
    with subprocess.Popen(_python("")) as child:
        pass
    assert ProcessTree(child.pid, time.perf_counter).cpu_s() == 0.0


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
