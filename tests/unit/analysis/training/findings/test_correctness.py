"""Energy against correctness: what the greenest choice saves, as a sentence that is true."""

import math
from pathlib import Path

import pytest
import xarray as xr
from scipy import stats

from greenbatch.analysis.statistics import hypothesis_tests
from greenbatch.analysis.training import compile_training, environments, saving_sentence
from greenbatch.analysis.training.dataset.merging import merge_training_datasets
from greenbatch.analysis.training.findings.correctness import (
    Correctness,
    CorrectnessRow,
    correctness,
)
from greenbatch.errors import UnknownNameError, UsageError
from greenbatch.records import EnergySource, TrainingCell
from tests.fakes import training_runs

pytestmark = pytest.mark.numeric


def opened(path: Path, **more: object) -> xr.Dataset:
    return compile_training(training_runs.delrey_run(path, **more))  # type: ignore[arg-type]


def judged(path: Path, within: float = 0.01, **more: object) -> Correctness:
    (found,) = correctness(opened(path, **more), within)
    return found


def rows_of(found: Correctness) -> dict[str, CorrectnessRow]:
    return {row.name: row for row in found.rows}


def test_the_greenest_within_one_percent_saves_what_was_put_in(tmp_path: Path) -> None:
    found = judged(tmp_path)
    saving = found.saving
    assert saving is not None
    assert (saving.best.name, saving.greenest.name) == ("vgg16", "resnet50")
    assert saving.saved is not None
    assert saving.saved.centre == pytest.approx(1 - 0.232 / 0.345, abs=0.01)
    assert saving.saved.low is not None
    assert saving.saved.high is not None
    assert saving.saved.low < 1 - 0.232 / 0.345 < saving.saved.high
    assert saving.surely_within
    text = saving_sentence(found)
    assert text.startswith("vgg16 has the best accuracy, 98.8 % (95 %:")
    assert "resnet50 is the greenest within 1 % of it (98.1 %" in text
    assert "of the energy per image seen, 232 mJ instead of 34" in text
    assert text.endswith(" mJ.")
    assert "not shown" not in text


def test_how_near_is_near_decides(tmp_path: Path) -> None:
    dataset = opened(tmp_path)
    (wide,) = correctness(dataset, within=0.02)
    assert wide.saving is not None
    assert wide.saving.greenest.name == "mobilenet_v2"
    assert wide.saving.candidates == 4
    (none,) = correctness(dataset, within=0.0)
    assert none.saving is not None
    assert none.saving.saved is None
    assert none.saving.greenest is none.saving.best
    assert "no choice within 0 % of it needs less energy" in saving_sentence(none)
    (f1,) = correctness(dataset, metric="f1")
    assert "the best F1 score, 97.8 %" in saving_sentence(f1)


def test_the_front_holds_what_nothing_beats_in_both(tmp_path: Path) -> None:
    pareto_status = {name: row.pareto_status for name, row in rows_of(judged(tmp_path)).items()}
    assert pareto_status == {
        "mobilenet_v2": "front",
        "resnet50": "front",
        "nasnet_mobile": "dominated",
        "xception": "dominated",
        "vgg16": "front",
    }


def test_what_only_the_centres_say_is_unsure(tmp_path: Path) -> None:
    truths = {"a": (0.2, 0.9), "b": (0.2, 0.9)}
    found = judged(tmp_path, truths=truths, noise=0.05, accuracy_noise=0.01, blocks=4)
    assert "dominated" not in {row.pareto_status for row in found.rows}
    once = judged(tmp_path / "b", blocks=1)
    assert {row.pareto_status for row in once.rows} == {"front", "unsure"}


def test_domination_is_shown_in_energy_and_in_correctness_or_it_is_unsure(tmp_path: Path) -> None:
    figures = {"a": (0.3, (0.90, 0.92, 0.94)), "b": (0.2, (0.92, 0.91, 0.94))}
    records = [
        record
        for model, (image_j, accuracies) in figures.items()
        for block, accuracy in enumerate(accuracies)
        for record in training_runs.trained(
            TrainingCell(model, "digits"), block, image_j=image_j, accuracy=accuracy
        )
    ]
    path = training_runs.write(tmp_path, records, training_runs.study(["a", "b"]))
    rows = rows_of(correctness(compile_training(path))[0])
    # Surely less energy, but more accuracy by the centre only.
    assert (rows["a"].pareto_status, rows["b"].pareto_status) == ("unsure", "front")


