"""A busy machine is waited for, and then refused or measured; a quiet one costs one look."""

import subprocess
import sys
import time
from collections.abc import Sequence

import pytest

from greenbatch.errors import MeasurementError
from greenbatch.runners.host.cores import granted_cores
from greenbatch.runners.run.quiet import disturbing, wait_until_quiet

BUSY = ["others use 54% of the granted 2 cores"]


class Machine:
    """A machine on a clock of its own, on which others work for a while."""

    def __init__(self, busy_s: float) -> None:
        self.now_s = 0.0
        self.looks = 0
        self.steps: list[str] = []
        self._busy_s = busy_s

    def look(self) -> Sequence[str]:
        """Look for a second."""
        self.looks += 1
        self.now_s += 1.0
        return BUSY if self.now_s <= self._busy_s else []

    def sleep(self, seconds: float) -> None:
        """Wait."""
        self.now_s += seconds

    def begin(self, wait_s: float, *, refuse: bool = False) -> None:
        """Begin a run."""
        wait_until_quiet(
            self.look,
            wait_s,
            self.steps.append,
            refuse=refuse,
            clock=lambda: self.now_s,
            sleep=self.sleep,
        )


@pytest.mark.parametrize("refuse", [False, True])
def test_a_quiet_machine_is_looked_at_once(refuse: bool) -> None:
    machine = Machine(0.0)
    machine.begin(60.0, refuse=refuse)
    assert (machine.looks, machine.steps) == (1, [])


@pytest.mark.parametrize("refuse", [False, True])
def test_a_busy_machine_is_waited_for_until_two_looks_find_nothing(refuse: bool) -> None:
    machine = Machine(10.0)
    machine.begin(60.0, refuse=refuse)
    assert machine.now_s == 13.0
    assert machine.steps == [
        f"waiting up to 60 s for a quiet machine: {BUSY[0]}",
        "the machine is quiet after 13 s",
    ]


def test_one_that_stays_busy_is_measured_or_refused_as_asked() -> None:
    machine = Machine(1000.0)
    machine.begin(60.0)
    assert 60 <= machine.now_s <= 62
    assert machine.steps[-1].startswith("this machine is busy, and is measured all the same: oth")
    machine = Machine(1000.0)
    with pytest.raises(MeasurementError, match=r"is busy: others use 54% .* --on-busy measure$"):
        machine.begin(0.0, refuse=True)
    assert (machine.looks, machine.steps) == (1, [])


@pytest.mark.alone
def test_a_busy_core_is_seen() -> None:
    """Each granted core is loaded, so that there is no doubt."""
    code = "import time; end = time.time() + 20\nwhile time.time() < end: pass"
    loads = [
        subprocess.Popen([sys.executable, "-S", "-c", code])
        for _ in range(max(1, round(granted_cores())))
    ]
    try:
        time.sleep(0.2)
        found = disturbing(0.4, on_gpu=False)
    finally:
        for load in loads:
            load.kill()
            load.wait()
    assert found
    assert found[0].startswith("others use ")
