"""The closed loop and its warm-up, on a clock that the tests turn."""

import math
import random

import pytest

from greenbatch.design.protocol import PROFILES
from greenbatch.runners.scenarios import offline
from greenbatch.runners.scenarios.steady import is_steady

QUICK = PROFILES["quick"]


class Machine:
    """A backend whose n-th run takes what ``latency_s(n)`` says."""

    def __init__(self, latency_s) -> None:  # type: ignore[no-untyped-def]
        self.now_s = 100.0
        self.runs = 0
        self._latency_s = latency_s

    def clock(self) -> float:
        return self.now_s

    def run(self) -> None:
        self.now_s += self._latency_s(self.runs)
        self.runs += 1


@pytest.mark.slow
def test_the_window_holds_energy_and_latency_of_the_same_iterations() -> None:
    machine = Machine(lambda n: 0.03)
    window = offline.measure(machine.run, machine.clock, window_s=0.5, iterations=2)
    assert len(window.latencies_s) == machine.runs == 17
    assert sum(window.latencies_s) == pytest.approx(window.end_s - window.start_s)
    assert window.end_s - window.start_s >= 0.5


@pytest.mark.slow
def test_a_slow_cell_still_gets_its_iterations() -> None:
    machine = Machine(lambda n: 4.0)
    window = offline.measure(machine.run, machine.clock, window_s=0.5, iterations=3)
    assert window.latencies_s == [4.0, 4.0, 4.0]


def test_warm_up_lasts_until_a_drift_has_ended() -> None:
    machine = Machine(lambda n: 0.010 * (1 + 4 * math.exp(-n / 50)))
    warm_up = offline.warm_up(machine.run, machine.clock, PROFILES["standard"], 0.05)
    assert warm_up.settled
    assert machine.runs > 200  # by then it is within 8 % of where it goes
    assert warm_up.iterations == machine.runs


def test_a_steady_cell_is_warm_at_once() -> None:
    machine = Machine(lambda n: 0.5 if n == 0 else 0.05)
    warm_up = offline.warm_up(machine.run, machine.clock, QUICK, 0.9)
    assert warm_up.settled
    assert warm_up.duration_s < 1.5


def test_a_cell_that_never_settles_is_given_up_and_said_so() -> None:
    machine = Machine(lambda n: 0.01 * 1.01**n)
    warm_up = offline.warm_up(machine.run, machine.clock, PROFILES["rigorous"], 0.01)
    assert not warm_up.settled
    assert warm_up.duration_s >= PROFILES["rigorous"].warm_up_max_s


def test_noise_without_drift_is_steady_and_drift_under_noise_is_not() -> None:
    rng = random.Random(1)
    noise = [0.01 * rng.uniform(0.9, 1.3) for _ in range(600)]
    assert is_steady(noise, 0.05)
    assert not is_steady([s * (1 - n / 1000) for n, s in enumerate(noise)], 0.05)


def test_a_cell_of_seconds_is_warm_when_its_first_inferences_agree() -> None:
    machine = Machine(lambda n: 5.0)
    warm_up = offline.warm_up(machine.run, machine.clock, QUICK, first_s=5.2)
    assert warm_up.settled
    assert machine.runs == 1
    machine = Machine(lambda n: 5.0)
    assert not offline.warm_up(machine.run, machine.clock, QUICK, first_s=9.0).settled


@pytest.mark.parametrize("latencies", [[], [1.0]])
def test_too_short_a_series_is_not_called_steady(latencies: list[float]) -> None:
    assert not is_steady(latencies, 0.1)
