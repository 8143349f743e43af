"""Tests of hypotheses against published examples, to as many digits as were published.

Where a publication rounds to fewer digits than six, two independent implementations are compared
too, and the test says so.
"""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multicomp import pairwise_tukeyhsd
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.oneway import anova_oneway

from greenbatch.analysis.statistics import hypothesis_tests as h
from greenbatch.analysis.statistics.linear_models import anova, mixed_model
from greenbatch.analysis.statistics.mean_tests import games_howell, welch, welch_anova
from greenbatch.analysis.statistics.multiple_testing import holm
from greenbatch.errors import UsageError

pytestmark = pytest.mark.numeric

# R's datasets::PlantGrowth (Dobson, An Introduction to Statistical Modelling, 1983, table 7.1).
PLANTS = {
    "ctrl": [4.17, 5.58, 5.18, 6.11, 4.50, 4.61, 5.17, 4.53, 5.33, 5.14],
    "trt1": [4.81, 4.17, 4.41, 3.59, 5.87, 3.83, 6.03, 4.89, 4.32, 4.69],
    "trt2": [6.31, 5.12, 5.54, 5.50, 5.37, 5.29, 4.92, 6.15, 5.80, 5.26],
}
# R's nlme::ergoStool (Devore, 2000; Pinheiro & Bates, 2000, section 1.2): rows are subjects.
STOOLS = (
    (12, 15, 12, 10),
    (10, 14, 13, 12),
    (7, 14, 13, 9),
    (7, 11, 10, 9),
    (8, 11, 8, 7),
    (9, 11, 11, 10),
    (8, 12, 12, 11),
    (7, 11, 8, 7),
    (9, 13, 10, 8),
)
# Kidney data (Kutner et al., Applied Linear Statistical Models, problem 19.18): days in hospital
# by duration of treatment and weight gain, ten patients each.
KIDNEY = (
    (1, 1, (0, 2, 1, 3, 0, 2, 0, 5, 6, 8)),
    (1, 2, (2, 4, 7, 12, 15, 4, 3, 1, 5, 20)),
    (1, 3, (15, 10, 8, 5, 25, 16, 7, 30, 3, 27)),
    (2, 1, (0, 1, 1, 0, 4, 2, 7, 4, 0, 3)),
    (2, 2, (5, 3, 2, 0, 1, 1, 3, 6, 7, 9)),
    (2, 3, (10, 8, 12, 3, 7, 15, 4, 9, 6, 1)),
)


def bounds(effect: h.Effect | None) -> tuple[float, float]:
    assert effect is not None
    assert effect.low <= effect.centre <= effect.high
    return effect.low, effect.high


def test_shapiro_wilk_is_that_of_the_paper() -> None:
    # Weights of eleven men: Shapiro & Wilk, Biometrika 52, 1965, section 4.1: W = 0.79; the digits
    # are those in scipy's documentation of `shapiro`.
    men = [148.0, 154, 158, 160, 161, 162, 166, 170, 182, 195, 236]
    (found,) = h.shapiro_wilk({"men": men})
    assert found.statistic == pytest.approx(0.7888147, abs=1e-6)
    assert found.p == pytest.approx(0.006703814061898823, abs=1e-9)
    low, _ = bounds(found.effect)
    assert low > 0  # skewed to the right


def test_levene_is_rs() -> None:
    found = h.levene(PLANTS)  # car::leveneTest(weight ~ group, PlantGrowth): 1.1192, 2 and 27
    assert (found.statistic, found.p) == pytest.approx((1.1192, 0.3412), abs=5e-5)
    assert found.degrees_of_freedom == (2, 27)
    # To more digits: analysis of variance of the distances from the medians.
    distances = [np.abs(np.array(v) - np.median(v)) for v in PLANTS.values()]
    assert (found.statistic, found.p) == pytest.approx(tuple(stats.f_oneway(*distances)), abs=1e-9)


