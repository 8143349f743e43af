"""Tests of batch sizes and policies over repetitions, and of backends over networks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from greenbatch.analysis import open_run
from greenbatch.analysis.findings.batch_effects import (
    ONE_REPETITION,
    BatchEffect,
    batch_effects,
    effect_sentences,
)
from greenbatch.analysis.findings.cells import CellRow, Series, cell_rows
from greenbatch.analysis.findings.paired_networks import paired_networks
from greenbatch.analysis.report.tables.batching import batching_csv, batching_table
from greenbatch.analysis.report.tables.paired import paired_csv, paired_table
from greenbatch.analysis.statistics.hypothesis_tests import eta_squared_h, least_p_kruskal
from greenbatch.analysis.statistics.matched_tests import bonferroni, friedman, signed_rank
from greenbatch.errors import UsageError
from greenbatch.records import Cell, Provenance
from tests.fakes import runs
from tests.fakes.served_run import served_run

BACKEND = "torch-cpu"
Values = Mapping[Cell, Sequence[float]]


@pytest.fixture(scope="module")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> CellRow:
    """A row of a run, to be filled with figures."""
    folder = tmp_path_factory.mktemp("pattern") / "run"
    record = runs.repetition(Cell("alexnet", BACKEND), 0, energy=[runs.figure(1.0)])
    run = runs.write_run(folder, [record], runs.study(("alexnet",), (BACKEND,), (1,)))
    return cell_rows(open_run(run))[0]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> list[CellRow]:
    models = ("alexnet", "densenet121", "vit_b_16")
    run = served_run(tmp_path_factory.mktemp("served") / "run", models=models, blocks=4)
    return cell_rows(open_run(run))


def rows_of(pattern: CellRow, energies_j: Values) -> list[CellRow]:
    """Rows with these energies by block, and a latency of a tenth of them."""
    return [
        replace(
            pattern,
            cell=cell,
            series={
                **pattern.series,
                "energy": Series(dict(enumerate(values))),
                "latency_p50": Series(dict(enumerate(v / 10 for v in values))),
            },
        )
        for cell, values in energies_j.items()
    ]


def drawn(models: Sequence[str], sizes: Sequence[int], blocks: int) -> Values:
    """Energies that fall with the batch size, with noise."""
    draw = np.random.default_rng(3)
    return {
        Cell(model, BACKEND, batch_size=size): [
            float(v) for v in 2.0 / size**0.5 * np.exp(draw.normal(0, 0.3, blocks))
        ]
        for model, size in product(models, sizes)
    }


def effect_of(found: Sequence[BatchEffect], model: str, figure: str = "energy") -> BatchEffect:
    (one,) = (e for e in found if (e.cell.model, e.figure, e.networks) == (model, figure, 1))
    return one


def test_a_network_is_tested_as_scipy_does_and_corrected_over_all_networks(
    pattern: CellRow,
) -> None:
    values = drawn(("alexnet", "vit_b_16"), (1, 2, 8), 6)
    found = batch_effects(rows_of(pattern, values))
    ps = {}
    for model in ("alexnet", "vit_b_16"):
        groups = [of for cell, of in values.items() if cell.model == model]
        h, ps[model] = stats.kruskal(*groups)
        effect = effect_of(found, model)
        assert effect.test
        assert effect.test.statistic == pytest.approx(h)
        assert effect.test.p == pytest.approx(ps[model])
        assert effect.effect == pytest.approx((h - 3 + 1) / (18 - 3))
        assert [pair.of for pair in effect.pairs] == ["1 - 2", "1 - 8", "2 - 8"]
    low, high = sorted(ps, key=lambda model: ps[model])
    corrected = {model: e.test.p_holm for model in ps if (e := effect_of(found, model)).test}
    assert corrected[low] == pytest.approx(2 * ps[low])
    assert corrected[high] == pytest.approx(max(2 * ps[low], ps[high]))


def test_networks_together_are_ranked_each_by_itself(pattern: CellRow) -> None:
    models = ("alexnet", "densenet121", "resnet50", "vit_b_16")
    values = drawn(models, (1, 2, 8), 3)
    scaled = {c: [v * 10 ** models.index(c.model) for v in of] for c, of in values.items()}
    (one,), (other,) = (
        [e for e in batch_effects(rows_of(pattern, of)) if e.networks > 1 and e.figure == "energy"]
        for of in (values, scaled)
    )
    means = [
        [stats.gmean(values[Cell(model, BACKEND, batch_size=size)]) for model in models]
        for size in (1, 2, 8)
    ]
    statistic, p = stats.friedmanchisquare(*means)
    assert one.test
    assert one.networks == 4
    assert one.test.statistic == pytest.approx(statistic)
    assert one.test.p == pytest.approx(p)
    assert one.effect == pytest.approx(statistic / (4 * 2))
    assert other.test == one.test  # a network of ten times the energy weighs no more


def test_one_repetition_has_no_test_and_no_p(pattern: CellRow) -> None:
    rows = rows_of(pattern, drawn(("alexnet", "vit_b_16"), (1, 8), 1))
    found = batch_effects(rows)
    assert {effect.test for effect in found} == {None}
    (sentence,) = effect_sentences(found, server=False, figure="energy")
    assert sentence.startswith("No test of the effect of the batch size on the energy per image ")
    assert sentence.endswith("each cell has one repetition, and a test needs two or more.")
    assert batching_table(found).rows == ()
    assert ONE_REPETITION in batching_csv(found)


def test_too_few_repetitions_to_show_anything_are_named_so(pattern: CellRow) -> None:
    """Three repetitions of three batch sizes have p = 0.027 at least, and twenty of these none."""
    assert least_p_kruskal((3, 3, 3)) == pytest.approx(
        stats.kruskal([1, 2, 3], [4, 5, 6], [7, 8, 9]).pvalue
    )
    models = [f"net{number}" for number in range(4)]
    values = {
        Cell(model, BACKEND, batch_size=size): [place + 1.0, place + 1.1, place + 1.2]
        for model in models
        for place, size in enumerate((1, 2, 8))
    }
    few, _ = effect_sentences(
        batch_effects(rows_of(pattern, values)), server=False, figure="energy"
    )
    assert few.startswith("There are too few repetitions to test the effect of the batch size")
    assert few.endswith("Kruskal-Wallis would have p = 0.109, corrected for 4 tests.")
    alone = {cell: of for cell, of in values.items() if cell.model == "net0"}
    (one,) = effect_sentences(batch_effects(rows_of(pattern, alone)), server=False, figure="energy")
    assert "has a significant effect on the energy per image in 1 of 1 series" in one


def test_policies_that_do_not_sustain_their_rate_are_not_tested(served: list[CellRow]) -> None:
    found = [effect for effect in batch_effects(served) if effect.cell.is_server]
    assert {effect.figure for effect in found} == {"energy", "response_mean"}
    levels = {effect.cell.served.rate: effect.levels for effect in found}
    assert "greedy:1" in levels["40"]
    assert "greedy:1" not in levels["200"]
    assert len(levels["200"]) == 4
    first, second, *rest = effect_sentences(found, server=True, figure="response_mean")
    assert first.startswith("The batching policy has a significant effect on the mean response ")
    assert second.startswith("Over 3 networks, the batching policy has a significant effect on ")
    assert not rest


def test_an_estimate_is_named_so_and_a_latency_is_none(pattern: CellRow) -> None:
    rows = [
        replace(row, energy_source=Provenance.ESTIMATED)
        for row in rows_of(pattern, drawn(("alexnet",), (1, 8), 4))
    ]
    words = {effect.figure: effect.words for effect in batch_effects(rows)}
    assert words["energy"] == "energy per image (estimated)"
    assert words["latency_p50"] == "p50 latency of a batch"
    pairs = paired_networks(
        [replace(r, energy_source=Provenance.ESTIMATED) for r in compared(pattern, NETWORKS)]
    )
    assert {pair.words.endswith(" (estimated)") for pair in pairs if pair.figure == "energy"} == {
        True
    }
    assert not any("estimated" in pair.words for pair in pairs if pair.figure != "energy")


def test_energies_of_several_sources_are_not_tested(pattern: CellRow) -> None:
    first, second = rows_of(pattern, drawn(("alexnet",), (1, 8), 4))
    unlike = replace(second, basis=replace(second.basis, others=(replace(first.basis),)))
    effects = batch_effects([first, unlike])
    assert {effect.figure for effect in effects if effect.test} == {"latency_p50"}
    (sentence,) = effect_sentences(effects, server=False, figure="energy")
    assert "energies of its cells are not alike" in sentence


NETWORKS = [f"net{number}" for number in range(7)]
RATIOS = (1.3, 1.2, 1.5, 0.97, 1.1, 2.0, 1.4)


def compared(pattern: CellRow, networks: Sequence[str]) -> list[CellRow]:
    """Two backends in two precisions; the second backend needs ``RATIOS`` times the energy."""
    half = {"fp32": 1.0, "fp16": 0.5}
    return rows_of(
        pattern,
        {
            Cell(name, backend, precision): [share * factor, share * factor * 1.21]
            for name, ratio in zip(networks, RATIOS, strict=False)
            for backend, factor in (("one", 1.0), ("two", ratio))
            for precision, share in half.items()
        },
    )


def test_two_ways_are_compared_over_networks_by_the_signed_rank_test(pattern: CellRow) -> None:
    found = paired_networks(compared(pattern, NETWORKS))
    energies = [pair for pair in found if pair.figure == "energy"]
    assert len(energies) == 6  # of two backends in two precisions
    (first,) = (
        p for p in energies if (p.one.backend, p.other.backend, p.other.precision)
        == ("one", "two", "fp32") and p.one.precision == "fp32"
    )  # fmt: skip
    logs = np.log(RATIOS)
    exact = signs_at_least_as_far(logs)
    assert first.test.p == pytest.approx(exact)
    assert first.test.p == pytest.approx(stats.wilcoxon(logs).pvalue)
    assert first.test.p_holm == pytest.approx(min(1.0, 6 * exact))
    assert first.mean_ratio == pytest.approx(stats.gmean(RATIOS))
    assert (first.networks, first.higher) == (7, 6)
    assert len(paired_table(found).rows) == len(found) == len(paired_csv(found).splitlines()) - 1
    assert paired_table(found).rows[0][:3] == ("1", "one fp16", "one fp32")
    even = replace(found[0], mean_ratio=0.9996)
    assert "1.00×" in paired_table([even]).rows[0]


def test_of_many_ways_each_is_compared_with_the_first(
    pattern: CellRow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("greenbatch.analysis.findings.paired_networks.MOST_WAYS", 3)
    found = [p for p in paired_networks(compared(pattern, NETWORKS)) if p.figure == "energy"]
    assert {(pair.one.backend, pair.one.precision) for pair in found} == {("one", "fp32")}
    assert len(found) == 3


def signs_at_least_as_far(differences: NDArray[np.float64]) -> float:
    """The exact two-sided p: all signs of the ranks are as likely."""
    ranks = stats.rankdata(np.abs(differences))
    seen = abs(float(ranks @ np.sign(differences)))
    sums = [abs(float(ranks @ signs)) for signs in product((-1, 1), repeat=len(ranks))]
    return sum(total >= seen - 1e-9 for total in sums) / len(sums)


def test_of_five_networks_nothing_can_be_shown(pattern: CellRow) -> None:
    assert paired_networks(compared(pattern, NETWORKS[:5])) == []
    assert paired_networks(compared(pattern, NETWORKS[:6]))


@pytest.mark.parametrize(
    ("test", "values", "sentence"),
    [
        (friedman, {"a": [1, 2, 3], "b": [2, 3, 4]}, "2 conditions of 3 networks"),
        (friedman, {"a": [1, 2], "b": [2, 3], "c": [1, 3]}, "3 conditions of 2 networks"),
        (friedman, {"a": [1, 2], "b": [2]}, "as many in each condition"),
        (friedman, {"a": [1, 2, 3], "b": [1, 2, 3], "c": [1, 2, 3]}, "do not differ in any"),
        (signed_rank, {"a": [1.0] * 6, "b": [1.0] * 6}, "do not differ in any network"),
        (signed_rank, {"a": [1.0] * 5, "b": [2.0] * 5}, "there are 5 networks"),
        (signed_rank, {"a": [1.0] * 6}, "there are 1 conditions"),
        (signed_rank, {"a": [math.nan] * 6, "b": [2.0] * 6}, "is not finite"),
    ],
)
def test_what_cannot_be_tested_is_one_sentence(
    test: object, values: Mapping[str, Sequence[float]], sentence: str
) -> None:
    assert callable(test)
    with pytest.raises(UsageError, match=sentence):
        test(values)


def test_bonferroni_multiplies_by_the_number_of_tests() -> None:
    one = signed_rank({"a": [1.0, 2, 3, 4, 5, 6], "b": [0.0] * 6})
    assert one.p == pytest.approx(2 / 2**6)
    assert [test.p_holm for test in bonferroni([one, one])] == [pytest.approx(4 / 2**6)] * 2
    assert bonferroni([one] * 100)[0].p_holm == 1.0


def test_eta_squared_of_the_training_paper_is_that_of_its_h() -> None:
    """H = 127.05 of 5 architectures over 140 trainings is printed as 0.911 (del Rey)."""
    assert eta_squared_h(127.05, 5, 140) == pytest.approx(0.911, abs=5e-4)


def test_the_table_has_the_tests_of_each_network_and_of_all(served: list[CellRow]) -> None:
    table = batching_table(batch_effects(served))
    assert {row[3] for row in table.rows} == {"Kruskal-Wallis", "Friedman"}
    assert {row[0] for row in table.rows if row[3] == "Friedman"} == {"3 networks"}


@pytest.mark.parametrize("count", range(3, 9))
def test_conditions_that_differ_in_no_network_are_refused_whatever_rounding_makes_of_their_mean(
    count: int,
) -> None:
    alike = {str(number): [0.1, 0.3, 1.7] for number in range(count)}
    with pytest.raises(UsageError, match="do not differ"):
        friedman(alike)


def test_series_that_are_not_tested_are_counted_beside_those_that_are(pattern: CellRow) -> None:
    values = {
        Cell(model, BACKEND, batch_size=size): [size * (1.0 + block / 50) for block in range(4)]
        for model in ("alexnet", "vit_b_16")
        for size in (1, 4, 16)
    }
    values[Cell("vit_b_16", BACKEND, batch_size=4)] = [4.0]
    found = batch_effects(rows_of(pattern, values))
    _, untested = effect_sentences(found, server=False, figure="energy")
    assert "of 2 series 1 could not be tested: a cell has one repetition" in untested


def test_a_network_whose_energies_are_not_alike_has_no_part_in_the_test_of_all(
    pattern: CellRow,
) -> None:
    models = ("alexnet", "densenet121", "vit_b_16", "convnext_base")
    rows = rows_of(pattern, drawn(models, (1, 4, 16), 4))
    unlike = replace(pattern.basis, others=(pattern.basis,))
    mixed = [
        replace(row, basis=unlike)
        if (row.cell.model, row.cell.batch_size) == ("alexnet", 4)
        else row
        for row in rows
    ]
    together = {e.figure: e.networks for e in batch_effects(mixed) if e.networks > 1}
    assert (together["energy"], together["latency_p50"]) == (3, 4)
