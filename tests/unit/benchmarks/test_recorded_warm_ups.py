"""The rule for the end of a warm-up, on a recording whose level is known."""

import numpy as np
import pytest

from benchmarks.recorded_warm_ups import RULES, drifts_at_its_end, judged, table
from greenbatch.design.protocol import PROFILES

pytestmark = pytest.mark.numeric
STANDARD = PROFILES["standard"]


def series(rise: float, constant_s: float, seconds: float = 60.0) -> np.ndarray:
    """Batches of 20 ms that begin slower, with a noise of 1 %."""
    draw = np.random.default_rng(3)
    at_s, latencies_s = 0.0, []
    while at_s < seconds:
        level = 0.02 * (1 + rise * np.exp(-at_s / constant_s))
        latencies_s.append(level * draw.lognormal(0, 0.01))
        at_s += latencies_s[-1]
    return np.array(latencies_s)


def test_a_steady_recording_is_warm_at_once_and_its_window_is_right() -> None:
    found = judged(series(0.0, 1.0), STANDARD, "the rule")
    assert found is not None
    assert found.warm_up_s < 3
    assert abs(found.off) < 0.01


def test_a_slow_warm_up_is_waited_for_and_longest_where_levelling_off_is_not_seen() -> None:
    slow = series(0.3, 3.0)
    by_rule, without, longest = (judged(slow, STANDARD, rule) for rule in RULES)
    assert by_rule is not None
    assert without is not None
    assert longest is not None
    assert 5 < by_rule.warm_up_s <= without.warm_up_s <= longest.warm_up_s < 20.1
    assert max(abs(by_rule.off), abs(longest.off)) < STANDARD.steady_tolerance


def test_a_recording_that_ends_too_early_or_drifts_is_left_out() -> None:
    assert judged(series(0.3, 3.0, seconds=3.0), STANDARD, "longest") is None
    drifting = series(-0.7, 40.0)
    assert drifts_at_its_end(drifting, 0.05)
    assert not drifts_at_its_end(series(0.3, 3.0), 0.05)
    lines = list(table({"steady": series(0.0, 1.0), "drifting": drifting}))
    assert any(line.startswith("| standard | left out") and "| 1 |" in line for line in lines)


def test_a_profile_without_a_recording_has_no_figures() -> None:
    lines = list(table({"short": series(0.0, 1.0, seconds=8.0)}))
    assert "| rigorous | the rule | 0 | – | – | – |" in lines
    assert not any("nan" in line for line in lines)
