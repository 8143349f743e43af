"""A drift is seen through noise, before the stretches that are compared differ by the tolerance."""

import math
import random
from collections.abc import Callable

import pytest

from greenbatch.runners.scenarios.steady import AHEAD_S, is_steady

pytestmark = pytest.mark.numeric


def series(
    level: Callable[[float], float], for_s: float, noise: float = 0.03, seed: int = 1
) -> list[float]:
    """Batches of about 20 ms, back to back."""
    draw = random.Random(seed)
    latencies: list[float] = []
    now_s = 0.0
    while now_s < for_s:
        latencies.append(0.02 * level(now_s) * draw.lognormvariate(0, noise))
        now_s += latencies[-1]
    return latencies


def warming(e_fold_s: float) -> Callable[[float], float]:
    return lambda t: 1 + 0.3 * math.exp(-t / e_fold_s)


@pytest.mark.parametrize(("e_fold_s", "for_s"), [(3.0, 3.0), (3.0, 5.0), (10.0, 5.0), (10.0, 10.0)])
def test_a_slow_warm_up_is_not_taken_for_steady(e_fold_s: float, for_s: float) -> None:
    found = [is_steady(series(warming(e_fold_s), for_s, seed=seed), 0.05) for seed in range(20)]
    assert sum(found) <= 2


def test_what_is_left_of_a_warm_up_does_not_matter_for_ever() -> None:
    found = [is_steady(series(warming(3.0), 20.0, seed=seed), 0.05) for seed in range(20)]
    assert sum(found) >= 15


def test_noise_alone_is_soon_called_steady() -> None:
    waits = []
    for seed in range(20):
        whole = series(lambda t: 1.0, 6.0, seed=seed)
        looks = range(100, len(whole), 5)
        waits.append(next(look for look in looks if is_steady(whole[:look], 0.05)))
    assert sorted(waits)[10] <= 110
    assert max(waits) < 250


@pytest.mark.parametrize(("share", "steady"), [(0.8, True), (1.25, False)])
def test_a_drift_counts_when_it_would_pass_the_tolerance_soon(share: float, steady: bool) -> None:
    a_second = share * 0.05 / AHEAD_S
    assert is_steady(series(lambda t: 1 + a_second * t, 3.0, noise=0), 0.05) is steady


def first_steady_s(level: Callable[[float], float], noise: float, seed: int) -> float:
    """When a warm-up is first called steady, looked at each half second from 2 s on."""
    for looked_s in (2 + look / 2 for look in range(60)):
        if is_steady(series(level, looked_s, noise, seed), 0.05):
            return looked_s
    return math.inf


def test_a_warm_up_that_levels_off_is_steady_as_soon_as_that_is_shown() -> None:
    waits_s = sorted(first_steady_s(warming(3.0), 0.005, seed) for seed in range(5))
    assert waits_s[0] >= 6.5, "more than a tenth of what it gains at first is left"
    assert waits_s[-1] <= 12.0, "a line through the medians still falls then"


def test_what_goes_on_as_fast_does_not_level_off() -> None:
    falling = [first_steady_s(lambda t: 2 - 0.02 * t, 0.005, seed) for seed in range(3)]
    assert falling == [math.inf] * 3


def test_noise_does_not_pass_for_what_levels_off() -> None:
    """The bound is that of the time constants that fit, and noise makes many fit."""
    noisy = [first_steady_s(warming(3.0), 0.03, seed) for seed in range(5)]
    assert sorted(noisy)[2] > 8.0


class Compared(float):
    """A latency that counts how often it is compared."""

    count = 0

    def __lt__(self, other: float) -> bool:
        Compared.count += 1
        return float(self) < float(other)


def test_a_look_at_a_long_series_sorts_no_more_than_at_a_short_one() -> None:
    draw = random.Random(3)
    compared = []
    for length in (50_000, 200_000):
        Compared.count = 0
        assert is_steady([Compared(draw.lognormvariate(-9, 0.03)) for _ in range(length)], 0.05)
        compared.append(Compared.count)
    assert compared[1] < 1.2 * compared[0]
    assert compared[1] < 200_000


def test_a_drift_is_not_looked_for_in_a_handful_of_latencies() -> None:
    rising = [1.0, 1.0, 1.0, 1.0, 1.01, 1.02, 1.03]
    assert is_steady(rising, 0.05)
    assert not is_steady([1.0, 1.0, *rising], 0.005)