def test_kruskal_wallis_is_rs() -> None:
    found = h.kruskal_wallis(PLANTS)  # kruskal.test(weight ~ group, PlantGrowth)
    assert found.statistic == pytest.approx(7.9882, abs=5e-5)
    assert found.p == pytest.approx(0.01842, abs=5e-6)
    assert found.effect is not None
    # rstatix::kruskal_effsize(PlantGrowth, weight ~ group): 0.222; and from H itself.
    assert found.effect.centre == pytest.approx(0.222, abs=5e-4)
    h_of_scipy = stats.kruskal(*PLANTS.values()).statistic
    assert found.effect.centre == pytest.approx((h_of_scipy - 2) / 27, abs=1e-12)
    bounds(found.effect)


def test_dunn_is_rs() -> None:
    # FSA::dunnTest(weight ~ group, PlantGrowth, method = "holm")
    found = {test.of: test for test in h.dunn(PLANTS)}
    z = [found[of].statistic for of in ("ctrl - trt1", "ctrl - trt2", "trt1 - trt2")]
    p = [found[of].p for of in ("ctrl - trt1", "ctrl - trt2", "trt1 - trt2")]
    assert z == pytest.approx([1.117725, -1.689290, -2.807015], abs=1e-6)
    assert p == pytest.approx([0.26368427, 0.09116394, 0.00500029], abs=1e-8)
    assert found["trt1 - trt2"].p_holm == pytest.approx(3 * found["trt1 - trt2"].p)


@pytest.mark.slow
def test_dunn_with_ties_is_scikit_posthocs() -> None:
    posthocs = pytest.importorskip("scikit_posthocs")
    groups = {"a": [1, 2, 2, 3, 5], "b": [2, 4, 4, 5, 6], "c": [5, 5, 7, 8, 9, 9]}
    expected = posthocs.posthoc_dunn([*groups.values()], p_adjust="holm")
    found = {test.of: test.p_holm for test in h.dunn(groups)}
    assert found["a - b"] == pytest.approx(expected.loc[1, 2], abs=1e-12)
    assert found["a - c"] == pytest.approx(expected.loc[1, 3], abs=1e-12)
    assert found["b - c"] == pytest.approx(expected.loc[2, 3], abs=1e-12)


def test_mann_whitney_is_rs_and_exact() -> None:
    # Example of R's wilcox.test (Hollander & Wolfe, 1973, p. 69: permeability of membranes):
    # W = 35, one-sided p = 0.1272, which is 382 / 3003 exactly.
    term = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46]
    early = [1.15, 0.88, 0.90, 0.74, 1.21]
    (found,) = h.mann_whitney({"term": term, "early": early})
    assert found.statistic == 35
    assert found.p == pytest.approx(2 * 382 / 3003, abs=1e-12)
    assert found.effect is not None
    assert found.effect.centre == pytest.approx(2 * 35 / 50 - 1)


def test_cliffs_delta_is_rs() -> None:
    # Example of effsize::cliff.delta, as its documentation prints it.
    treatment = [10, 10, 20, 20, 20, 30, 30, 30, 40, 50]
    found = h.cliffs_delta(treatment, [10, 20, 30, 40, 40, 50])
    assert found is not None
    assert (found.low, found.centre, found.high) == pytest.approx(
        (-0.7265846, -0.25, 0.3890062), abs=1e-7
    )


def test_cliffs_delta_without_overlap_is_not_sure_with_three() -> None:
    three, thirty = ([float(v) for v in range(n)] for n in (3, 30))
    few = h.cliffs_delta([v + 100 for v in three], three)
    many = h.cliffs_delta([v + 100 for v in thirty], thirty)
    assert few is not None
    assert many is not None
    assert (few.centre, few.high) == (1.0, 1.0)
    assert few.low < 0 < 0.7 < many.low
    mirrored = h.cliffs_delta(three, [v + 100 for v in three])
    assert mirrored is not None
    assert (mirrored.low, mirrored.high) == (-few.high, -few.low)


