"""Steps end in time, and a fault in one stops nothing else."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.gpu_check import children
from benchmarks.gpu_check.lines import Line, Verdict
from benchmarks.gpu_check.steps import Check, Step, take


def good(check: Check, limit_s: float) -> Iterator[Line]:
    """A step with one line."""
    yield Line(f"within {limit_s:.0f} s")


def broken(check: Check, limit_s: float) -> Iterator[Line]:
    """A step that ends in an error after its first line."""
    yield Line("first")
    raise RuntimeError("the device fell off")


def lacking(check: Check, limit_s: float) -> Iterator[Line]:
    """A step that needs a package that is nowhere."""
    yield Line("first")
    import nowhere_at_all  # type: ignore[import-not-found]  # noqa: F401


def check_in(folder: Path) -> Check:
    """Return what steps share."""
    return Check(folder, folder, ("alexnet",))


def test_a_fault_in_a_step_is_a_line_and_the_next_step_runs(tmp_path: Path) -> None:
    steps = [Step("A", 60, broken), Step("B", 60, lacking), Step("C", 60, good)]
    shown: list[int] = []
    taken = take(steps, check_in(tmp_path), 600, lambda so_far: shown.append(len(so_far)))
    verdicts = [[line.verdict for line in step.lines] for step in taken]
    ok, failed, not_run = Verdict.OK, Verdict.FAILED, Verdict.NOT_RUN
    assert verdicts == [[ok, failed], [ok, not_run], [ok]]
    assert taken[0].lines[1].reason == "the step ended: RuntimeError: the device fell off"
    assert taken[1].lines[1].reason == "the package nowhere_at_all is not installed"
    assert shown[-1] == 3


def test_an_interruption_keeps_what_was_found(tmp_path: Path) -> None:
    def interrupted(check: Check, limit_s: float) -> Iterator[Line]:
        yield Line("first")
        raise KeyboardInterrupt

    taken = take([Step("A", 60, interrupted), Step("B", 60, good)], check_in(tmp_path), 600)
    (step,) = taken
    assert [line.verdict for line in step.lines] == [Verdict.OK, Verdict.NOT_RUN]
    assert step.lines[1].reason == "the check was interrupted"


def test_what_does_not_fit_into_the_time_of_all_is_not_run(tmp_path: Path) -> None:
    instants = iter(range(0, 1000, 25))
    steps = [Step("A", 60, good), Step("B", 300, good), Step("C", 60, good)]
    taken = take(steps, check_in(tmp_path), 150, clock=lambda: float(next(instants)))
    # Each look at the clock takes 25 s: two steps are begun after 25 and 100 s.
    assert [step.limit_s for step in taken] == [60, 50, -25]
    assert taken[2].lines[0].verdict is Verdict.NOT_RUN
    assert taken[2].lines[0].reason == "the 150 s of the check were used up"


def test_how_a_process_ended_is_a_sentence(tmp_path: Path) -> None:
    log = tmp_path / "log.txt"
    assert children.run(["-c", "print(1)"], log, 30).reason == ""
    ended = children.run(["-c", "raise SystemExit('no device')"], log, 30)
    assert ended.reason == "it ended with exit code 1: no device"
    assert not ended.lacks_package
    ended = children.run(["-c", "import os; os.abort()"], log, 30)
    assert ended.reason == "it was killed by signal 6: it printed nothing"
    ended = children.run(["-c", "import nowhere_at_all"], log, 30)
    assert ended.lacks_package


@pytest.mark.alone
@pytest.mark.slow
def test_a_process_that_takes_too_long_ends_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(children, "_GRACE_S", 0.3)
    log = tmp_path / "log.txt"
    code = (
        "import signal, subprocess, sys, time\n"
        "signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    ended = children.run(["-c", code], log, 2.0)
    assert ended.code is None
    assert ended.reason == "the time limit of 2 s was reached"
    pid = int(log.read_text())
    for _ in range(100):
        if not _runs(pid):
            break
        time.sleep(0.05)
    assert not _runs(pid)


def _runs(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z" and os.path.exists(f"/proc/{pid}")  # noqa: PTH110
