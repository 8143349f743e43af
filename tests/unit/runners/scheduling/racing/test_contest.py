"""The rule of a race: who leaves, when, and how often wrongly."""

import numpy as np
import pytest

from greenbatch.runners.scheduling.racing.contest import ALPHA, Contest, Spread, spreads

DELTA = float(np.log(1.03))


def known(candidates: int, spread: float, free: float = 1e6) -> Spread:
    """A spread that all candidates have."""
    return Spread(np.full(candidates, spread**2), np.full(candidates, free), free)


def test_the_boundary_is_that_of_kim_and_nelson() -> None:
    # By hand: k - 1 = 4, n0 - 1 = 9: eta = ((0.1 / 4) ** (-2 / 9) - 1) / 2, h2 = 2 * eta * 9.
    eta = ((2 * ALPHA / 4) ** (-2 / 9) - 1) / 2
    variance, blocks = 2 * 0.02**2, 3
    boundary = DELTA / 2 * (2 * eta * 9 * variance / DELTA**2 - blocks)
    for excess, leaves in ((1.001, True), (0.999, False)):
        rows = np.array([np.zeros(3), np.full(3, excess * boundary / 3)])
        spread = Spread(np.full(2, 0.02**2), np.full(2, 4.5), 9.0)
        assert Contest(rows, spread, DELTA, 4).no_better()[1, 0] == leaves


def test_nothing_is_shown_of_one_block() -> None:
    rows = np.array([[0.0], [5.0]])
    assert spreads([rows]) == [None]
    assert not Contest(rows, None, DELTA, 1).no_better().any()


def test_of_equal_candidates_one_is_left_when_the_boundary_has_closed() -> None:
    contest = Contest(np.zeros((3, 60)), known(3, 0.02), DELTA, 2)
    assert contest.no_better().any(1).tolist() == [False, True, True]


def test_effects_of_a_block_do_not_count() -> None:
    random = np.random.default_rng(1)
    rows = random.normal(0, 0.01, (6, 4))
    moved = rows + np.array([0.0, 1.0, -2.0, 0.5])
    one, other = spreads([rows])[0], spreads([moved])[0]
    assert one is not None
    assert other is not None
    assert one.variances == pytest.approx(other.variances)
    for spread in (one, other):
        assert (
            Contest(rows, spread, DELTA, 5).no_better()
            == Contest(moved, spread, DELTA, 5).no_better()
        ).all()


def test_a_best_candidate_is_lost_in_at_most_five_percent_of_races() -> None:
    """Four others that are worse by just the indifference: the least favourable case."""
    random = np.random.default_rng(2)
    races, lost = 200, 0
    for _ in range(races):
        truth = np.array([0.0, *[DELTA] * 4])
        rows = random.normal(0, 0.02, (5, 40)) + truth[:, None] + random.normal(0, 1, 40)
        for blocks in range(2, 40):
            spread = known(5, 0.02)
            left = np.logical_not(Contest(rows[:, :blocks], spread, DELTA, 4).no_better().any(1))
            if not left[0]:
                lost += 1
                break
            if left.sum() == 1:
                break
    assert lost / races <= ALPHA + 3 * (ALPHA * (1 - ALPHA) / races) ** 0.5
    assert lost > 0  # it is not the rule that never decides


def test_spreads_of_all_groups_are_estimated_together() -> None:
    random = np.random.default_rng(3)
    groups = [random.normal(0, 0.02, (4, 2)) for _ in range(20)]
    found = [spread for spread in spreads(groups) if spread]
    assert len(found) == 20
    assert found[0].free == 60
    assert np.mean([s.variances.mean() for s in found]) ** 0.5 == pytest.approx(0.02, rel=0.3)


def test_a_cell_of_one_block_has_the_spread_of_the_others() -> None:
    random = np.random.default_rng(4)
    rows = random.normal(0, 0.02, (6, 4))
    rows[5, 1:] = np.nan
    spread = spreads([rows])[0]
    assert spread is not None
    assert 0.01 < spread.variances[5] ** 0.5 < 0.04
    far = rows.copy()
    far[5, 0] += 1.0
    assert Contest(far, spread, DELTA, 5).no_better()[5, :5].all()
