"""The open loop: on a clock that the tests turn, and with the real generator."""

import math
import time
from collections.abc import Callable
from typing import Self

import numpy as np
import pytest

from greenbatch.errors import MeasurementError
from greenbatch.queueing.arrivals import parse_arrivals
from greenbatch.queueing.policies import parse_policy
from greenbatch.queueing.served import Served
from greenbatch.queueing.simulation import simulate
from greenbatch.runners.scenarios import generator as generator_module
from greenbatch.runners.scenarios.generator import Generator
from greenbatch.runners.scenarios.server import serve

pytestmark = pytest.mark.alone


POLICIES = ["fixed:1", "fixed:8", "greedy:1", "greedy:8", "dynamic:8:30ms", "dynamic:8:inf"]


class World:
    """A clock, requests that arrive on it, and a server that takes its time."""

    def __init__(
        self,
        arrivals_s: np.ndarray,
        service: Callable[[int], float],
        late_s: float = 0.0,
    ) -> None:
        self.now_s = 100.0
        self._arrivals_s = arrivals_s
        self._service = service
        self._late_s = late_s
        self._handed_over_s = np.empty(0)

    def clock(self) -> float:
        return self.now_s

    def run(self, size: int) -> None:
        self.now_s += self._service(size)

    def begin(self, start_s: float) -> np.ndarray:
        planned_s = start_s + self._arrivals_s
        self._handed_over_s = planned_s + self._late_s
        return planned_s

    def handed_over(self, known: int, until_s: float) -> int:
        next_s = self._handed_over_s[known] if known < len(self._handed_over_s) else math.inf
        self.now_s = max(self.now_s, min(next_s, until_s))
        return int(np.searchsorted(self._handed_over_s, self.now_s, side="right"))

    def finish(self) -> tuple[np.ndarray, float]:
        return self._handed_over_s, 0.0


def _same(got: Served, wanted: Served, from_s: float) -> None:
    assert got.batch_size.tolist() == wanted.batch_size.tolist()
    assert got.waiting.tolist() == wanted.waiting.tolist()
    assert got.flushed == wanted.flushed
    assert got.start_s - from_s == pytest.approx(wanted.start_s, abs=1e-9)
    assert got.end_s - from_s == pytest.approx(wanted.end_s, abs=1e-9)


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("arrivals", ["poisson", "uniform", "bursty:4:1s"])
def test_the_server_does_what_the_simulation_says(arrivals: str, policy: str) -> None:
    arrivals_s = parse_arrivals(arrivals).times(50.0, seed=1, count=999)

    def service(size: int) -> float:
        return 0.0151 + 0.0037 * size

    world = World(arrivals_s, service)
    loop = serve(world.run, parse_policy(policy), world, world.clock)
    _same(loop.served, simulate(arrivals_s, parse_policy(policy), service), loop.window[0])


def test_a_response_runs_from_the_planned_arrival_however_late_the_request_is_handed_over() -> None:
    arrivals_s = np.array([0.0, 1.0, 2.0])
    world = World(arrivals_s, lambda size: 0.1, late_s=0.3)
    loop = serve(world.run, parse_policy("greedy:4"), world, world.clock)
    assert loop.served.response_s == pytest.approx(0.4)
    assert loop.lateness_s == pytest.approx(0.3)
    assert loop.late
    punctual = World(arrivals_s, lambda size: 0.1, late_s=0.0019)
    assert not serve(punctual.run, parse_policy("greedy:4"), punctual, punctual.clock).late


def test_one_batch_that_hangs_is_seen_by_all_that_it_kept_waiting() -> None:
    # Timed from the start of service, 1 of 100 requests would be slow; in truth 1 s is 50 of them.
    slow = iter([1.0] + [0.001] * 200)
    world = World(np.arange(100) * 0.02, lambda size: next(slow))
    loop = serve(world.run, parse_policy("fixed:1"), world, world.clock)
    assert np.count_nonzero(loop.served.response_s > 0.01) >= 50


def test_the_window_begins_after_the_lead_and_ends_with_the_last_arrival() -> None:
    world = World(np.arange(1, 101) * 0.1, lambda size: 0.04)
    loop = serve(world.run, parse_policy("fixed:8"), world, world.clock, lead_s=2.05)
    start_s, end_s = loop.window
    assert end_s - start_s == pytest.approx(10.0 - 2.05)
    # planned in [2.05, 10): number 21 to 99, less those of the flushed batch (97 to 100)
    assert len(loop.response_s) == 76
    # full batches that end in the window: those filled at 2.4, 3.2, ... 9.6
    assert loop.completed == 10 * 8
    assert loop.busy_s == pytest.approx(10 * 0.04)
    assert loop.served.flushed


def test_the_rest_of_an_overloaded_queue_is_served_after_the_window() -> None:
    world = World(np.arange(1, 101) * 0.1, lambda size: 0.2)
    loop = serve(world.run, parse_policy("greedy:1"), world, world.clock)
    assert len(loop.served.end_s) == 100
    assert loop.completed == 49
    assert loop.busy_s == pytest.approx(9.9)
    assert loop.response_s[-1] == pytest.approx(0.1 + 99 * 0.2 - 9.9)


