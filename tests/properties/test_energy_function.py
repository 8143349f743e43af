"""What must hold for E(t) and P(t) whatever the ticks, samples and windows are."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenbatch.runners.metering.energy.energy_function import (
    EnergyFunction,
    PowerFunction,
    Refusal,
    Stretch,
    even_instants,
)
from tests.fakes.powercap_curve import PowerCurve

pytestmark = pytest.mark.numeric

_steps = st.lists(st.floats(1e-3, 10.0), min_size=2, max_size=40)
_joules = st.floats(0.0, 1e4)
_shares = st.lists(st.floats(0.0, 1.0), min_size=3, max_size=3).map(sorted)


@st.composite
def energy_functions(draw: st.DrawFn) -> EnergyFunction:
    t_s = np.cumsum(draw(_steps))
    joules = np.cumsum(draw(st.lists(_joules, min_size=len(t_s), max_size=len(t_s))))
    return EnergyFunction(t_s, joules)


@st.composite
def power_functions(draw: st.DrawFn) -> PowerFunction:
    t_s = np.cumsum(draw(_steps))
    power_w = draw(st.lists(st.floats(0.0, 1e3), min_size=len(t_s), max_size=len(t_s)))
    return PowerFunction(t_s, np.array(power_w), lag_s=draw(st.floats(0.0, 1.0)))


def _instants(function: EnergyFunction | PowerFunction, shares: list[float]) -> list[float]:
    first, last = float(function.t_s[0]), float(function.t_s[-1])
    return sorted(min(first + share * (last - first), last) for share in shares)


def _covered(result: Stretch | Refusal) -> Stretch:
    assert isinstance(result, Stretch)
    return result


@given(st.one_of(energy_functions(), power_functions()), _shares)
def test_two_windows_that_meet_hold_the_energy_of_the_whole(
    function: EnergyFunction | PowerFunction, shares: list[float]
) -> None:
    a, b, c = _instants(function, shares)
    parts = _covered(function.between(a, b)).energy_j + _covered(function.between(b, c)).energy_j
    assert parts == pytest.approx(_covered(function.between(a, c)).energy_j, rel=1e-9, abs=1e-6)


@given(st.one_of(energy_functions(), power_functions()), _shares)
def test_a_wider_window_never_holds_less(
    function: EnergyFunction | PowerFunction, shares: list[float]
) -> None:
    a, b, c = _instants(function, shares)
    whole, part = _covered(function.between(a, c)), _covered(function.between(a, b))
    assert whole.energy_j >= part.energy_j - 1e-6
    assert part.energy_j >= -1e-9
    assert part.uncertainty_j >= 0


@given(energy_functions())
def test_between_two_ticks_the_energy_is_the_counters(function: EnergyFunction) -> None:
    for (t0, e0), (t1, e1) in pairwise(zip(function.t_s, function.joules, strict=True)):
        assert _covered(function.between(t0, t1)).energy_j == pytest.approx(e1 - e0)


@given(st.one_of(energy_functions(), power_functions()), st.floats(1e-3, 10.0))
def test_a_window_past_either_end_is_refused(
    function: EnergyFunction | PowerFunction, beyond_s: float
) -> None:
    first, last = float(function.t_s[0]), float(function.t_s[-1])
    assert isinstance(function.between(first - beyond_s, last), Refusal)
    assert isinstance(function.between(first, last + beyond_s), Refusal)


@pytest.mark.slow
@given(
    tick_s=st.floats(0.01, 0.2),
    phase=st.floats(0.0, 1.0),
    delays=st.lists(st.floats(0.001, 0.03), min_size=400, max_size=400),
    low_w=st.floats(20.0, 400.0),
    high_w=st.floats(20.0, 400.0),
    period_s=st.floats(0.3, 3.0),
    window=st.tuples(st.floats(0.2, 0.4), st.floats(0.5, 0.8)),
)
def test_the_truth_lies_in_the_band_however_reads_fall_on_a_ticking_counter(
    tick_s: float,
    phase: float,
    delays: list[float],
    low_w: float,
    high_w: float,
    period_s: float,
    window: tuple[float, float],
) -> None:
    curve = PowerCurve(low_w, high_w, period_s)
    before_s = np.cumsum(delays)
    after_s = before_s + 0.0005
    ticked_s = np.floor(before_s / tick_s - phase) * tick_s + phase * tick_s
    energy_j = np.array([curve.energy_j(0.0, t_s) for t_s in ticked_s])
    function = EnergyFunction.from_reads(before_s, after_s, energy_j, tick_s)
    t0_s, t1_s = (share * before_s[-1] for share in window)
    if len(function.t_s) < 2 or t0_s < function.t_s[0] or t1_s > function.t_s[-1]:
        return
    stretch = _covered(function.between(t0_s, t1_s))
    assert abs(stretch.energy_j - curve.energy_j(t0_s, t1_s)) <= stretch.uncertainty_j


@pytest.mark.slow
@given(
    low_w=st.floats(20.0, 400.0),
    high_w=st.floats(20.0, 400.0),
    period_s=st.floats(0.3, 3.0),
    delays=st.lists(st.floats(0.005, 0.05), min_size=200, max_size=200),
)
def test_the_truth_lies_in_the_band_of_integrated_power(
    low_w: float, high_w: float, period_s: float, delays: list[float]
) -> None:
    curve = PowerCurve(low_w, high_w, period_s)
    t_s = np.cumsum(delays)
    power_w = np.where(t_s % period_s < period_s / 2, low_w, high_w)
    t0_s, t1_s = t_s[0] + 0.1, t_s[-1] - 0.1
    stretch = _covered(PowerFunction(t_s, power_w).between(t0_s, t1_s))
    assert abs(stretch.energy_j - curve.energy_j(t0_s, t1_s)) <= stretch.uncertainty_j + 1e-6


@given(
    middles=st.lists(st.floats(0.01, 1.0), min_size=1, max_size=40),
    reach=st.floats(1e-4, 1.0),
)
def test_moved_instants_stay_in_their_brackets_and_in_order(
    middles: list[float], reach: float
) -> None:
    middle_s = np.cumsum(middles)
    moved_s = even_instants(middle_s, np.full(len(middle_s), reach))
    assert np.all(np.abs(moved_s - middle_s) <= reach * (1 + 1e-9))
    assert np.all(np.diff(moved_s) > 0)


@pytest.mark.parametrize(
    ("window", "doubt_j"),
    [((0.35, 0.65), 22.0), ((0.33, 0.71), 10.0), ((0.3, 0.7), 2.0)],
    ids=["in the middle of a tick", "nearer to one", "at a tick"],
)
def test_the_band_is_what_flows_to_the_next_tick_and_in_its_bracket_at_each_end(
    window: tuple[float, float], doubt_j: float
) -> None:
    ticks_s = np.linspace(0.0, 0.9, 10)
    function = EnergyFunction(ticks_s, 200.0 * ticks_s, np.full(10, 0.005), tick_s=0.1)
    assert _covered(function.between(*window)).uncertainty_j == pytest.approx(doubt_j)


def test_the_band_is_never_more_than_half_a_tick_and_what_flows_in_its_bracket() -> None:
    ticks_s = np.array([0.0, 0.1, 0.2, 0.6, 0.7])
    joules = np.array([0.0, 100.0, 101.0, 105.0, 106.0])  # 1000 W, then 10 W
    stretch = _covered(EnergyFunction(ticks_s, joules, tick_s=0.1).between(0.05, 0.15))
    assert stretch.uncertainty_j <= 2 * 100.0 / 2


def test_the_band_holds_a_load_that_starts_inside_the_tick_next_to_the_end() -> None:
    # 0 W, then 100 W from 0.28 s on: in the tick up to 0.3 s only 2 J flow, and all at its end
    ticks_s = np.linspace(0.0, 0.9, 10)
    joules = 100.0 * np.maximum(ticks_s - 0.28, 0.0)
    stretch = _covered(EnergyFunction(ticks_s, joules).between(0.28, 0.7))
    assert abs(stretch.energy_j - 42.0) <= stretch.uncertainty_j


def test_integrated_power_is_in_doubt_by_its_steps_its_lag_and_its_resolution() -> None:
    t_s, power_w = np.array([0.0, 1.0, 2.0, 3.0]), np.array([10.0, 10.0, 30.0, 30.0])
    stretch = _covered(PowerFunction(t_s, power_w, 0.1, 0.5).between(0.5, 2.5))
    assert stretch.energy_j == pytest.approx(40.0)
    assert stretch.uncertainty_j == pytest.approx(20.0 / 2 + 0.1 * 20.0 + 0.5 * 2.0 / 2)
    cut = _covered(PowerFunction(t_s, power_w).between(1.25, 1.5))
    assert cut.uncertainty_j == pytest.approx(20.0 * 0.25)


def test_an_even_train_seen_late_is_put_back_in_step() -> None:
    true_s = np.linspace(0.0, 3.9, 40)
    delay_s = np.random.default_rng(1).uniform(-0.005, 0.005, 40)
    moved_s = even_instants(true_s + delay_s, np.full(40, 0.005))
    assert np.abs(moved_s - true_s).max() < np.abs(delay_s).max() / 2


def test_no_even_train_leaves_instants_alone() -> None:
    middle_s = np.cumsum(np.random.default_rng(1).uniform(0.05, 0.2, 40))
    assert np.array_equal(even_instants(middle_s, np.full(40, 0.001)), middle_s)


def test_unordered_ticks_are_refused_when_made() -> None:
    with pytest.raises(ValueError, match="must increase"):
        EnergyFunction(np.array([0.0, 0.0]), np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="must not fall"):
        EnergyFunction(np.array([0.0, 1.0]), np.array([1.0, 0.0]))
    with pytest.raises(ValueError, match="before it starts"):
        EnergyFunction(np.array([0.0, 1.0]), np.array([0.0, 1.0])).between(1.0, 0.5)