def test_welch_is_rs() -> None:
    # t.test(extra ~ group, data = sleep): t = -1.8608, df = 17.776, p-value = 0.07939.
    groups = {
        "1": [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0],
        "2": [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4],
    }
    (found,) = welch(groups)
    assert (found.statistic, found.degrees_of_freedom[0]) == pytest.approx(
        (-1.8608, 17.776), abs=5e-4
    )
    assert found.p == pytest.approx(0.07939, abs=5e-6)
    assert bounds(found.effect) == pytest.approx((-3.3654832, 0.2054832), abs=1e-7)


def test_welchs_analysis_of_variance_is_rs_and_statsmodels() -> None:
    # oneway.test(weight ~ group, data = PlantGrowth): F = 5.181, num df = 2.000,
    # denom df = 17.128, p-value = 0.01739.
    found = welch_anova(PLANTS)
    assert found.statistic == pytest.approx(5.181, abs=5e-4)
    assert found.degrees_of_freedom == pytest.approx((2, 17.128), abs=5e-4)
    assert found.p == pytest.approx(0.01739, abs=5e-6)
    expected = anova_oneway([*PLANTS.values()], use_var="unequal", welch_correction=True)
    assert found.statistic == pytest.approx(expected.statistic, rel=1e-12)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-9)
    low, high = bounds(found.effect)
    assert found.effect is not None
    above = 2 * (found.statistic - 1)
    assert found.effect.centre == pytest.approx(above / (above + 30))
    assert low < found.effect.centre < high < 1


def test_welchs_analysis_of_two_groups_is_his_t_test() -> None:
    pair = {name: PLANTS[name] for name in ("ctrl", "trt2")}
    (t,) = welch(pair)
    f = welch_anova(pair)
    assert f.statistic == pytest.approx(t.statistic**2, rel=1e-12)
    assert f.p == pytest.approx(t.p, rel=1e-9)


def test_means_of_a_group_without_spread_are_not_tested() -> None:
    with pytest.raises(UsageError, match="all values of a group are 2; a test needs values"):
        welch_anova({"a": [2.0, 2.0], "b": [1.0, 3.0]})


@pytest.mark.slow
def test_games_howell_is_statsmodels() -> None:
    found = games_howell(PLANTS)
    labels = [name for name, values in PLANTS.items() for _ in values]
    expected = pairwise_tukeyhsd(np.concatenate([*PLANTS.values()]), labels, use_var="unequal")
    for test, p, limits in zip(found, expected.pvalues, expected.confint, strict=True):
        assert test.p == pytest.approx(p, abs=1e-6)
        low, high = bounds(test.effect)  # statsmodels takes the second less the first
        assert (-high, -low) == pytest.approx(tuple(limits), abs=1e-6)
        assert test.p_holm == test.p


def test_analysis_of_variance_of_one_factor_is_rs() -> None:
    # summary(aov(weight ~ group, PlantGrowth)): squares 3.766 and 10.492, F 4.846, p 0.0159;
    # the digits beyond are those of scipy.stats.f_oneway.
    rows: list[dict[str, str | float]] = [
        {"w": w, "group": name} for name, values in PLANTS.items() for w in values
    ]
    (term,) = anova(rows, "w", ["group"])
    expected = stats.f_oneway(*PLANTS.values())
    assert term.test.statistic == pytest.approx(4.846, abs=5e-4)
    assert (term.test.statistic, term.test.p) == pytest.approx(tuple(expected), abs=1e-9)
    assert term.eta_squared == pytest.approx(3.76634 / (3.76634 + 10.49209), abs=1e-6)


def test_analysis_of_variance_type_ii_is_rs() -> None:
    # car::Anova(type = "II") of log(Days + 1) without the first three patients, so that the design
    # is unbalanced; R's output as it stands in statsmodels' own tests.
    rows: list[dict[str, str | float]] = [
        {"y": np.log(days + 1), "Duration": duration, "a weight": weight}
        for duration, weight, patients in KIDNEY
        for days in patients
    ][3:]
    terms = anova(rows, "y", ["Duration", "a weight"])
    assert [t.test.of for t in terms] == ["Duration", "a weight", "Duration x a weight"]
    assert [t.test.degrees_of_freedom for t in terms] == [(1, 51), (2, 51), (2, 51)]
    assert [t.test.statistic for t in terms] == pytest.approx(
        [5.667033, 12.26141, 0.1760025], abs=5e-6
    )
    assert [t.test.p for t in terms] == pytest.approx(
        [0.02106078, 4.487909e-05, 0.8391231], abs=5e-8
    )
    squares, residual = (3.067066, 13.27205, 0.1905093), 27.60181
    for term, square in zip(terms, squares, strict=True):
        assert term.test.effect is not None
        assert term.test.effect.centre == pytest.approx(square / (square + residual), abs=1e-6)
        bounds(term.test.effect)


