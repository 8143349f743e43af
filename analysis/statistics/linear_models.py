"""Analysis of variance over factors, and the mixed model of cells in blocks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

from greenbatch import units
from greenbatch.analysis.statistics.hypothesis_tests import (
    Effect,
    Test,
    corrected,
    eta_squared,
    make_test,
)
from greenbatch.analysis.statistics.random_intercepts import fit_random_intercept
from greenbatch.confidence import CONFIDENCE, student_quantile
from greenbatch.errors import UsageError
from greenbatch.extras import require


@dataclass(frozen=True, slots=True)
class Term:
    """One term of an analysis of variance.

    Attributes:
        test: Its effect is partial eta squared: of what the other terms leave, the share that
            this one explains.
        eta_squared: The share of all variation about the mean.
    """

    test: Test
    eta_squared: float


Rows = Sequence[Mapping[str, str | float]]


def anova(
    rows: Rows,
    value: str,
    factors: Sequence[str],
    *,
    crossed: bool = True,
    typ: Literal[2, 3] = 2,
    block: str | None = None,
) -> list[Term]:
    """Analyse variance over factors.

    Args:
        rows: One for each repetition: the value and a level of each factor.
        value: Key of the value.
        factors: Keys of the factors; their levels are names, also where they are numbers.
        crossed: With all interactions; needs repetitions in every combination.
        typ: 2: each term after all that do not contain it. 3: each term after all others, with
            contrasts that sum to zero.
        block: Key of what the repetitions were blocked by: a factor that has no interactions and
            is not of the family that p is corrected over.

    Raises:
        UsageError: Too few rows for the terms, a factor with one level, or values all alike.

    Source:
        Langsrud, Statistics and Computing 13, 2003, for type II; Steiger, Psychological Methods 9,
        2004, for the interval of partial eta squared from the noncentral F.
    """
    require("an analysis of variance", ["statsmodels"])
    from statsmodels.stats.anova import anova_lm

    fit, names = _fitted(rows, value, factors, crossed, block)
    found = anova_lm(fit, typ=typ).drop(index="Intercept", errors="ignore")
    residual = float(found.loc["Residual", "sum_sq"])
    free = float(found.loc["Residual", "df"])
    y = fit.model.endog
    total = float(((y - y.mean()) ** 2).sum())
    tests, shares = [], []
    for term, line in found.drop(index="Residual").iterrows():
        label = " x ".join(names[part.strip()[2:].split(",")[0]] for part in str(term).split(":"))
        degrees_of_freedom = (float(line["df"]), free)
        square = float(line["sum_sq"])
        effect = replace(
            eta_squared(float(line["F"]), degrees_of_freedom), centre=square / (square + residual)
        )
        kind = f"ANOVA {'I' * typ}"
        tests.append(
            make_test(
                kind,
                label,
                line["F"],
                degrees_of_freedom,
                line["PR(>F)"],
                "partial eta squared",
                effect,
            )
        )
        shares.append(square / total)
    family = iter(corrected([test for test in tests if test.of != block]))
    return [
        Term(test if test.of == block else next(family), share)
        for test, share in zip(tests, shares, strict=True)
    ]


def tukey(
    rows: Rows,
    value: str,
    factors: Sequence[str],
    of: str,
    *,
    crossed: bool = True,
    block: str | None = None,
) -> list[Test]:
    """Compare the levels of one factor within the model of `anova`, all pairs at once.

    The effect is the difference of the levels' means, the other factors weighing alike. p and
    interval are of the whole family already, by the studentised range.

    Args:
        rows, value, factors, crossed, block: As for `anova`.
        of: Key of the factor.

    Raises:
        UsageError: As for `anova`.

    Source:
        Tukey (1949) and Kramer, Biometrics 12, 1956, on the model's residual.
    """
    import numpy as np
    from scipy.stats import studentized_range

    fit, names = _fitted(rows, value, factors, crossed, block)
    key = next(key for key, name in names.items() if name == of)
    columns = [
        place
        for place, name in enumerate(fit.model.exog_names)
        if name.startswith(f"C({key}, Sum)[") and ":" not in name
    ]
    levels = sorted({str(row[of]) for row in rows})
    free, k = float(fit.df_resid), len(levels)
    codes = np.vstack([np.eye(k - 1), -np.ones(k - 1)])  # the last level is less all others
    critical = float(studentized_range.ppf(CONFIDENCE, k, free)) / 2**0.5
    found = []
    for i, j in combinations(range(k), 2):
        contrast = np.zeros(len(fit.params))
        contrast[columns] = codes[i] - codes[j]
        difference = float(contrast @ fit.params)
        error = float(contrast @ fit.cov_params() @ contrast) ** 0.5
        half = critical * error
        effect = Effect(difference - half, difference, difference + half, "simultaneous")
        t = difference / error
        p = float(studentized_range.sf(abs(t) * 2**0.5, k, free))
        label = f"{of} {levels[i]} - {levels[j]}"
        found.append(make_test("Tukey", label, t, (free,), p, "difference of means", effect))
    return found


def _fitted(
    rows: Rows, value: str, factors: Sequence[str], crossed: bool, block: str | None
) -> tuple[Any, dict[str, str]]:
    """Fit the model; the second are the factors' names by those in the formula."""
    import numpy as np
    import pandas as pd

    require("a linear model", ["statsmodels"])
    from statsmodels.formula.api import ols

    # Plain columns: a factor's name need not be a name in a formula.
    names = {f"f{place}": factor for place, factor in enumerate(factors)}
    every = names | ({f"f{len(factors)}": block} if block else {})
    table = pd.DataFrame(
        {"y": [float(row[value]) for row in rows]}
        | {key: [str(row[factor]) for row in rows] for key, factor in every.items()}
    )
    for key, factor in every.items():
        if table[key].nunique() < 2:
            raise UsageError(f"{factor} has one level; leave it out of the factors")
    if table["y"].nunique() < 2:
        raise UsageError(f"all values of {value} are alike; there is no variance to analyse")
    terms = (" * " if crossed else " + ").join(f"C({key}, Sum)" for key in names)
    if block:
        terms += f" + C(f{len(factors)}, Sum)"
    model = ols(f"y ~ {terms}", table)
    columns = model.exog.shape[1]
    if len(table) <= columns or np.linalg.matrix_rank(model.exog) < columns:
        raise UsageError(
            f"{units.count(len(table), 'value')} do not determine all terms of "
            f"{' x '.join(factors)}; measure every combination more than once, or leave "
            "interactions out"
        )
    return model.fit(), every


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedModel:
    """Cells as fixed, blocks as random effects.

    Attributes:
        tests: Each cell against the reference: the effect is the difference of means.
        reference_mean: Of the reference cell, with its interval.
        block_sd, residual_sd: What varies between blocks, and within them.
        flags: What makes the figures less certain, such as a variance estimated as zero.
    """

    tests: tuple[Test, ...]
    reference_mean: Effect
    block_sd: float
    residual_sd: float
    flags: tuple[str, ...]


