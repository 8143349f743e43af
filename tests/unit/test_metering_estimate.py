"""The estimate from CPU time."""

import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from greenbatch.errors import UsageError
from greenbatch.records import EnergySource
from greenbatch.runners.metering import MeterOptions, Recorder
from greenbatch.runners.metering.estimate import EstimateMeter
from greenbatch.runners.metering.process_tree import ProcessTree

BUSY = "import sys, time\nprint('on', flush=True)\nwhile time.process_time() < {}: pass\n"
# a child that works in a grandchild, waits for it, and stays
NESTED = (
    "import subprocess, sys, time\n"
    f"subprocess.run([sys.executable, '-c', {BUSY.format(0.6)!r}])\n"
    "print('done', flush=True)\nsys.stdin.read()\n"
)


class SetClock:
    """A clock that stands until it is moved."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def _energy_j(meter: EstimateMeter) -> float:
    energy_j = meter.read()["cpu-estimate"].energy_j
    assert energy_j is not None
    return energy_j


def _band_j(meter: EstimateMeter, power_w: float) -> float:
    (domain,) = meter.domains
    return domain.band_relative * power_w + domain.band_power_w


def _wait_for(condition: Callable[[], bool]) -> None:
    end_s = time.perf_counter() + 10
    while not condition():
        assert time.perf_counter() < end_s
        time.sleep(0.01)


def test_at_rest_each_granted_thread_draws_its_minimum() -> None:
    clock = SetClock()
    meter = EstimateMeter(clock, cores=4)
    clock.now_s += 10
    assert _energy_j(meter) == pytest.approx(4 * 0.74 * 10)


def test_cpu_time_adds_the_difference_to_the_maximum() -> None:
    clock = SetClock()
    meter = EstimateMeter(clock, cores=2)
    meter.follow(os.getpid())
    start_s = time.process_time()
    while time.process_time() < start_s + 0.3:
        pass
    used_s = time.process_time() - start_s
    assert _energy_j(meter) == pytest.approx(used_s * (3.5 - 0.74), rel=0.15)


def test_what_the_process_used_before_it_was_followed_is_not_counted() -> None:
    assert time.process_time() > 0.1
    meter = EstimateMeter(SetClock(), cores=2)
    meter.follow(os.getpid())
    assert _energy_j(meter) < 0.1 * (3.5 - 0.74)


def test_a_descendants_time_counts_and_stays_when_it_has_gone() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", NESTED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout
        tree = ProcessTree(child.pid, time.perf_counter)
        seen_s = [0.0]
        while seen_s[-1] < 0.4:  # the grandchild works
            time.sleep(0.02)
            seen_s.append(tree.cpu_s())
        assert child.stdout.readline() == "on\n"
        assert child.stdout.readline() == "done\n"
        seen_s.append(tree.cpu_s())
        child.kill()
    seen_s.append(tree.cpu_s())
    assert seen_s == sorted(seen_s)
    assert 0.4 <= seen_s[-1] <= 1.0


def test_energy_never_falls_when_another_process_is_followed() -> None:
    meter = EstimateMeter(time.perf_counter, cores=2)
    energies_j = [_energy_j(meter)]
    for _ in range(2):
        with subprocess.Popen(
            [sys.executable, "-c", BUSY.format(0.1)], stdout=subprocess.DEVNULL
        ) as child:
            meter.follow(child.pid)
            energies_j.append(_energy_j(meter))
        energies_j.append(_energy_j(meter))
    meter.follow(None)
    energies_j.append(_energy_j(meter))
    assert energies_j == sorted(energies_j)


def test_following_a_process_that_has_gone_counts_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        pass
    meter = EstimateMeter(SetClock(), cores=2)
    meter.follow(child.pid)
    assert _energy_j(meter) == 0.0


def test_the_band_reaches_the_hungriest_processor_of_the_data_set() -> None:
    meter = EstimateMeter(SetClock(), cores=2)
    assert 2 * 0.74 + _band_j(meter, 2 * 0.74) == pytest.approx(2 * 1.90)
    assert 2 * 3.5 + _band_j(meter, 2 * 3.5) == pytest.approx(2 * 5.99)
    assert 2 * 3.5 - _band_j(meter, 2 * 3.5) <= 2 * 1.64
    assert 2 * 0.74 - _band_j(meter, 2 * 0.74) <= 2 * 0.47


def test_a_known_tdp_takes_the_place_of_the_maximum() -> None:
    meter = EstimateMeter.open(MeterOptions(cores=4, cpu_tdp_w=60.0))
    assert "15 W" in str(meter.domains[0].note)
    with pytest.raises(UsageError, match="give a higher cpu_tdp_w"):
        EstimateMeter.open(MeterOptions(cores=4, cpu_tdp_w=2.0))
    with pytest.raises(UsageError, match="cores is 0"):
        EstimateMeter.open(MeterOptions(cores=0))


def test_a_recorded_estimate_says_that_it_is_one_and_how_wrong_it_may_be() -> None:
    meter = EstimateMeter(time.perf_counter, cores=2)
    with Recorder([meter]) as recorder:
        time.sleep(0.15)
        t0_s = time.perf_counter()
        time.sleep(0.3)
        t1_s = time.perf_counter()
        _wait_for(lambda: recorder.settle(t1_s))
        (figure,) = recorder.energy(t0_s, t1_s)
    assert figure.source is EnergySource.ESTIMATED
    assert figure.energy_j == pytest.approx(2 * 0.74 * (t1_s - t0_s), rel=0.1)
    assert figure.energy_j is not None
    assert figure.uncertainty_j is not None
    assert figure.uncertainty_j > 1.5 * figure.energy_j
    assert "Cloud Carbon Footprint" in str(figure.reason)