def test_an_interval_of_eta_squared_is_steigers() -> None:
    # Steiger, 2004: each bound is where F has a probability of 2.5 % of being so far out.
    effect = h.levene({"a": [1.0, 2, 3, 9], "b": [0.0, 50, 90, 30]})
    low, high = bounds(effect.effect)
    n = sum(effect.degrees_of_freedom) + 1
    for share, tail in ((low, 0.975), (high, 0.025)):
        if share:
            noncentrality = n * share / (1 - share)
            found = stats.ncf.cdf(effect.statistic, *effect.degrees_of_freedom, noncentrality)
            assert found == pytest.approx(tail, abs=1e-6)


def test_a_huge_effect_still_has_bounds() -> None:
    rows: list[dict[str, str | float]] = [
        {"y": 100.0 * (place + 1) + noise, "backend": name}
        for place, name in enumerate("ab")
        for noise in (0.01, 0.02, 0.03)
    ]
    (term,) = anova(rows, "y", ["backend"])
    low, high = bounds(term.test.effect)
    assert 0.999 < low < high < 1


def test_a_mixed_model_is_nlmes() -> None:
    # lme(effort ~ Type, ergoStool, ~ 1 | Subject): Pinheiro & Bates, 2000, section 1.2.
    cells = {f"T{i + 1}": {s: float(row[i]) for s, row in enumerate(STOOLS)} for i in range(4)}
    found = mixed_model(cells)
    assert found.flags == ()
    assert found.reference_mean.centre == pytest.approx(8.555556, abs=1e-6)
    centres = [test.effect.centre for test in found.tests if test.effect]
    assert centres == pytest.approx([3.888889, 2.222222, 0.666667], abs=1e-6)
    assert (found.block_sd, found.residual_sd) == pytest.approx((1.332465, 1.100295), abs=1e-6)
    t = [test.statistic for test in found.tests]
    assert t == pytest.approx([7.497610, 4.284348, 1.285304], abs=1e-6)
    assert found.tests[0].degrees_of_freedom == (24,)
    assert [round(test.p, 4) for test in found.tests] == [0.0, 0.0003, 0.2110]


def test_a_mixed_model_of_balanced_cells_is_the_analysis_of_variance() -> None:
    # Searle, Casella & McCulloch, 1992, chapter 4: where REML's variances are not negative they
    # are those of the mean squares, whatever the ratio of the two.
    rng = np.random.default_rng(1)
    for block_sd in (0.1, 1.0, 1e3, 1e5):
        values = (
            rng.normal(size=(4, 6)) + block_sd * rng.normal(size=6) + 40 * np.arange(4)[:, None]
        )
        rest = values - values.mean(0) - values.mean(1)[:, None] + values.mean()
        within = (rest**2).sum() / (3 * 5)
        between = (4 * values.mean(0).var(ddof=1) - within) / 4
        found = mixed_model({str(i): dict(enumerate(row.tolist())) for i, row in enumerate(values)})
        if between > 0:
            expected = (between**0.5, within**0.5)
            assert (found.block_sd, found.residual_sd) == pytest.approx(expected, rel=1e-6)
            assert found.flags == ()
        errors = [(test.effect.high - test.effect.low) / 2 for test in found.tests if test.effect]
        residual = found.residual_sd * (2 / 6) ** 0.5 * stats.t.ppf(0.975, 15)
        assert errors == pytest.approx([residual] * 3, rel=1e-9)


