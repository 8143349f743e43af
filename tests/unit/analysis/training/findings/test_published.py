"""The analysis gives the figures that the authors of the three papers printed."""

from pathlib import Path

import numpy as np
import pytest

from greenbatch.analysis.statistics.hypothesis_tests import (
    Test,
    cliffs_delta,
    dunn,
    kruskal_wallis,
    levene,
    shapiro_wilk,
    spearman,
)
from greenbatch.analysis.statistics.linear_models import anova, tukey
from greenbatch.analysis.statistics.mean_tests import games_howell
from greenbatch.analysis.training.dataset.contexts import Context
from greenbatch.analysis.training.findings.correctness import correctness
from greenbatch.analysis.training.findings.environments import environments, machines_compared
from greenbatch.analysis.training.findings.searches import SearchCurve
from greenbatch.records import Provenance
from tests.published.trainings import (
    DelReyTraining,
    delrey_dataset,
    delrey_trainings,
    layer_rows,
    searches,
)

pytestmark = pytest.mark.numeric
FACTORS = ("linear_layers", "conv_layers", "relu")
LOCAL_N, LOCAL_ML, CLOUD = "Local Normal User", "Local ML Engineer/Gamer", "Cloud"


def kept(**wanted: str) -> list[DelReyTraining]:
    """The trainings that the authors analysed, of a machine or a model."""
    return [
        training
        for training in delrey_trainings()
        if training.kept and all(getattr(training, k) == v for k, v in wanted.items())
    ]


def grouped(trainings: list[DelReyTraining], by: str, figure: str) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}
    for training in trainings:
        found.setdefault(getattr(training, by), []).append(getattr(training, figure))
    return found


def effect(test: Test) -> float:
    assert test.effect is not None
    return test.effect.centre


# del Rey et al., SEAA 2023: what the authors' notebook prints -----------------------------------


@pytest.mark.parametrize(
    ("figure", "h", "eta_squared"),
    [
        ("energy_j", 127.048441, 0.9114699365),
        ("gpu_usage", 133.354103, 0.9581785433),
        ("f1", 108.292997, 0.7725407178),
    ],
)
def test_architectures_differ_on_the_cloud_as_published(
    figure: str, h: float, eta_squared: float
) -> None:
    found = kruskal_wallis(grouped(kept(machine=CLOUD), "model", figure))
    assert found.statistic == pytest.approx(h, abs=1e-6)
    assert effect(found) == pytest.approx(eta_squared, abs=1e-9)
    assert found.degrees_of_freedom == (4,)


@pytest.mark.parametrize(
    ("figure", "h", "eta_squared"),
    [("energy_j", 64.285714, 0.7159277504), ("gpu_usage", 79.120879, 0.8864468864)],
)
def test_environments_differ_for_mobilenet_as_published(
    figure: str, h: float, eta_squared: float
) -> None:
    found = kruskal_wallis(grouped(kept(model="mobilenet_v2"), "machine", figure))
    assert found.statistic == pytest.approx(h, abs=1e-6)
    assert effect(found) == pytest.approx(eta_squared, abs=1e-9)


def test_pairs_of_architectures_are_as_published() -> None:
    groups = grouped(kept(machine=CLOUD), "model", "f1")
    alike = {test.of for test in dunn(groups) if not test.p_holm < 0.05}
    assert {frozenset(pair.split(" - ")) for pair in alike} == {
        frozenset({"mobilenet_v2", "nasnet_mobile"}),
        frozenset({"mobilenet_v2", "resnet50"}),
        frozenset({"nasnet_mobile", "resnet50"}),
    }
    for first, second, delta in (
        ("mobilenet_v2", "nasnet_mobile", -0.7538461538),
        ("mobilenet_v2", "resnet50", 0.12),
        ("nasnet_mobile", "resnet50", 0.4246153846),
        ("xception", "vgg16", -0.9229885058),
    ):
        found = cliffs_delta(groups[first], groups[second])
        assert found is not None
        assert found.centre == pytest.approx(delta, abs=1e-9)


def test_assumptions_are_tested_as_published() -> None:
    groups = grouped(kept(machine=CLOUD), "model", "f1")
    statistics = {test.of: test.statistic for test in shapiro_wilk(groups)}
    assert statistics["mobilenet_v2"] == pytest.approx(0.5614897013, abs=1e-6)
    assert statistics["vgg16"] == pytest.approx(0.9783178568, abs=1e-6)
    assert levene(groups).statistic == pytest.approx(10.7011022536, abs=1e-7)


@pytest.mark.slow
def test_games_howell_is_as_published() -> None:
    found = games_howell(grouped(kept(model="mobilenet_v2"), "machine", "energy_j"))
    by_pair = {frozenset(test.of.split(" - ")): test for test in found}
    local = by_pair[frozenset({LOCAL_ML, LOCAL_N})]
    assert local.p == pytest.approx(0.006140854, rel=1e-3)
    assert abs(effect(local)) == pytest.approx(0.004781, abs=5e-7)


@pytest.mark.parametrize(
    ("machine", "figure", "rho"),
    [
        (LOCAL_ML, "energy_j", 0.9682080113),
        (LOCAL_ML, "gpu_usage", 0.9797523179),
        (CLOUD, "energy_j", 0.8353027336),
        (CLOUD, "gpu_usage", 0.8873894360),
    ],
)
def test_figures_rise_with_the_complexity_as_published(
    machine: str, figure: str, rho: float
) -> None:
    pairs = {f"{t.model} {t.run}": (getattr(t, figure), t.gflops) for t in kept(machine=machine)}
    assert spearman(pairs).statistic == pytest.approx(rho, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("machine", "rho"),
    [(LOCAL_N, 0.663795), (LOCAL_ML, 0.758752), (CLOUD, 0.854621)],
)
def test_energy_rises_with_correctness_as_published(
    tmp_path: Path, machine: str, rho: float
) -> None:
    found = {str(one.context): one for one in correctness(delrey_dataset(tmp_path), metric="f1")}
    every = found[f"on {machine}"].spearman_trainings
    assert every is not None
    assert every.statistic == pytest.approx(rho, abs=1e-6)


