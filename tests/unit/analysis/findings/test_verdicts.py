"""Verdicts: known changes are found, noise is called noise, unlike things are not compared."""

import math
from collections.abc import Mapping

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestIndPower, TTestPower
from statsmodels.stats.weightstats import ttost_ind, ttost_paired

from greenbatch.analysis.dataset.energy_basis import Basis, Part
from greenbatch.analysis.findings.verdicts import Judgement, Side, Verdict, judge
from greenbatch.analysis.statistics.overall_ratio import overall_ratio
from greenbatch.errors import UsageError
from greenbatch.records import Provenance

pytestmark = pytest.mark.numeric

QUIET = (1.0, 1.001, 0.999, 1.002, 0.998)


def side(*values: float, source: str = "measured", **facts: str) -> Side:
    return Side(dict(enumerate(values)), Basis.of(Provenance(source)), facts=facts)


def scaled(factor: float, values: tuple[float, ...] = QUIET) -> Side:
    return side(*(factor * value for value in values))


def judged(base: Side | None, new: Side | None, **more: bool | float) -> Judgement:
    return judge({"cell": (base, new)}, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("factor", "verdict", "beyond", "fails"),
    [
        (1.05, Verdict.WORSE, True, True),
        (1.02, Verdict.WORSE, False, False),
        (1.0, Verdict.EQUIVALENT, False, False),
        (0.98, Verdict.BETTER, False, False),
        (0.9, Verdict.BETTER, True, False),
    ],
)
def test_a_change_is_judged_by_its_size(
    factor: float, verdict: Verdict, beyond: bool, fails: bool
) -> None:
    found = judged(scaled(1.0), scaled(factor))
    (cell,) = found.cells
    assert (cell.verdict, cell.beyond, found.worse) == (verdict, beyond, fails)
    assert cell.ratio is not None
    assert cell.ratio.centre == pytest.approx(factor)
    assert not cell.ratio.excludes(factor)


def test_less_throughput_is_worse() -> None:
    assert judged(scaled(1.0), scaled(0.9), higher_is_worse=False).worse
    (better,) = judged(scaled(1.0), scaled(1.1), higher_is_worse=False).cells
    assert better.verdict is Verdict.BETTER


def test_a_change_of_just_the_threshold_counts() -> None:
    assert judged(scaled(1.0), scaled(1.03)).worse
    assert not judged(scaled(1.0), scaled(1.0299)).worse


def least_of(power: TTestPower | TTestIndPower, spread: float) -> int:
    """Repetitions that find a change of 3 %, and by two one-sided tests that there is none."""
    effect = math.log(1.03) / spread
    finds = power.solve_power(effect, alpha=0.05, power=0.8)
    shows = power.solve_power(effect, alpha=0.05, power=0.9, alternative="larger")
    return math.ceil(max(float(finds), float(shows)))


def test_noise_is_called_noise_and_says_how_many_repetitions_would_do() -> None:
    values = (0.9, 1.0, 1.1, 0.95, 1.08)
    (cell,) = judged(side(*values), side(*reversed(values))).cells
    assert cell.verdict is Verdict.TOO_NOISY
    # Two samples of one spread: 8 degrees of freedom, of which the upper 80 % bound is taken.
    spread = float(np.std(np.log(values), ddof=1)) * math.sqrt(8 / stats.chi2.ppf(0.2, 8))
    assert cell.needed == least_of(TTestIndPower(), spread)


def test_the_repetitions_needed_of_pairs_are_those_of_a_paired_test() -> None:
    base, new = (0.9, 1.0, 1.1, 0.95), (0.94, 1.0, 1.02, 0.99)
    (cell,) = judged(side(*base), side(*new), paired=True).cells
    spread = float(np.std(np.log(new) - np.log(base), ddof=1))
    spread *= math.sqrt(3 / stats.chi2.ppf(0.2, 3))
    assert cell.needed == least_of(TTestPower(), spread)


