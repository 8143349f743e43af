"""Claims about many cells: how often they are false, and what they need to be made."""

import numpy as np
import pytest
from scipy import stats
from scipy.special import polygamma

from benchmarks.claims import CLAIMS, rate
from greenbatch.analysis.statistics.claims import (
    ALPHA,
    FRONT,
    Competition,
    front_codes,
    least,
    p_differ,
    picked_is_less,
)
from greenbatch.analysis.statistics.multiple_testing import holm
from greenbatch.estimates.moderated_variance import moderate

pytestmark = pytest.mark.numeric


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 10])
@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_about_equal_cells_is_false_in_five_percent_at_most(name: str, n: int) -> None:
    samples = 120
    wrong = rate(CLAIMS[name], "alike", 12, n, samples) * samples
    # 5 % of them, and what chance adds to it in one test of a thousand
    assert wrong <= stats.binom.isf(1e-3, samples, 0.05)


def test_the_p_of_two_cells_is_scipys_paired_t() -> None:
    one, other = np.exp(np.random.default_rng(3).normal([[0.0], [0.3]], 0.1, (2, 6)))
    expected = stats.ttest_rel(np.log(one), np.log(other)).pvalue
    assert expected < 0.05
    named = [dict(enumerate(values.tolist())) for values in (one, other)]
    assert p_differ(*named) == pytest.approx(expected)
    assert float(Competition(np.stack([one, other])).p_above(1, 0)) == pytest.approx(expected / 2)


def test_many_cells_that_vary_alike_lend_their_degrees_of_freedom() -> None:
    random = np.random.default_rng(0)
    values = np.exp(random.normal(0, 0.01, (40, 3)))
    values[0] *= 0.8
    found = least(values)
    assert found is not None
    assert (found.best, found.alike, found.shown) == (0, (), True)
    assert stats.t.isf(0.025 / 39, 2) > 25  # what each pair alone would need


@pytest.mark.slow
def test_a_cell_that_varies_more_keeps_its_own_spread() -> None:
    random = np.random.default_rng(1)
    spread = np.r_[0.2, np.full(39, 0.002)][:, None]
    made = 0
    for _ in range(60):
        energy = np.exp(random.normal(0, 1, (40, 3)) * spread)
        codes = front_codes([energy, energy])
        made += FRONT[codes[0]] == "dominated" or FRONT[codes[1:].min()] == "dominated"
    assert made <= stats.binom.isf(1e-3, 60, 0.05)


def test_a_difference_that_its_own_interval_does_not_show_is_not_significant() -> None:
    quiet = np.array([[1 + 5e-4 * ((i * k) % 3 - 1) for k in range(3)] for i in range(1, 9)])
    best, noisy = 0.9 * np.array([1.0, 1.001, 0.999]), 0.9 * np.array([1.01, 1.002, 1.06])
    competition = Competition(np.vstack([best, quiet, noisy]))
    assert float(competition.p_above(9, 0)) == 1.0  # 2.4 % more, by 1 to 6 %
    assert float(competition.p_above(8, 0)) < 1e-3


def test_cells_that_do_not_differ_from_the_least_are_those_that_holm_leaves() -> None:
    decided = 0
    for seed in range(40):
        random = np.random.default_rng(seed)
        means = np.array([0, 0.02, 0.02, 0.025, 0.03])[:, None]
        figures = np.exp(random.normal(0, 0.01, (5, 4)) + means)
        found = least(figures)
        assert found is not None
        others = np.array(found.order[1:])
        p = np.minimum(2 * Competition(figures).p_above(others, found.best), 1.0)
        corrected = np.array(holm([*p]))
        assert found.alike == tuple(others[corrected > ALPHA].tolist())
        decided += found.alike != tuple(others[p > ALPHA].tolist())
    assert decided >= 3  # else the correction would make no difference here


def test_the_least_is_found_by_the_blocks_that_cells_share() -> None:
    """Block 2 takes twice as much of everything, and the best cell failed everywhere else."""
    nan = np.nan
    values = np.array([[1.0, 1.0, 2.0, 1.0], [1.1, 1.1, nan, 1.1], [1.05, nan, 2.1, nan]])
    found = least(values * (1 + 0.001 * np.random.default_rng(0).normal(size=values.shape)))
    assert found is not None
    assert found.order == (0, 2, 1)
    assert found.adjusted
    assert np.nanmean(values, 1).argmin() == 1  # what plain means would have said


def test_cells_that_share_no_chain_of_blocks_are_not_comparable() -> None:
    nan = np.nan
    values = np.array(
        [[2.0, 2.1, 2.0, nan, nan], [2.2, 2.3, 2.2, nan, nan], [nan] * 3 + [1.0, 1.0]]
    )
    found = least(values)
    assert found is not None
    assert (found.best, found.apart, found.shown) == (0, (2,), False)
    assert FRONT[front_codes([values, values])[2]] == "unsure"


def test_the_next_cell_is_not_below_the_best_in_the_blocks_of_the_two() -> None:
    random = np.random.default_rng(5)
    for _ in range(300):
        values = np.exp(random.normal(0, 0.02, (4, 6)) + random.normal(0, 0.1, 6))
        values[random.random(values.shape) < 0.4] = np.nan
        found = least(values)
        if found is None or found.runner_up is None:
            continue
        moved = np.log(values[found.runner_up] / values[found.best])
        assert not moved[np.isfinite(moved)].sum() < -1e-12


def test_a_cell_without_any_spread_is_not_set_apart_by_rounding() -> None:
    equal = np.array([[1.0, 1.0, 1.0], [1.0000001] * 3])
    found = least(equal)
    assert found is not None
    assert found.alike == (1,)
    assert p_differ(dict(enumerate(equal[0])), dict(enumerate(equal[1]))) > 0.05
    apart = least(np.array([[1.0, 1.0, 1.0], [1.02, 1.02, 1.02]]))
    assert apart is not None
    assert apart.shown


def test_a_saving_of_a_cell_that_was_picked_needs_more_than_one_that_was_not() -> None:
    first = np.array([1.0, 1.01, 0.99, 1.005])
    less = first * np.exp([-0.010, -0.025, -0.012, -0.022])
    others = first * np.exp(np.random.default_rng(0).normal(0, 0.03, (10, 4)) + 0.1)
    assert picked_is_less(np.stack([first, less]), 1, 0)
    assert not picked_is_less(np.stack([first, less, *others]), 1, 0)


@pytest.mark.parametrize("prior", [2.0, 8.0])
def test_moderated_variances_find_how_much_the_cells_differ(prior: float) -> None:
    """Variances of a scaled inverse chi-squared distribution, as the model has it."""
    random = np.random.default_rng(0)
    truth = 3.0 * prior / random.chisquare(prior, 20000)
    seen = truth * random.chisquare(4, truth.size) / 4
    found = moderate(seen, np.full(truth.size, 4.0))
    assert 0.85 * prior < found.degrees_of_freedom[0] - 4 < prior  # on the safe side
    # The moderated variance is the posterior mean of the precision, inverted.
    assert (1 / found.variances).mean() == pytest.approx((1 / truth).mean(), rel=0.03)


def test_variances_that_differ_by_chance_alone_are_pooled() -> None:
    seen = np.full(6, 2.0) * np.array([0.9, 1.0, 1.1, 1.0, 0.95, 1.05])
    found = moderate(seen, np.full(6, 4.0))
    assert found.variances == pytest.approx(np.full(6, seen.mean()))
    assert np.isinf(found.degrees_of_freedom).all()
    assert np.log(seen).var(ddof=1) < polygamma(1, 2)