def test_a_mixed_model_reaches_the_highest_likelihood_where_values_are_missing() -> None:
    cells = {"a": {0: 1.0, 1: 9.0, 2: 4.0}, "b": {0: 2.5, 2: 5.0, 3: 8.0}, "c": {1: 11.5, 3: 10.0}}
    found = mixed_model(cells)
    rows = [(c, b, v) for c, values in cells.items() for b, v in values.items()]
    design = np.array([[1.0, c == "b", c == "c"] for c, *_ in rows], float)
    same = np.array([[float(b == other) for _, other, _ in rows] for _, b, _ in rows])
    y = np.array([v for *_, v in rows])

    def deviance(block_sd: float, residual_sd: float) -> float:
        """-2 times the restricted log-likelihood, by its definition."""
        v = residual_sd**2 * np.eye(len(y)) + block_sd**2 * same
        inverse = np.linalg.inv(v)
        information = design.T @ inverse @ design
        rest = y - design @ np.linalg.solve(information, design.T @ inverse @ y)
        logs = np.linalg.slogdet(v)[1] + np.linalg.slogdet(information)[1]
        return float(logs + rest @ inverse @ rest)

    lowest = deviance(found.block_sd, found.residual_sd)
    for block in np.geomspace(0.01, 100, 60) * found.block_sd:
        for residual in np.geomspace(0.01, 100, 60) * found.residual_sd:
            assert deviance(float(block), float(residual)) >= lowest - 1e-9


def test_a_mixed_model_doubts_a_variance_of_zero_and_does_not_mind_the_unit() -> None:
    cells = {  # no variance between blocks: the fit ends at the bound of what is possible
        "a": {0: 1.0, 1: 1.1, 2: 0.9, 3: 1.0},
        "b": {0: 2.1, 1: 1.9, 2: 2.1, 3: 1.9},
    }
    found = mixed_model(cells)
    (doubt,) = found.flags
    assert "variance between blocks is estimated as zero, the boundary" in doubt
    assert found.block_sd == 0
    micro = mixed_model({c: {b: v * 1e-6 for b, v in cells[c].items()} for c in cells})
    assert micro.tests[0].statistic == pytest.approx(found.tests[0].statistic, rel=1e-6)
    assert micro.flags == found.flags


def test_a_mixed_model_without_a_rest_is_refused_in_a_sentence() -> None:
    with pytest.raises(UsageError, match=r"explain every value without a rest.*more repetitions"):
        mixed_model(
            {c: {b: 0.1 * b + shift for b in range(5)} for c, shift in (("a", 0), ("b", 3))}
        )


@pytest.mark.slow
def test_families_are_corrected_by_holm() -> None:
    tests = welch(PLANTS)
    expected = multipletests([test.p for test in tests], method="holm")[1]
    assert [test.p_holm for test in tests] == pytest.approx(list(expected))
    # R: p.adjust(c(0.01, 0.04, 0.03, 0.02, 0.05))
    assert holm([0.01, 0.04, 0.03, 0.02, 0.05]) == pytest.approx([0.05, 0.09, 0.09, 0.08, 0.09])


def test_what_cannot_be_tested_is_refused_in_a_sentence() -> None:
    with pytest.raises(UsageError, match="there is 1 group to compare; give two or more"):
        h.kruskal_wallis({"a": [1.0, 2.0]})
    with pytest.raises(UsageError, match="b has 1 finite values of 2"):
        welch({"a": [1.0, 2.0], "b": [1.0, float("nan")]})
    with pytest.raises(UsageError, match="a test needs values that differ"):
        h.shapiro_wilk({"a": [1.0, 1.0, 1.0]})
    with pytest.raises(UsageError, match="only has one level; leave it out"):
        anova([{"y": 1.0, "only": 1}, {"y": 2.0, "only": 1}], "y", ["only"])
    with pytest.raises(UsageError, match="measure every combination more than once"):
        anova([{"y": float(a * b), "a": a, "b": b} for a in (1, 2) for b in (1, 2)], "y", "ab")
    with pytest.raises(UsageError, match="it needs two cells and two blocks"):
        mixed_model({"a": {0: 1.0, 1: 2.0}})