def test_what_no_number_of_repetitions_would_show_has_no_number() -> None:
    (cell,) = judged(side(0.01, 1.0, 100.0), side(100.0, 1.0, 0.01)).cells
    assert (cell.verdict, cell.needed) == (Verdict.TOO_NOISY, None)


@pytest.mark.parametrize("paired", [True, False])
def test_the_p_value_is_scipys(paired: bool) -> None:
    base, new = (1.0, 1.04, 0.97, 1.02), (1.05, 1.06, 1.0, 1.09)
    (cell,) = judged(side(*base), side(*new), paired=paired).cells
    expected = (
        stats.ttest_rel(np.log(new), np.log(base))
        if paired
        else stats.ttest_ind(np.log(new), np.log(base), equal_var=False)
    )
    assert cell.p == pytest.approx(expected.pvalue, abs=1e-12)


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("factor", [0.98, 1.0, 1.025, 1.1])
def test_equivalence_is_tested_as_statsmodels_does(paired: bool, factor: float) -> None:
    base, new = (1.0, 1.02, 0.99, 1.01), tuple(factor * v for v in (1.01, 1.01, 1.0, 0.99))
    (cell,) = judged(side(*base), side(*new), paired=paired).cells
    within = (-math.log(1.03), math.log(1.03))
    expected = (
        ttost_paired(np.log(new), np.log(base), *within)[0]
        if paired
        else ttost_ind(np.log(new), np.log(base), *within, usevar="unequal")[0]
    )
    assert cell.p_equivalence == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("spread", [0.01, 0.02])
@pytest.mark.parametrize("n", [3, 5, 10])
def test_a_change_of_the_thresholds_size_is_seldom_called_equivalent(n: int, spread: float) -> None:
    random = np.random.default_rng(n)
    false = sum(
        judged(
            side(*np.exp(random.normal(0, spread, n))),
            side(*np.exp(random.normal(math.log(1.03), spread, n))),
        )
        .cells[0]
        .verdict
        is Verdict.EQUIVALENT
        for _ in range(300)
    )
    assert false / 300 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)


def test_the_number_needed_is_seldom_too_small() -> None:
    random = np.random.default_rng(13)
    truth = TTestIndPower().solve_power(math.log(1.03) / 0.02, alpha=0.05, power=0.8)
    needed = [
        judged(side(*np.exp(random.normal(0, 0.02, 3))), side(*np.exp(random.normal(0, 0.02, 3))))
        .cells[0]
        .needed
        for _ in range(200)
    ]
    enough = sum(n is not None and n >= truth for n in needed)
    assert enough / 200 > 0.8 - 3 * math.sqrt(0.8 * 0.2 / 200)


def test_two_repetitions_never_fail_a_gate() -> None:
    found = judged(side(1.0, 1.001), side(2.0, 2.001))
    (cell,) = found.cells
    assert cell.ratio is not None
    assert found.overall is not None
    for ratio in (cell.ratio, found.overall):
        assert ratio.kind == "range"
        assert (ratio.low, ratio.high) == pytest.approx((2.0 / 1.001, 2.001))
    assert (cell.verdict, found.worse) == (Verdict.TOO_NOISY, False)
    assert cell.needed == 3
    assert cell.reason == "a side has fewer than 3 repetitions"


def test_one_repetition_has_neither_interval_nor_a_number_needed() -> None:
    found = judged(side(1.0), side(2.0, 2.1, 2.2))
    (cell,) = found.cells
    assert (cell.verdict, cell.needed) == (Verdict.TOO_NOISY, None)
    for ratio in (cell.ratio, found.overall):
        assert ratio is not None
        assert (ratio.low, ratio.high) == (None, None)
        assert ratio.centre == pytest.approx((2.0 * 2.1 * 2.2) ** (1 / 3))


