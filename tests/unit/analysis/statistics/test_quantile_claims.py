"""When observations show that a quantile is within a limit: MLPerf's early stopping, and truth."""

import numpy as np
import pytest

from greenbatch.analysis.statistics.quantile_claims import exists, is_shown, most_over

# Least observations under the limit by quantile, for 0, 1, 2, 3 and 5 over it, at 99 %: from the
# binomial bound of LoadGen's early stopping; 63 + 1 and 661 + 1 are MLPerf's minimum counts.
LOADGEN = {
    0.90: (44, 63, 79, 94, 122),
    0.95: (90, 129, 163, 195, 254),
    0.97: (152, 218, 275, 329, 428),
    0.99: (459, 661, 836, 998, 1302),
}


@pytest.mark.parametrize("quantile", LOADGEN)
def test_as_many_are_needed_as_in_mlperfs_loadgen(quantile: float) -> None:
    for over, under in zip((0, 1, 2, 3, 5), LOADGEN[quantile], strict=True):
        assert is_shown(under + over, over, quantile)
        assert not is_shown(under + over - 1, over, quantile)


@pytest.mark.slow
def test_a_claim_is_wrong_in_one_of_a_hundred_at_most() -> None:
    """Where 1.05 % of the observations are over the limit, the p99 is over it."""
    rng = np.random.default_rng(0)
    counts = rng.integers(459, 3000, 20_000)
    over = rng.binomial(counts, 0.0105)
    wrong = np.mean([is_shown(int(n), int(k), 0.99) for n, k in zip(counts, over, strict=True)])
    assert 0.001 < wrong <= 0.01


def test_a_quantile_exists_from_its_share_on() -> None:
    assert [exists(n, 0.99) for n in (5, 99, 100)] == [False, False, True]
    assert [exists(n, 0.9) for n in (9, 10)] == [False, True]
    assert not exists(0, 0.5)


def test_those_over_a_limit_are_counted_from_the_quantiles() -> None:
    values = np.sort(np.random.default_rng(1).lognormal(0, 1, 1000))
    wanted = (0.5, 0.9, 0.95, 0.99, 0.999, 1.0)
    found = np.quantile(values, wanted, method="inverted_cdf").tolist()
    quantiles = dict(zip(wanted, found, strict=True))
    for limit in (0.1, *found, 100.0):
        assert int((values > limit).sum()) <= most_over(1000, quantiles, limit)
    assert most_over(1000, quantiles, found[-1]) == 0
    assert most_over(1000, quantiles, found[3]) == 10
    assert most_over(1000, quantiles, 1e-9) == 1000
