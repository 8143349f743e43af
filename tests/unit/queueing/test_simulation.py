"""The simulation against what queueing theory says, and the overload rule against the simulation.

Mean waits in the queue in units of the mean service time (Kleinrock, Queueing Systems, volume 1,
1975): M/M/1 (section 3.2) rho / (1 - rho); M/G/1 by Pollaczek and Khinchine (section 5.5)
rho (1 + c^2) / (2 (1 - rho)), so for constant service, M/D/1, half of the former.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from greenbatch.errors import UsageError
from greenbatch.queueing.arrivals import parse_arrivals
from greenbatch.queueing.overload import load
from greenbatch.queueing.policies import parse_policy
from greenbatch.queueing.simulation import Service, drawn, simulate

pytestmark = pytest.mark.numeric

LENGTH = 200_000


def _service(kind: str, seed: int, mean_s: float = 1.0) -> Service:
    if kind == "constant":
        return lambda size: mean_s
    rng = np.random.default_rng(seed)
    draws: Callable[[], float] = iter((rng.standard_exponential(LENGTH) * mean_s).tolist()).__next__
    return lambda size: draws()


def _interval(series: np.ndarray, batches: int = 30) -> tuple[float, float]:
    """Mean and half its 99 % interval by batch means (Law, Simulation Modeling, ch. 9)."""
    means = [part.mean() for part in np.array_split(series, batches)]
    half = stats.t.ppf(0.995, batches - 1) * np.std(means, ddof=1) / np.sqrt(batches)
    return float(np.mean(means)), float(half)


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["fixed:1", "greedy:1", "dynamic:1:0"])
@pytest.mark.parametrize("kind", ["constant", "exponential"])
@pytest.mark.parametrize("rho", [0.3, 0.6, 0.85])
def test_mean_waits_are_those_of_md1_and_mm1(rho: float, kind: str, policy: str) -> None:
    arrivals_s = parse_arrivals("poisson").times(rho, seed=11, count=LENGTH)
    served = simulate(arrivals_s, parse_policy(policy), _service(kind, seed=12))
    true_s = rho / (1 - rho) / (2 if kind == "constant" else 1)
    mean_s, half_s = _interval(served.wait_s[LENGTH // 20 :])  # the queue begins empty
    assert abs(mean_s - true_s) < half_s
    assert half_s < 0.15 * true_s  # else it would show nothing
    busy = served.busy_s(0.0, float(served.end_s[-1])) / served.end_s[-1]
    assert busy == pytest.approx(rho, rel=0.02)


@pytest.mark.parametrize("size", [2, 16, 64])
def test_the_mean_wait_to_fill_a_batch_is_half_of_its_gaps(size: int) -> None:
    # The k-th of N requests waits for N - k gaps of mean 1/f: (N - 1) / 2f in the mean.
    for text in ("poisson", "uniform"):
        arrivals_s = parse_arrivals(text).times(16.0, seed=7, count=size * 3000)
        served = simulate(arrivals_s, parse_policy(f"fixed:{size}"), lambda size: 0.0)
        fills_s = served.wait_s.reshape(-1, size).mean(axis=1)
        mean_s, half_s = _interval(fills_s)
        assert abs(mean_s - (size - 1) / (2 * 16.0)) < half_s
        assert half_s < 0.1 * mean_s


def test_waits_at_a_busy_server_add_to_the_filling() -> None:
    arrivals_s = np.arange(8.0)
    served = simulate(arrivals_s, parse_policy("fixed:4"), lambda size: 5.0)
    assert served.batch_start_s.tolist() == [3.0, 8.0]
    assert served.batch_end_s.tolist() == [8.0, 13.0]
    assert served.response_s.tolist() == [8, 7, 6, 5, 9, 8, 7, 6]
    assert served.waiting.tolist() == [4, 4]
    assert served.busy_s(0.0, 10.0) == 7.0
    assert served.queue_at(np.array([0.0, 2.5, 3.0, 7.0, 9.0])).tolist() == [1, 3, 0, 4, 0]


def test_a_dynamic_batch_starts_when_it_is_full_or_its_first_has_waited() -> None:
    arrivals_s = np.array([0.0, 1.0, 10.0, 10.5, 10.6, 30.0])
    served = simulate(arrivals_s, parse_policy("dynamic:3:2s"), lambda size: 0.1 * size)
    assert served.batch_size.tolist() == [2, 3, 1]
    assert served.batch_start_s.tolist() == [2.0, 10.6, 32.0]
    assert not served.flushed


def test_what_arrives_while_the_server_is_busy_makes_the_next_greedy_batch() -> None:
    arrivals_s = np.array([0.0, 1.0, 2.0, 3.0, 4.0, 4.5])
    served = simulate(arrivals_s, parse_policy("greedy:3"), lambda size: 4.0)
    assert served.batch_size.tolist() == [1, 3, 2]
    assert served.waiting.tolist() == [1, 4, 2]
    assert served.batch_start_s.tolist() == [0.0, 4.0, 8.0]


def test_the_last_incomplete_batch_is_served_and_marked() -> None:
    served = simulate(np.arange(10.0), parse_policy("fixed:4"), lambda size: 0.5)
    assert served.batch_size.tolist() == [4, 4, 2]
    assert served.flushed
    assert served.regular.tolist() == [True] * 8 + [False] * 2
    whole = simulate(np.arange(8.0), parse_policy("fixed:4"), lambda size: 0.5)
    assert not whole.flushed
    assert whole.regular.all()


def test_requests_count_by_their_arrival_for_responses_and_by_their_end_for_energy() -> None:
    served = simulate(np.arange(6.0), parse_policy("greedy:1"), lambda size: 1.5)
    assert served.arrived_in(2.0, 4.0).tolist() == [False, False, True, True, False, False]
    # they end at 1.5, 3, 4.5, ...
    assert served.ended_in(1.5, 4.5).tolist() == [True, True, False, False, False, False]


def test_a_record_that_lost_a_request_is_refused() -> None:
    fine = simulate(np.array([0.0, 1.0]), parse_policy("greedy:1"), lambda size: 1.0)
    with pytest.raises(ValueError, match="hold 3 requests, 2 arrived"):
        replace(fine, batch_size=np.array([1, 2]))
    with pytest.raises(ValueError, match="before the one before"):
        replace(fine, batch_end_s=np.array([1.5, 2.0]))
    with pytest.raises(ValueError, match="before it arrived"):
        replace(fine, arrival_s=np.array([0.0, 1.1]))


def test_service_times_are_drawn_from_those_of_the_batch_size() -> None:
    service = drawn({1: [0.1, 0.2], 2: [0.5]}, seed=1)
    assert {service(1) for _ in range(50)} == {0.1, 0.2}
    assert service(2) == 0.5
    with pytest.raises(UsageError, match=r"batch of 3 is known, only of \[1, 2\]"):
        service(3)


def _loaded(rho: float, policy: str, kind: str, count: int, seed: int) -> bool:
    largest = parse_policy(policy).largest
    arrivals_s = parse_arrivals("poisson").times(rho, seed=seed, count=count)
    # a full batch takes as long as its requests at one a second; a smaller one no less than half
    noise = _service(kind, seed + 10_000)
    served = simulate(
        arrivals_s, parse_policy(policy), lambda n: noise(n) * (0.5 * largest + 0.5 * n)
    )
    return load(served, largest).overloaded


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["greedy:1", "greedy:8", "fixed:8", "dynamic:8:2s"])
def test_a_rate_that_the_server_holds_is_not_called_overload(policy: str) -> None:
    alarms = sum(_loaded(0.85, policy, "exponential", 2000, seed) for seed in range(40))
    assert alarms <= 2


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["greedy:1", "greedy:8", "fixed:8", "dynamic:8:2s"])
def test_a_rate_above_what_the_server_holds_is_found(policy: str) -> None:
    found = sum(_loaded(1.05, policy, "constant", 8000, seed) for seed in range(20))
    assert found >= 18
    assert all(_loaded(1.5, policy, "exponential", 2000, seed) for seed in range(10))


def test_the_growth_is_the_rate_that_the_server_cannot_hold() -> None:
    arrivals_s = parse_arrivals("constant").times(12.0, seed=1, count=2400)
    verdict = load(simulate(arrivals_s, parse_policy("greedy:1"), lambda size: 0.1), 1)
    assert verdict.overloaded
    assert verdict.growth_hz == pytest.approx(2.0, rel=0.02)


@pytest.mark.parametrize(("policy", "count"), [("fixed:128", 1000), ("dynamic:128:60s", 100)])
def test_a_long_batch_that_fills_is_no_growing_queue(policy: str, count: int) -> None:
    arrivals_s = parse_arrivals("constant").times(16.0, seed=1, count=count)
    served = simulate(arrivals_s, parse_policy(policy), lambda size: 2.0)
    assert not load(served, 128).overloaded


def test_nothing_is_said_of_a_handful_of_requests() -> None:
    served = simulate(np.linspace(0.0, 0.1, 15), parse_policy("greedy:1"), lambda size: 1.0)
    assert not load(served, 1).overloaded