def test_the_tests_are_those_of_the_groups(tmp_path: Path) -> None:
    found = judged(tmp_path)
    tests = found.tests["energy"]
    groups = {row.name: [*row.energy.values()] for row in found.rows}
    assert tests.kruskal is not None
    assert tests.kruskal.statistic == pytest.approx(stats.kruskal(*groups.values()).statistic)
    assert tests.kruskal.effect is not None
    assert tests.kruskal.effect.centre > 0.85
    assert len(tests.dunn) == 10
    pair = next(test for test in tests.dunn if test.of == "mobilenet_v2 - vgg16")
    assert pair.effect is not None
    assert pair.effect.centre == -1  # Cliff's delta
    assert len(tests.shapiro) == 5
    assert tests.levene is not None
    assert found.tests["accuracy"].kruskal is not None
    assert found.tests["f1"].kruskal is not None


def test_spearman_is_of_the_choices_and_apart_of_all_trainings(tmp_path: Path) -> None:
    found = judged(tmp_path)
    # Ranks of energy 1 2 3 4 5 and of accuracy 2 4 1 3 5: rho = 1 - 6 x 10 / 120.
    assert found.spearman is not None
    assert found.spearman.statistic == pytest.approx(0.5)
    # 27 of 120 permutations have a rho of 0.5 or more; both sides alike.
    assert found.spearman.p == pytest.approx(2 * 27 / 120, abs=1e-12)
    assert found.spearman_trainings is not None
    assert found.spearman_trainings.p < 0.01  # 50 pairs that are no 50 choices


def test_an_exact_spearman_is_the_tables() -> None:
    # Critical values of rho: Zar, JASA 67, 1972: for n = 5, 1.000 at two-sided 0.02 (2 / 120).
    perfect = hypothesis_tests.spearman({str(i): (i, i * i) for i in range(1, 6)})
    assert perfect.p == pytest.approx(2 / 120)
    assert perfect.effect is not None
    assert (perfect.effect.low, perfect.effect.high) == pytest.approx((1.0, 1.0))
    many = {str(i): (float(i), float((i * 7) % 12)) for i in range(12)}
    found = hypothesis_tests.spearman(many)
    expected = stats.spearmanr(*zip(*many.values(), strict=True))
    assert (found.statistic, found.p) == pytest.approx(tuple(expected))
    assert found.effect is not None
    assert found.effect.low < found.statistic < found.effect.high
    with pytest.raises(UsageError, match="x has 3 finite values of 3; this test needs 4"):
        hypothesis_tests.spearman({str(i): (float(i), float(i)) for i in range(3)})


def test_one_repetition_has_a_value_without_an_interval(tmp_path: Path) -> None:
    found = judged(tmp_path, blocks=1)
    text = saving_sentence(found)
    assert "(one repetition: no interval) of the energy per image seen" in text
    tests = found.tests["energy"]
    assert tests.levene is None
    assert "mobilenet_v2 has 1 finite values of 1" in tests.notes[0]


def test_a_tie_is_said_and_the_greenest_of_the_tied_is_the_reference(tmp_path: Path) -> None:
    truths = {"a": (0.4, 0.95), "b": (0.2, 0.95), "c": (0.1, 0.948)}
    found = judged(tmp_path, truths=truths, accuracy_noise=0.0)
    assert found.saving is not None
    assert (found.saving.best.name, found.saving.greenest.name) == ("b", "c")
    assert [row.name for row in found.saving.ties] == ["a"]
    assert "b has the best accuracy, 95 % (95 %: 95 % … 95 %), the same as a;" in saving_sentence(
        found
    )
    alone = judged(tmp_path / "b", truths={"a": (0.4, 0.95), "b": (0.2, 0.95)}, accuracy_noise=0)
    assert alone.saving is not None
    assert alone.saving.saved is None


def test_a_saving_that_noise_explains_is_not_shown(tmp_path: Path) -> None:
    truths = {"a": (0.2, 0.95), "b": (0.1999, 0.949)}
    text = saving_sentence(judged(tmp_path, truths=truths, noise=0.2, accuracy_noise=0.0, blocks=4))
    assert "no significant difference" in text or "no energy can be saved" in text
    wide = judged(tmp_path / "b", truths={"a": (0.2, 0.95), "b": (0.1, 0.945)}, accuracy_noise=0.02)
    if wide.saving is not None and wide.saving.greenest is not wide.saving.best:
        assert not wide.saving.surely_within
        assert "is within 1 % is not shown by the interval" in saving_sentence(wide)


