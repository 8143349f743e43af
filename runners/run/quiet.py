"""Whether a machine is quiet enough to begin, and how long that is waited for.

A run that begins on a busy machine has its repetitions flagged one by one, and measured again at
the end of their block: it takes twice as long and ends in wide intervals. So what disturbs is
looked at before the first cell.
"""

import time
from collections.abc import Callable, Sequence

from greenbatch.errors import MeasurementError
from greenbatch.runners.doctor import disturbances, gpus, machine
from greenbatch.units import si

_PASSING = ("load", "swap", "gpu")  # what may end by itself; others are the machine's own
_PAUSE_S = 1.0
_LOOKS = 2  # in a row that must find nothing, once something was found


def disturbing(look_s: float, *, on_gpu: bool) -> list[str]:
    """Say what disturbs now and may end: load by others, swapping, other GPU processes, throttling.

    Args:
        look_s: How long the machine is watched, in s.
        on_gpu: Whether a GPU is going to be measured.
    """
    found_gpus = gpus.look() if on_gpu else gpus.Gpus()
    found = disturbances.look(machine.look(), found_gpus, machine.sysfs_root(), look_s)
    return [each.text for each in found if each.disturbs and each.code in _PASSING]


def wait_until_quiet(
    look: Callable[[], Sequence[str]],
    wait_s: float,
    on_step: Callable[[str], None] = lambda sentence: None,
    *,
    refuse: bool = False,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Wait until nothing disturbs that may end, for some time at the most.

    Args:
        look: Says what disturbs now; see `disturbing`.
        wait_s: The longest wait, in s.
        on_step: Receives a sentence where something disturbs.
        refuse: Refuse a machine that does not become quiet; else it is measured all the same.
        clock, sleep: Passed in by tests.

    Raises:
        MeasurementError: It did not become quiet, and is refused.
    """
    began_s = clock()
    found = look()
    if found and wait_s:
        on_step(f"waiting up to {si(wait_s, 's')} for a quiet machine: {'; '.join(found)}")
    quiet = 0 if found else _LOOKS
    while quiet < _LOOKS and clock() - began_s < wait_s:
        sleep(_PAUSE_S)
        now = look()
        found, quiet = now or found, 0 if now else quiet + 1
    if quiet >= _LOOKS:
        if found:
            on_step(f"the machine is quiet after {si(clock() - began_s, 's')}")
        return
    why = "; ".join(found)
    if refuse:
        raise MeasurementError(
            f"this machine is busy: {why}; or wait longer, e.g. with --wait-quiet 10m, or measure "
            "all the same with --on-busy measure"
        )
    on_step(f"this machine is busy, and is measured all the same: {why}")