@pytest.mark.parametrize("arrivals_s", [np.empty(0), np.array([0.1, 0.9])])
def test_a_lead_that_leaves_no_request_is_refused(arrivals_s: np.ndarray) -> None:
    world = World(arrivals_s, lambda size: 0.1)
    with pytest.raises(MeasurementError, match="none after the lead of 1 s"):
        serve(world.run, parse_policy("greedy:1"), world, world.clock, lead_s=1.0)


@pytest.mark.parametrize("policy", ["fixed:16", "greedy:16", "dynamic:16:20ms"])
def test_requests_of_the_real_generator_are_all_served(policy: str) -> None:
    arrivals_s = parse_arrivals("poisson").times(200.0, seed=1, count=100)
    with Generator(arrivals_s) as generator:
        loop = serve(
            lambda size: time.sleep(0.005), parse_policy(policy), generator, time.perf_counter
        )
    served = loop.served
    assert len(served.end_s) == 100
    assert served.arrival_s - loop.window[0] == pytest.approx(arrivals_s, abs=1e-6)
    assert (loop.lateness_s >= 0).all()
    # no request is started before it was handed over, and a batch takes no less than it sleeps
    assert (served.start_s >= loop.handed_over_s).all()
    assert (served.batch_end_s - served.batch_start_s >= 0.005).all()
    assert set(served.batch_size[: len(served.batch_size) - served.flushed]) <= set(
        parse_policy(policy).batch_sizes()
    )
    assert 0 < loop.generator_cpu_s < 5


def test_arrivals_do_not_wait_for_a_server_that_is_busy() -> None:
    arrivals_s = np.linspace(0.0, 0.2, 50)
    with Generator(arrivals_s) as generator:
        planned_s = generator.begin(time.perf_counter() + 0.02)
        time.sleep(0.5)
        asked_s = time.perf_counter()
        assert generator.handed_over(0, -math.inf) == 50
        handed_over_s, _ = generator.finish()
    assert (handed_over_s < asked_s).all()
    assert (handed_over_s >= planned_s).all()


def test_asking_waits_for_the_next_request_or_until_the_instant_given() -> None:
    with Generator(np.array([0.05, 30.0])) as generator:
        planned_s = generator.begin(time.perf_counter())
        assert generator.handed_over(0, -math.inf) == 0
        assert generator.handed_over(0, math.inf) == 1
        assert time.perf_counter() >= planned_s[0]
        until_s = time.perf_counter() + 0.05
        assert generator.handed_over(1, until_s) == 1
        assert time.perf_counter() >= until_s


def test_after_the_last_request_asking_still_waits_until_the_instant_given() -> None:
    with Generator(np.array([0.0])) as generator:
        generator.begin(time.perf_counter())
        assert generator.handed_over(0, math.inf) == 1
        for _ in range(2):
            until_s = time.perf_counter() + 0.05
            assert generator.handed_over(1, until_s) == 1
            assert time.perf_counter() >= until_s


class Dying(Generator):
    """A generator that is killed once it has begun."""

    def begin(self, start_s: float) -> np.ndarray:
        planned_s = super().begin(start_s)
        self.handed_over(0, math.inf)
        self._process.kill()
        return planned_s

    def __enter__(self) -> Self:
        return self


def test_a_generator_that_dies_is_told_and_not_waited_for() -> None:
    with (
        Dying(np.array([0.01, 30.0, 31.0])) as generator,
        pytest.raises(MeasurementError, match="has ended after 1 of 3 requests"),
    ):
        serve(lambda size: None, parse_policy("greedy:1"), generator, time.perf_counter)


def test_a_generator_that_does_not_get_ready_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generator_module, "_TIMEOUT_S", 0.0)
    with pytest.raises(MeasurementError, match="does not get ready after 0 of 1 request"):
        Generator(np.array([1.0]))


def test_a_generator_ends_with_its_context_whatever_it_still_has_to_do() -> None:
    with Generator(np.array([1000.0])) as generator:
        generator.begin(time.perf_counter())
        process = generator._process
    assert process.poll() is not None


def test_a_server_that_cannot_hold_its_rate_is_given_up_and_the_rest_is_counted() -> None:
    arrivals_s = np.arange(1, 101) * 0.1  # 10 a second, of which it serves one
    world = World(arrivals_s, lambda size: float(size))
    loop = serve(world.run, parse_policy("greedy:1"), world, world.clock, drain_s=5.0)
    assert loop.window[1] == pytest.approx(100 + arrivals_s[-1], abs=0.5)
    assert len(loop.served.arrival_s) == pytest.approx(15, abs=1)
    assert loop.unserved == 100 - len(loop.served.arrival_s)
    assert len(loop.lateness_s) == 100
    assert len(loop.response_s) == len(loop.served.arrival_s)