def test_estimates_are_named_and_never_meet_measurements(tmp_path: Path) -> None:
    text = saving_sentence(judged(tmp_path, source=EnergySource.ESTIMATED))
    assert "of the estimated energy per image seen" in text
    records = [
        *training_runs.trained(TrainingCell("a", "digits"), source=EnergySource.ESTIMATED),
        *training_runs.trained(TrainingCell("b", "digits")),
    ]
    path = training_runs.write(tmp_path / "b", records, training_runs.study(["a", "b"], 1))
    (mixed,) = correctness(compile_training(path))
    assert mixed.saving is None
    assert saving_sentence(mixed) == (
        "Some energies are estimated and others measured: they are not compared."
    )
    assert mixed.tests["energy"].kruskal is None
    assert {row.pareto_status for row in mixed.rows} == {"missing"}


def test_missing_energy_is_said_with_its_reason(tmp_path: Path) -> None:
    found = judged(tmp_path, source=EnergySource.MISSING)
    assert saving_sentence(found) == (
        "There is no energy in it (the counter stood still): what a choice saves is not known."
    )
    cells = {name: TrainingCell(name, "digits") for name in ("a", "b", "c")}
    records = [
        *training_runs.trained(cells["a"], accuracy=0.9, source=EnergySource.MISSING),
        *training_runs.trained(cells["b"], accuracy=0.899),
        *training_runs.failed(cells["c"]),
    ]
    path = training_runs.write(tmp_path / "b", records, training_runs.study([*cells], 1))
    (part,) = correctness(compile_training(path))
    assert saving_sentence(part).startswith(
        "The energy of a, of the best accuracy, is not known (the counter stood still): what"
    )
    rows = rows_of(part)
    assert rows["c"].why.startswith("the loss is nan")
    assert (rows["c"].accuracy, rows["c"].pareto_status) == ({}, "missing")
    path = training_runs.write(
        tmp_path / "c", training_runs.failed(cells["a"]), training_runs.study(["a"], 1)
    )
    (lost,) = correctness(compile_training(path))
    assert saving_sentence(lost) == "No training ended well, so there is no result."


def test_one_choice_has_nothing_to_be_held_against(tmp_path: Path) -> None:
    found = judged(tmp_path, truths={"a": (0.2, 0.95)})
    text = saving_sentence(found)
    assert text.endswith("there is no other choice with a known energy.")
    assert found.spearman is None


def test_machines_are_judged_apart_and_compared_by_environments(tmp_path: Path) -> None:
    parts = {
        name: opened(tmp_path / name, host=name, power=power, blocks=6)
        for name, power in (("local", 1.0), ("cloud", 1.5))
    }
    merged = merge_training_datasets(parts)
    found = correctness(merged)
    assert [str(one.context) for one in found] == ["on local", "on cloud"]
    assert saving_sentence(found[0]).startswith("On local: vgg16 has the best accuracy")
    compared = environments(merged)
    assert len(compared) == 5
    context, tests = compared[0]
    assert str(context) == "mobilenet_v2"
    assert tests.kruskal is not None
    assert tests.kruskal.p < 0.01
    (pair,) = tests.dunn
    assert pair.of == "local - cloud"
    assert pair.effect is not None
    assert pair.effect.centre == -1
    with pytest.raises(UsageError, match="there is one machine; merge runs"):
        environments(parts["local"])


def test_machines_of_which_one_is_estimated_are_not_compared(tmp_path: Path) -> None:
    parts = {
        name: opened(tmp_path / name, host=name, blocks=3, source=source)
        for name, source in (("a", EnergySource.COUNTER), ("b", EnergySource.ESTIMATED))
    }
    compared = environments(merge_training_datasets(parts, allow=["energy"]))
    assert {tests.kruskal for _, tests in compared} == {None}
    assert compared[0][1].notes[0].startswith("Energy is estimated on one machine")


def test_what_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    dataset = opened(tmp_path, blocks=1)
    with pytest.raises(UsageError, match="within is 1; give a share from 0 to below 1"):
        correctness(dataset, within=1.0)
    with pytest.raises(UnknownNameError, match="unknown measure of correctness 'loss'"):
        correctness(dataset, metric="loss")  # type: ignore[arg-type]
    search = compile_training(training_runs.search_run(tmp_path / "s", blocks=1))
    with pytest.raises(UsageError, match="the run is a search"):
        correctness(search)
    assert not math.isnan(rows_of(correctness(dataset)[0])["vgg16"].energy[0])