def test_values_without_any_spread_are_equal_or_not() -> None:
    (same,) = judged(side(0.1, 0.1, 0.1), side(0.1, 0.1, 0.1)).cells
    assert (same.verdict, same.p) == (Verdict.EQUIVALENT, 1.0)
    assert judged(side(0.1, 0.1, 0.1), side(0.2, 0.2, 0.2)).worse


def test_rounding_is_no_change_where_nothing_varies() -> None:
    base, new = side(0.1, 0.1, 0.1), side(*(0.1 * 1.0000001,) * 3)
    (cell,) = judged(base, new).cells
    assert cell.verdict is Verdict.EQUIVALENT
    assert cell.p is not None
    assert cell.p > 0.9


def test_blocks_are_paired_only_on_request() -> None:
    drifting = (1.0, 2.0, 4.0, 8.0)
    (apart,) = judged(scaled(1.0, drifting), scaled(1.05, drifting)).cells
    assert apart.verdict is Verdict.TOO_NOISY
    assert judged(scaled(1.0, drifting), scaled(1.05, drifting), paired=True).worse


def test_many_cells_are_held_to_a_stricter_rule() -> None:
    values = (1.0, 1.03, 0.98, 1.01)
    doubtful = (side(*values), side(*(1.045 * v for v in values)))
    assert judge({"alone": doubtful}).worse
    others = {str(i): (scaled(1.0), scaled(1.0)) for i in range(9)}
    crowd = judge({"doubtful": doubtful, **others})
    assert crowd.cells[0].p_holm == pytest.approx(10 * (crowd.cells[0].p or 0.0))
    assert not crowd.worse


@pytest.mark.slow
def test_identical_runs_are_seldom_worse() -> None:
    random = np.random.default_rng(5)
    alarms = sum(
        any(
            cell.verdict is Verdict.WORSE
            for cell in judge(
                {
                    str(c): (side(*random.normal(1, 0.02, 5)), side(*random.normal(1, 0.02, 5)))
                    for c in range(5)
                }
            ).cells
        )
        for _ in range(400)
    )
    assert alarms / 400 < 0.05


def test_five_percent_are_found_with_ten_repetitions_of_two_percent_spread() -> None:
    random = np.random.default_rng(6)
    found = sum(
        judged(side(*random.normal(1, 0.02, 10)), side(*random.normal(1.05, 0.021, 10))).worse
        for _ in range(300)
    )
    assert found / 300 > 0.9


@pytest.mark.parametrize(
    ("base", "new", "reason"),
    [
        (
            side(*QUIET),
            side(*QUIET, source="estimated"),
            "measured against estimated",
        ),
        (
            side(*QUIET, source="mixed"),
            side(*QUIET, source="mixed"),
            "mixed against mixed: which domains are estimated was not recorded",
        ),
        (side(*QUIET), side(), "the new run has no figure for this cell"),
        (side(*QUIET, source="missing"), side(*QUIET), "the base has no figure for this cell"),
        (None, side(*QUIET), "the base does not have this cell"),
        (side(*QUIET), None, "the new run does not have this cell"),
        (
            side(*QUIET, artifact="aa", threads="2", cpu="x"),
            side(*QUIET, artifact="bb", threads="4", cpu="x"),
            "artifact: aa against bb; threads: 2 against 4",
        ),
    ],
)
def test_what_is_unlike_is_not_compared(base: Side | None, new: Side | None, reason: str) -> None:
    found = judge({"cell": (base, new), "good": (scaled(1.0), scaled(1.1))})
    cell, good = found.cells
    assert (cell.verdict, cell.reason, cell.ratio) == (Verdict.REFUSED, reason, None)
    assert good.p_holm == good.p  # what was not tested is no part of the family
    assert found.overall is not None
    assert found.overall.centre == pytest.approx(1.1)


def test_estimates_may_be_compared_with_each_other() -> None:
    base, new = side(*QUIET, source="estimated"), side(*QUIET, source="estimated")
    assert judged(base, new).cells[0].verdict is Verdict.EQUIVALENT