def mixed_model(cells: Mapping[str, Mapping[int, float]]) -> MixedModel:
    """Fit value = cell + block + rest by REML; the first cell is the reference.

    Args:
        cells: Values by block, for each cell; blocks may be missing here and there.

    Raises:
        UsageError: Fewer than two cells or blocks, as many effects as values, or values that
            cell and block explain without a rest.

    Source:
        Pinheiro & Bates, Mixed-Effects Models in S and S-PLUS, 2000, sections 1.2 and 2.4: t on
        values - blocks - cells + 1 degrees of freedom.
    """
    import numpy as np
    from scipy import stats

    names = list(cells)
    rows = [(names.index(c), block, float(v)) for c in names for block, v in cells[c].items()]
    blocks = sorted({block for _, block, _ in rows})
    free = len(rows) - len(blocks) - len(names) + 1
    if len(names) < 2 or len(blocks) < 2 or free < 1 or not all(cells.values()):
        raise UsageError(
            f"a mixed model of {units.count(len(names), 'cell')} in "
            f"{units.count(len(blocks), 'block')} with {units.count(len(rows), 'value')} cannot be "
            "fitted; it needs two cells and two blocks, and cells that share blocks"
        )
    design = np.zeros((len(rows), len(names)))
    design[:, 0] = 1.0
    groups = np.zeros((len(rows), len(blocks)))
    for line, (cell, block, _) in enumerate(rows):
        design[line, cell] = 1.0
        groups[line, blocks.index(block)] = 1.0
    fit = fit_random_intercept(np.array([value for *_, value in rows]), design, groups)
    t = student_quantile(free)
    found = []
    for name, estimate, error in zip(names, fit.estimates, fit.errors, strict=True):
        effect = Effect(estimate - t * error, estimate, estimate + t * error, "t, REML")
        ratio = estimate / error
        p = 2 * float(stats.t.sf(abs(ratio), free))
        of = f"{name} - {names[0]}"
        found.append(
            make_test("mixed model", of, ratio, (float(free),), p, "difference of means", effect)
        )
    mean = found[0].effect
    assert mean is not None
    flags = () if fit.group_sd else (_NO_BLOCKS,)
    return MixedModel(
        tests=tuple(corrected(found[1:])),
        reference_mean=mean,
        block_sd=fit.group_sd,
        residual_sd=fit.residual_sd,
        flags=flags,
    )


_NO_BLOCKS = (
    "the variance between blocks is estimated as zero, the boundary of what is possible: the "
    "blocks explain nothing"
)
