"""What a study of inference printed stands beside what its preset gives here."""

from dataclasses import replace
from pathlib import Path
from statistics import stdev

import pytest

from greenbatch.analysis import cell_rows, open_run
from greenbatch.analysis.findings.cells import CellRow, Series
from greenbatch.analysis.published.studies import published_studies
from greenbatch.analysis.report.tables.published import published_sections
from greenbatch.design.presets import read
from greenbatch.records import Cell
from tests.fakes import runs
from tests.fakes.served_run import served_run

RUNTIMES = {"torch-cuda": "torch", "onnxruntime-cuda": "onnxruntime"}
SPEEDS = {"mobilenet_v2": 3.0, "efficientnet_b0": 2.0, "vgg16": 1.2}


@pytest.fixture(scope="module")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> CellRow:
    folder = tmp_path_factory.mktemp("pattern") / "run"
    record = runs.repetition(Cell("alexnet", "torch-cpu"), 0, energy=[runs.figure(1.0)])
    run = runs.write_run(folder, [record], runs.study(("alexnet",), ("torch-cpu",), (1,)))
    return cell_rows(open_run(run))[0]


def here(name: str, rows: list[CellRow]) -> dict[str, tuple[str, str]]:
    (section,) = published_sections(name, rows, RUNTIMES)
    return {words: (published, found) for words, published, found in section.table.rows}


def test_speeds_of_runtimes_are_means_over_the_networks_of_a_family(pattern: CellRow) -> None:
    rows = [
        replace(
            pattern,
            cell=Cell(model, backend, precision, batch_size=size),
            series=dict(pattern.series, latency_p50=Series({0: speed, 1: speed})),
        )
        for model, ratio in SPEEDS.items()
        for precision, size in (("fp32", 1), ("fp32", 8), ("fp16", 1))
        for backend, base in (("torch-cuda", ratio), ("onnxruntime-cuda", 1.0))
        for speed in (0.01 * base * (1 if (precision, size) == ("fp32", 1) else 7),)
    ]
    found = here("efficiency-paradox", rows)
    published, mean = found["speed of onnxruntime over torch at batch 1, fp32"]
    assert published.startswith("2.01, ")
    assert mean == f"2.07 ± {stdev(SPEEDS.values()):.2f}, mean of 3 networks"
    assert found["the same, depthwise-separable networks"] == (
        "2.79 ± 0.35",
        "2.50 ± 0.71, mean of 2 networks",
    )
    assert found["the same, standard convolutional networks"][1] == "1.20"
    assert found["the same, networks with LayerNorm"][1] == "–"


@pytest.mark.slow
def test_policies_stand_in_their_order(tmp_path: Path) -> None:
    run = served_run(tmp_path / "run", models=("convnext_base",), rates_hz=(40.0,))
    found = here("yarally-batching", cell_rows(open_run(run)))
    _, waits = found["mean response time of convnext_base by policy"]
    places = [waits.index(policy) for policy in ("fixed:4", "fixed:16", "greedy:1 ", "greedy:16")]
    assert places == sorted(places)


def test_networks_of_a_figure_are_those_of_the_preset() -> None:
    for name, study in published_studies().items():
        members = read(name).members
        for figure in study.figures:
            assert set(figure.where.models) <= set(members.get("models", ())), name  # type: ignore[call-overload]


def test_another_study_has_no_such_table(pattern: CellRow) -> None:
    assert published_sections("mine", [pattern], RUNTIMES) == []
    assert published_sections(None, [pattern], RUNTIMES) == []