def test_all_that_differs_is_listed_at_once() -> None:
    model = Basis((Part("cpu-estimate", Provenance.ESTIMATED, "2 threads"),))
    other = Basis((Part("cpu-estimate", Provenance.ESTIMATED, "8 threads"),))
    base = Side({0: 1.0, 1: 1.0}, model, facts={"threads": "2", "window": "2 s"})
    (cell,) = judged(base, Side({0: 1.0}, other, facts={"threads": "4", "window": "1 s"})).cells
    assert "2 threads against 8 threads" in cell.reason
    assert "threads: 2 against 4; window: 2 s against 1 s" in cell.reason
    assert cell.differences == ("energy.estimate", "threads", "window")


def test_flags_stand_beside_the_verdict() -> None:
    new = Side(scaled(1.05).values, flags={"disturbed": 5, "throttled": 2})
    (cell,) = judged(scaled(1.0), new).cells
    assert cell.verdict is Verdict.WORSE
    assert cell.reason == "new run: 5 of 5 flagged disturbed, 2 of 5 throttled"
    assert cell.flags == ({}, {"disturbed": 5, "throttled": 2})


def test_a_fact_that_one_side_does_not_know_is_told() -> None:
    (cell,) = judged(side(*QUIET, affinity="0,1"), side(*QUIET)).cells
    assert cell.verdict is Verdict.EQUIVALENT
    assert cell.reason == "known of one side only: affinity"


def test_the_overall_ratio_is_the_geometric_mean_over_cells() -> None:
    found = judge({"a": (scaled(1.0), scaled(2.0)), "b": (scaled(5.0), scaled(2.5))})
    assert found.overall is not None
    assert found.overall.centre == pytest.approx(1.0)


def test_of_one_cell_the_overall_ratio_is_that_cells() -> None:
    base, new = side(1.0, 1.1, 0.95, 1.02), side(1.2, 1.0, 1.3)
    found = judged(base, new)
    assert found.overall is not None
    assert found.cells[0].ratio is not None
    assert (found.overall.low, found.overall.high) == pytest.approx(
        (found.cells[0].ratio.low, found.cells[0].ratio.high)
    )


@pytest.mark.parametrize("paired", [True, False])
def test_the_overall_interval_knows_that_cells_of_a_block_move_together(paired: bool) -> None:
    random = np.random.default_rng(8)
    held = 0
    for _ in range(600):
        base, new = (np.exp(random.normal(0, 0.05, 6)) for _ in range(2))
        new = base if paired else new
        cells: list[tuple[Mapping[int, float], Mapping[int, float]]] = [
            (
                dict(enumerate(base * np.exp(random.normal(0, 0.01, 6)))),
                dict(enumerate(new * 1.1 * np.exp(random.normal(0, 0.01, 6)))),
            )
            for _ in range(5)
        ]
        found = overall_ratio(cells, paired=paired)
        assert found is not None
        held += not found.excludes(1.1)
    assert held / 600 == pytest.approx(0.95, abs=0.03)


def test_a_repetition_that_failed_does_not_move_the_overall_ratio_to_another_cell() -> None:
    full, part = scaled(1.0), side(*QUIET[:3])
    found = overall_ratio(
        [
            (full.values, scaled(2.0).values),
            (full.values, {b: 3 * v for b, v in part.values.items()}),
        ]
    )
    assert found is not None
    assert found.centre == pytest.approx(math.sqrt(6), rel=1e-3)


@pytest.mark.parametrize("threshold", [0.0, 1.0, 3.0, math.nan])
def test_a_threshold_is_a_share(threshold: float) -> None:
    with pytest.raises(UsageError, match=r"a share between 0 and 1, such as 0\.03 or 3%"):
        judged(scaled(1.0), scaled(1.0), threshold=threshold)
