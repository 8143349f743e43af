"""The analysis of variance of trainings, against R's and against effects that are known."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from statsmodels.stats.multicomp import pairwise_tukeyhsd

from greenbatch.analysis.statistics.linear_models import anova, tukey
from greenbatch.analysis.training import compile_training
from greenbatch.analysis.training.findings.correctness import correctness
from greenbatch.analysis.training.findings.factorial import BLOCK, Factorial, factorial, factors_of
from greenbatch.analysis.training.findings.levels import by_level
from greenbatch.analysis.training.findings.rows import training_rows
from greenbatch.errors import UsageError
from greenbatch.records import EnergySource, TrainingCell
from tests.fakes import training_runs
from tests.fakes.training_runs import LAYER_BASE_J, LAYER_BLOCK_J, LAYER_EFFECTS_J

pytestmark = pytest.mark.numeric

# R's datasets::warpbreaks (Tippett, Technological Applications of Statistics, 1950, p. 106).
WARP = (
    ("A", "L", (26, 30, 54, 25, 70, 52, 51, 26, 67)),
    ("A", "M", (18, 21, 29, 17, 12, 18, 35, 30, 36)),
    ("A", "H", (36, 21, 24, 18, 10, 43, 28, 15, 26)),
    ("B", "L", (27, 14, 29, 19, 29, 31, 41, 20, 44)),
    ("B", "M", (42, 26, 19, 16, 39, 28, 21, 39, 29)),
    ("B", "H", (20, 21, 24, 17, 13, 15, 15, 16, 28)),
)
WARP_ROWS: list[dict[str, Any]] = [
    {"y": y, "wool": w, "tension": t} for w, t, values in WARP for y in values
]
# Kidney data (Kutner et al., Applied Linear Statistical Models, problem 19.18): days in hospital
# by duration of treatment and weight gain; without the first three patients, to be unbalanced.
KIDNEY = (
    (1, 1, (3, 0, 2, 0, 5, 6, 8)),
    (1, 2, (2, 4, 7, 12, 15, 4, 3, 1, 5, 20)),
    (1, 3, (15, 10, 8, 5, 25, 16, 7, 30, 3, 27)),
    (2, 1, (0, 1, 1, 0, 4, 2, 7, 4, 0, 3)),
    (2, 2, (5, 3, 2, 0, 1, 1, 3, 6, 7, 9)),
    (2, 3, (10, 8, 12, 3, 7, 15, 4, 9, 6, 1)),
)


def analysed(path: Path, **more: object) -> Factorial:
    (found,) = factorial(
        compile_training(training_runs.factorial_run(path, **more))  # type: ignore[arg-type]
    )
    return found


def test_analysis_of_variance_type_iii_is_rs() -> None:
    # car::Anova(type = "III") of log(Days + 1), contrasts contr.sum, on an unbalanced design; R's
    # output as it stands in statsmodels' own tests (TestAnova3).
    rows = [
        {"y": np.log(days + 1), "Duration": duration, "Weight": weight}
        for duration, weight, patients in KIDNEY
        for days in patients
    ]
    terms = anova(rows, "y", ["Duration", "Weight"], typ=3)
    assert [t.test.of for t in terms] == ["Duration", "Weight", "Duration x Weight"]
    assert {t.test.name for t in terms} == {"ANOVA III"}
    assert [t.test.degrees_of_freedom for t in terms] == [(1, 51), (2, 51), (2, 51)]
    assert [t.test.statistic for t in terms] == pytest.approx(
        [5.367071, 12.43245, 0.1760025], abs=5e-6
    )
    assert [t.test.p for t in terms] == pytest.approx(
        [0.02457384, 3.999431e-05, 0.8391231], abs=5e-8
    )
    squares, residual = (2.904723, 13.45718, 0.1905093), 27.60181
    for term, square in zip(terms, squares, strict=True):
        assert term.test.effect is not None
        assert term.test.effect.centre == pytest.approx(square / (square + residual), abs=1e-6)


def test_a_block_is_a_term_without_interactions_and_outside_the_family() -> None:
    rows = [
        {"y": 10.0 * a + b + 100.0 * block + noise, "a": a, "b": b, "block": block}
        for block in (0, 1, 2)
        for a in (0, 1)
        for b in (0, 1)
        for noise in [((a + 2 * b + 3 * block) * 7 % 5) / 10]
    ]
    found = {t.test.of: t for t in anova(rows, "y", ["a", "b"], typ=3, block="block")}
    assert found.keys() == {"a", "b", "block", "a x b"}
    assert found["block"].test.degrees_of_freedom == (2, 6)
    assert found["block"].test.p_holm == found["block"].test.p
    without = {t.test.of: t for t in anova(rows, "y", ["a", "b"], typ=3)}
    assert without["a"].test.p > 1000 * found["a"].test.p  # the blocks drown it
    family = sorted(found[name].test.p for name in ("a", "b", "a x b"))
    assert found["a"].test.p_holm == pytest.approx(3 * family[0])


def test_tukeys_comparisons_are_rs() -> None:
    # TukeyHSD(aov(breaks ~ wool + tension, warpbreaks), "tension", ordered = TRUE), the example on
    # R's help page.
    found = {t.of: t for t in tukey(WARP_ROWS, "y", ["wool", "tension"], "tension", crossed=False)}
    expected = {
        "tension H - M": (-4.722222, -14.07564, 4.6311985, 0.4474210),
        "tension H - L": (-14.722222, -24.07564, -5.3688015, 0.0011218),
        "tension L - M": (10.000000, 0.6465793, 19.35342, 0.0336262),
    }
    assert found.keys() == expected.keys()
    for name, (centre, low, high, p) in expected.items():
        effect = found[name].effect
        assert effect is not None
        assert (effect.centre, effect.low, effect.high) == pytest.approx(
            (centre, low, high), abs=5e-6
        )
        assert found[name].p == pytest.approx(p, abs=5e-7)
        assert found[name].p_holm == found[name].p


@pytest.mark.slow
def test_tukeys_comparisons_of_one_factor_are_statsmodels() -> None:
    found = tukey(WARP_ROWS, "y", ["tension"], "tension")
    expected = pairwise_tukeyhsd(
        [float(row["y"]) for row in WARP_ROWS], [row["tension"] for row in WARP_ROWS]
    )
    for test, p, difference in zip(found, expected.pvalues, expected.meandiffs, strict=True):
        assert test.effect is not None
        assert test.effect.centre == pytest.approx(-difference, abs=1e-9)
        assert test.p == pytest.approx(p, abs=1e-6)


@pytest.mark.slow
def test_the_factors_effects_are_found_with_the_repetition_as_the_unit(tmp_path: Path) -> None:
    found = analysed(tmp_path)
    assert found.factors == ("conv_layers", "linear_layers", "relu")
    analysis = found.blocked
    assert (analysis.rows, analysis.blocked) == (40, True)
    terms = {term.test.of: term for term in analysis.terms}
    assert len(terms) == 8  # three factors, their interactions, the block
    # Variances in the make: 900², 100², 20², 60² x 2 of blocks, 15² of noise.
    total = 900**2 + 100**2 + 20**2 + 2 * 60**2 + 15**2
    assert terms["conv_layers"].eta_squared == pytest.approx(900**2 / total, abs=0.002)
    assert terms["linear_layers"].eta_squared == pytest.approx(100**2 / total, abs=0.002)
    assert terms[BLOCK].eta_squared == pytest.approx(2 * 60**2 / total, abs=0.003)
    assert terms["relu"].test.p_holm < 0.001
    for name in ("conv_layers x linear_layers", "conv_layers x linear_layers x relu"):
        assert terms[name].test.p_holm > 0.05
    assert terms["conv_layers"].test.effect is not None
    assert terms["conv_layers"].test.effect.low > 0.99
    assert sum(term.eta_squared for term in analysis.terms) < 1
    (pair, *_) = [t for t in analysis.pairs if t.of.startswith("conv_layers")]
    assert pair.effect is not None
    assert pair.effect.low <= -1800 <= pair.effect.high
    assert [test.of for test in analysis.ranks] == ["conv_layers", "linear_layers", "relu"]
    assert found.source == "measured"
    means = {level: mean.centre for level, mean in found.levels["conv_layers"].items()}
    assert means["4"] - means["1"] == pytest.approx(1800, rel=0.02)


@pytest.mark.slow
def test_levels_of_two_factors_and_steps_are_those_of_the_make(tmp_path: Path) -> None:
    found = analysed(tmp_path, noise_j=5.0)
    assert set(found.pairs) == {
        ("conv_layers", "linear_layers"),
        ("conv_layers", "relu"),
        ("linear_layers", "relu"),
    }
    cells = found.pairs["conv_layers", "linear_layers"]
    middle = LAYER_BASE_J + 2 * LAYER_BLOCK_J + LAYER_EFFECTS_J["relu"]["1"] / 2
    for (conv, linear), mean in cells.items():
        added = LAYER_EFFECTS_J["conv_layers"][conv] + LAYER_EFFECTS_J["linear_layers"][linear]
        assert mean.centre == pytest.approx(middle + added, rel=0.01)
    correct = {level: mean.centre for level, mean in found.correctness["conv_layers"].items()}
    assert correct == pytest.approx({"1": 0.85, "4": 0.90})
    steps = {step.factor: step for step in found.steps}
    more = steps["conv_layers"]
    assert (more.first, more.last) == ("1", "4")
    low = middle + LAYER_EFFECTS_J["linear_layers"]["7"] / 2
    assert more.times.centre == pytest.approx((low + 1800) / low, rel=0.01)
    assert more.times.kind == "t"
    assert more.gained is not None
    assert more.gained.centre == pytest.approx(0.05)
    relu = steps["relu"]
    assert relu.gained is not None
    assert relu.gained.centre == pytest.approx(0.0, abs=1e-12)


@pytest.mark.slow
def test_levels_are_judged_by_the_measure_that_is_asked_for(tmp_path: Path) -> None:
    (found,) = factorial(compile_training(training_runs.factorial_run(tmp_path)), metric="f1")
    assert found.metric == "f1"
    assert found.correctness["conv_layers"]["4"].centre == pytest.approx(0.89)


@pytest.mark.slow
def test_without_blocks_what_they_share_is_in_the_residual(tmp_path: Path) -> None:
    found = analysed(tmp_path, noise_j=60.0)
    original = found.unblocked
    assert (original.rows, original.blocked, original.crossed) == (40, False, True)
    assert BLOCK not in {term.test.of for term in original.terms}
    shares = [
        {term.test.of: term.eta_squared for term in one.terms} for one in (found.blocked, original)
    ]
    assert shares[0]["conv_layers"] == pytest.approx(shares[1]["conv_layers"])  # balanced
    f = [
        {term.test.of: term.test.statistic for term in one.terms}["linear_layers"]
        for one in (found.blocked, original)
    ]
    assert f[1] < f[0]


def test_a_level_has_the_blocks_in_which_all_of_it_was_trained() -> None:
    values = xr.DataArray(
        [[[1.0, 2.0, 4.0], [3.0, np.nan, 4.0]], [[5.0, 6.0, 4.0], [7.0, 8.0, 4.0]]],
        dims=("a", "b", "repetition"),
        coords={"a": ["x", "y"], "b": ["p", "q"], "repetition": [0, 1, 2]},
    )
    means = by_level(values, ("a", "b"), geometric=False)
    assert [(m.centre, m.n) for m in means["a"].values()] == [(3.0, 2), (17 / 3, 3)]
    assert [(m.centre, m.n) for m in means["b"].values()] == [(11 / 3, 3), (4.5, 2)]


@pytest.mark.slow
def test_with_one_repetition_interactions_stand_for_the_noise(tmp_path: Path) -> None:
    found = analysed(tmp_path, blocks=1)
    analysis = found.blocked
    assert (analysis.crossed, analysis.blocked, found.blocks) == (False, False, 1)
    assert [t.test.of for t in analysis.terms] == ["conv_layers", "linear_layers", "relu"]
    assert analysis.notes[0].startswith("There is one repetition: interactions stand for")
    assert found.levels["relu"]["1"].low is None


def test_without_energy_the_analysis_says_so(tmp_path: Path) -> None:
    found = analysed(tmp_path, source=EnergySource.MISSING)
    assert found.source == "missing"
    for analysis in (found.blocked, found.unblocked):
        assert (analysis.terms, analysis.pairs, analysis.ranks) == ((), (), ())
        assert analysis.notes == ("There is no energy in it.",)
    assert found.levels == {"conv_layers": {}, "linear_layers": {}, "relu": {}}
    assert (found.pairs, found.steps) == ({}, ())
    assert found.correctness["conv_layers"]["4"].centre == pytest.approx(0.90)


def test_a_combination_that_never_ended_is_named(tmp_path: Path) -> None:
    settings = {"conv_layers": ["1", "4"], "relu": ["0", "1"]}
    records = [
        record
        for block in range(3)
        for conv, relu, image_j in (("1", "0", 0.1), ("4", "0", 0.2), ("1", "1", 0.3))
        for record in training_runs.trained(
            TrainingCell("m", "digits", settings=(("conv_layers", conv), ("relu", relu))),
            block,
            image_j=image_j + 0.001 * block,
        )
    ]
    path = training_runs.write(tmp_path, records, training_runs.study(["m"], settings=settings))
    (found,) = factorial(compile_training(path))
    assert found.blocked.terms == ()
    assert "do not determine all terms of conv_layers x relu" in found.blocked.notes[0]


def test_estimates_and_measurements_do_not_meet(tmp_path: Path) -> None:
    records = []
    for size, source in ((16, EnergySource.COUNTER), (32, EnergySource.ESTIMATED)):
        cell = TrainingCell("m", "digits", batch_size=size)
        records += training_runs.trained(cell, source=source)
    path = training_runs.write(tmp_path, records, training_runs.study(["m"], batch_sizes=[16, 32]))
    dataset = compile_training(path)
    assert factors_of(dataset) == ("batch_size",)
    with pytest.raises(UsageError, match="an estimate is not compared with a measurement"):
        factorial(dataset)


@pytest.mark.slow
def test_what_is_no_factor_is_refused(tmp_path: Path) -> None:
    dataset = compile_training(training_runs.delrey_run(tmp_path, blocks=2))
    with pytest.raises(UsageError, match="no setting, batch size or precision varies"):
        factorial(dataset)
    with pytest.raises(UsageError, match="width is no dimension of the run; it has model, data"):
        factorial(dataset, ["width"])
    (found,) = factorial(dataset, ["model"])
    assert [term.test.of for term in found.blocked.terms] == ["model", BLOCK]


def test_a_choice_has_one_name_in_whatever_order_the_study_lists_settings(tmp_path: Path) -> None:
    settings = {"width": ["8", "16"], "depth": ["1", "2"]}
    records = [
        record
        for width in settings["width"]
        for depth in settings["depth"]
        for record in training_runs.trained(
            TrainingCell("m", "digits", settings=(("width", width), ("depth", depth)))
        )
    ]
    path = training_runs.write(tmp_path, records, training_runs.study(["m"], settings=settings))
    dataset = compile_training(path)
    (found,) = correctness(dataset)
    names = [row.name for row in found.rows]
    assert names == [row.label for row in training_rows(dataset)]
    assert names[1] == "depth 2, width 8"
