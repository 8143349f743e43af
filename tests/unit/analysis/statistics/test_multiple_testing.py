"""Holm's correction against that of statsmodels."""

import gc
from collections.abc import Iterator

import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from greenbatch.analysis.statistics.multiple_testing import holm


@pytest.fixture(scope="module", autouse=True)
def _few_objects_to_collect() -> Iterator[None]:
    """Hide what exists already from the collection that statsmodels makes at each call."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.parametrize(
    "ps",
    [
        [0.04],
        [0.01, 0.04, 0.03, 0.005],
        [0.5, 0.5, 0.5],  # at most 1
        [0.0, 1.0, 1e-300],
        [0.02, 0.02, 0.011, 0.9, 0.02],  # ties
    ],
)
def test_it_is_that_of_statsmodels(ps: list[float]) -> None:
    assert holm(ps) == pytest.approx(list(multipletests(ps, method="holm")[1]), rel=0, abs=0)


def test_random_families_are_those_of_statsmodels() -> None:
    rng = np.random.default_rng(3)
    for size in (1, 2, 7, 60):
        ps = list(rng.beta(0.4, 2.0, size))
        assert holm(ps) == list(multipletests(ps, method="holm")[1])


def test_no_test_is_no_family() -> None:
    assert holm([]) == []
