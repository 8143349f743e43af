"""What must hold for a queue whatever arrives, is decided and how long it takes."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenbatch.queueing.policies import Policy, PolicyKind, parse_policy
from greenbatch.queueing.simulation import simulate

# Sixteenths add up exactly, so that instants can meet.
_sixteenths = st.integers(0, 64).map(lambda n: n / 16)
_arrivals = st.lists(_sixteenths, min_size=1, max_size=60).map(np.cumsum)
_waits = st.one_of(_sixteenths, st.just(math.inf))
_policies = st.builds(
    lambda n, wait_s: Policy("any", PolicyKind.DYNAMIC, n, wait_s), st.integers(1, 9), _waits
)
_services = st.tuples(_sixteenths, _sixteenths)


@given(_arrivals, _policies, _services)
def test_every_request_is_served_once_in_order_in_batches_that_the_policy_allows(
    arrivals_s: np.ndarray, policy: Policy, service: tuple[float, float]
) -> None:
    served = simulate(arrivals_s, policy, lambda n: service[0] + service[1] * n)
    sizes = served.batch_size.tolist()
    assert sum(sizes) == len(arrivals_s)
    assert len(served.start_s) == len(arrivals_s)
    assert (np.diff(served.start_s) >= 0).all()
    assert set(sizes[: len(sizes) - served.flushed]) <= set(policy.batch_sizes())
    if served.flushed:
        assert math.isinf(policy.wait_s)
        assert 0 < sizes[-1] < policy.largest


@given(_arrivals, _policies, _services)
def test_a_batch_starts_at_the_first_instant_that_the_policy_allows(
    arrivals_s: np.ndarray, policy: Policy, service: tuple[float, float]
) -> None:
    served = simulate(arrivals_s, policy, lambda n: service[0] + service[1] * n)
    free_s, first = -math.inf, 0
    for start_s, end_s, size, waiting in zip(
        served.batch_start_s, served.batch_end_s, served.batch_size, served.waiting, strict=True
    ):
        full = first + policy.largest - 1
        filled_s = arrivals_s[full] if full < len(arrivals_s) else math.inf
        ripe_s = min(filled_s, arrivals_s[first] + policy.wait_s)
        if math.isinf(ripe_s):
            ripe_s = arrivals_s[-1]
        assert start_s == max(free_s, ripe_s)
        assert waiting == np.count_nonzero(arrivals_s <= start_s) - first
        assert size == min(waiting, policy.largest)
        free_s, first = end_s, first + size


@pytest.mark.slow
@given(_arrivals, st.lists(_sixteenths, min_size=60, max_size=60))
def test_single_requests_wait_as_lindley_says(arrivals_s: np.ndarray, times: list[float]) -> None:
    # W(n+1) = max(0, W(n) + S(n) - gap): Lindley 1952, "The theory of queues with a single server"
    draws = iter(times)
    served = simulate(arrivals_s, parse_policy("greedy:1"), lambda n: next(draws))
    wait_s = 0.0
    for n, got_s in enumerate(served.wait_s):
        assert got_s == wait_s
        if n + 1 < len(arrivals_s):
            wait_s = max(0.0, wait_s + times[n] - (arrivals_s[n + 1] - arrivals_s[n]))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("dynamic:1:0", "greedy:1"),
        ("dynamic:5:0", "greedy:5"),
        ("dynamic:5:inf", "fixed:5"),
        ("fixed:1", "greedy:1"),
        ("dynamic:1:3s", "fixed:1"),
    ],
)
@given(arrivals_s=_arrivals, service=_services)
def test_policies_meet_at_their_limits(
    one: str, other: str, arrivals_s: np.ndarray, service: tuple[float, float]
) -> None:
    a, b = (
        simulate(arrivals_s, parse_policy(text), lambda n: service[0] + service[1] * n)
        for text in (one, other)
    )
    assert a.batch_start_s.tolist() == b.batch_start_s.tolist()
    assert a.batch_size.tolist() == b.batch_size.tolist()
    assert a.flushed == b.flushed


@given(_arrivals, _policies, _services, _sixteenths, _sixteenths, _sixteenths)
def test_busy_time_adds_up_over_stretches_that_meet(
    arrivals_s: np.ndarray,
    policy: Policy,
    service: tuple[float, float],
    a: float,
    b: float,
    c: float,
) -> None:
    served = simulate(arrivals_s, policy, lambda n: service[0] + service[1] * n)
    a, b, c = sorted(20 * x for x in (a, b, c))
    assert served.busy_s(a, b) + served.busy_s(b, c) == served.busy_s(a, c) <= c - a


@given(_arrivals, _policies, _services)
def test_batches_start_when_the_policy_decides_so_event_by_event(
    arrivals_s: np.ndarray, policy: Policy, service: tuple[float, float]
) -> None:
    served = simulate(arrivals_s, policy, lambda n: service[0] + service[1] * n)
    arrivals = arrivals_s.tolist()
    now_s, first, found, flushed = -math.inf, 0, [], False
    while first < len(arrivals):
        arrived = sum(at <= now_s for at in arrivals)
        more = arrived < len(arrivals)
        decision = policy.decide(arrived - first, arrivals[first], now_s, more=more)
        if not decision.size:
            now_s = min(decision.look_s, arrivals[arrived]) if more else decision.look_s
            continue
        found.append((now_s, decision.size, arrived - first))
        first, flushed = first + decision.size, decision.flushed
        now_s += service[0] + service[1] * decision.size
    columns = (served.batch_start_s, served.batch_size, served.waiting)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == found
    assert served.flushed == flushed