@pytest.mark.slow
def test_a_dataset_of_three_machines_gives_the_published_tests(tmp_path: Path) -> None:
    dataset = delrey_dataset(tmp_path)
    found = {str(one.context): one for one in correctness(dataset, metric="f1")}
    tests = found["on Cloud"].tests
    for figure, h in (("energy", 127.048441), ("f1", 108.292997)):
        assert tests[figure].kruskal is not None
        assert tests[figure].kruskal.statistic == pytest.approx(h, abs=1e-6)  # type: ignore[union-attr]
    of_mobilenet = {str(c): t for c, t in environments(dataset)}["mobilenet_v2"]
    assert of_mobilenet.kruskal is not None
    assert of_mobilenet.kruskal.statistic == pytest.approx(64.285714, abs=1e-6)
    assert all(test.p_holm < 0.05 for test in of_mobilenet.dunn)


@pytest.mark.slow
def test_the_headline_is_81_percent_and_by_the_faulty_energy_98(tmp_path: Path) -> None:
    """ArXiv 2307.05520: 98.83 % in its first versions, 81.38 % since the third."""
    (right,) = machines_compared(delrey_dataset(tmp_path / "right"), "f1", "median")
    (wrong,) = machines_compared(delrey_dataset(tmp_path / "wrong", faulty=True), "f1", "median")
    assert right.overall is not None
    assert right.overall.saved.centre == pytest.approx(0.8138637397, abs=1e-9)
    assert str(right.overall.most) == f"vgg16 on {LOCAL_ML}"
    assert str(right.overall.least) == f"mobilenet_v2 on {LOCAL_ML}"
    assert right.within is not None
    assert right.within.saved == right.overall.saved
    assert wrong.overall is not None
    assert wrong.overall.saved.centre == pytest.approx(0.9883408363, abs=1e-9)
    assert str(wrong.overall.most) == f"nasnet_mobile on {LOCAL_N}"
    assert wrong.within is not None
    assert wrong.within.saved.centre < wrong.overall.saved.centre


# Yarally et al., CAIN 2023: what the authors' files of statistics print ---------------------------


@pytest.mark.parametrize(
    ("data", "terms"),
    [
        (
            "CIFAR-10",
            {
                "linear_layers": (0.016, 22631.706),
                "conv_layers": (0.976, 1.363e6),
                "relu": (0.003, 4617.013),
                "linear_layers x conv_layers": (7.748e-6, 10.817),
                "conv_layers x relu": (7.116e-4, 993.572),
                "linear_layers x conv_layers x relu": (0.001, 1713.193),
            },
        ),
        (
            "Fashion-MNIST",
            {
                "linear_layers": (0.006, 21841.658),
                "conv_layers": (0.990, 3.908e6),
                "relu": (0.002, 6853.152),
                "linear_layers x conv_layers": (0.002, 7758.395),
                "linear_layers x relu": (3.827e-7, 1.511),
            },
        ),
    ],
)
def test_layers_explain_the_energy_of_a_training_as_published(
    data: str, terms: dict[str, tuple[float, float]]
) -> None:
    rows = list(layer_rows(data))
    assert len(rows) == 3072  # whole trainings
    found = {term.test.of: term for term in anova(rows, "energy", FACTORS, typ=3)}
    for name, (share, f) in terms.items():
        digits = 5e-4 if share >= 0.001 else share * 5e-4
        assert found[name].eta_squared == pytest.approx(share, abs=digits)
        assert found[name].test.statistic == pytest.approx(f, rel=5e-4)
        assert found[name].test.degrees_of_freedom == (1, 3064)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "differences"),
    [
        ("CIFAR-10", {"linear_layers": 236.056, "conv_layers": 1831.975, "relu": 106.619}),
        ("Fashion-MNIST", {"linear_layers": 61.063, "conv_layers": 816.846, "relu": 34.204}),
    ],
)
def test_levels_differ_as_published(data: str, differences: dict[str, float]) -> None:
    rows = list(layer_rows(data))
    for name, difference_j in differences.items():
        (pair,) = tukey(rows, "energy", FACTORS, name)
        assert abs(effect(pair)) == pytest.approx(difference_j, abs=6e-4)
    groups: dict[str, list[float]] = {}
    for number, row in enumerate(rows):  # no two are alike, as in what was measured
        groups.setdefault(str(row["conv_layers"]), []).append(float(row["energy"]) + 1e-6 * number)
    assert kruskal_wallis(groups).statistic == pytest.approx(2303.250, abs=5e-4)


def test_bayesian_search_ends_near_the_best_where_others_do_not() -> None:
    arrived = dict.fromkeys(("random", "grid", "bayesian"), 0)
    for best in searches():
        for strategy, accuracy in best.items():
            curve = SearchCurve(
                context=Context((), ""),
                strategy=strategy,
                objective="accuracy",
                within=0.01,
                blocks=(0,),
                score=np.array([[accuracy]]),
                energy_j=np.array([[1.0]]),
                source=Provenance.MEASURED,
                ok=64,
                failed=0,
                unknown=0,
                unfinished=(),
                best_trial={},
            )
            arrived[strategy] += not curve.near({0: max(best.values())}).never
    assert len(searches()) == 12
    assert arrived == {"bayesian": 11, "random": 4, "grid": 3}
