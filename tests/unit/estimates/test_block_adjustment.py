"""Means adjusted for blocks against statsmodels, and which cells are comparable at all."""

import numpy as np
import pandas as pd
import pytest
from statsmodels.formula.api import ols

from greenbatch.estimates.block_adjustment import fit_blocks

pytestmark = pytest.mark.numeric


@pytest.mark.parametrize("seed", range(5))
def test_the_means_of_an_unbalanced_design_are_those_of_least_squares(seed: int) -> None:
    random = np.random.default_rng(seed)
    values = random.normal(0, 1, (6, 7)) + random.normal(0, 3, 7)
    values[random.random(values.shape) < 0.4] = np.nan
    values[0] = 1.0  # with a cell in every block all are connected
    fit = fit_blocks(values)
    table = pd.DataFrame(
        [(c, b, v) for (c, b), v in np.ndenumerate(values) if v == v],
        columns=["cell", "block", "v"],
    )
    model = ols("v ~ C(cell) + C(block)", table).fit()
    cells = sorted(table["cell"].unique())
    every = pd.DataFrame([(c, b) for c in cells for b in range(7)], columns=["cell", "block"])
    expected = every.assign(v=model.predict(every)).groupby("cell")["v"].mean()
    assert fit.means[cells] == pytest.approx(expected.to_numpy(), abs=1e-10)
    assert fit.residual_sd == pytest.approx(model.scale**0.5)
    assert fit.degrees_of_freedom == model.df_resid
    assert not fit.balanced


def test_where_all_cells_share_all_blocks_the_means_are_plain() -> None:
    values = np.random.default_rng(0).normal(0, 1, (4, 5))
    fit = fit_blocks(values)
    assert fit.balanced
    assert (fit.means == values.mean(1)).all()
    without = values.copy()
    without[:, 2] = np.nan  # a block that failed for all of them leaves nothing to adjust
    assert fit_blocks(without).balanced


def test_cells_that_no_chain_of_blocks_connects_are_in_groups_of_their_own() -> None:
    nan = np.nan
    values = np.array(
        [
            [1.0, 2.0, nan, nan, nan],
            [nan, 2.5, 3.5, nan, nan],  # shares a block with the first one
            [nan, nan, nan, 1.0, 1.0],
            [nan, nan, nan, nan, nan],
        ]
    )
    fit = fit_blocks(values)
    first, second, third, nothing = fit.groups.tolist()
    assert first == second != third
    assert nothing == -1
    assert np.isnan(fit.means[3])
    # 2.5 - 2 in the block that they share, at the level of the three blocks of the group
    assert fit.means[1] - fit.means[0] == pytest.approx(0.5)
