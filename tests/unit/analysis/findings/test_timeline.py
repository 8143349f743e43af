"""Networks by year: at a batch and backend that a reader chose, and of servers."""

from dataclasses import replace
from pathlib import Path

import pytest

from greenbatch.analysis import open_run, write_report
from greenbatch.analysis.dataset.energy_basis import Basis
from greenbatch.analysis.findings.cells import CellRow, cell_rows
from greenbatch.analysis.findings.timeline import (
    Timeline,
    TimelineChoice,
    growth_sentence,
    timeline,
    timeline_sentence,
)
from greenbatch.analysis.report.figures.timeline import timeline_figure
from greenbatch.analysis.report.findings import find
from greenbatch.analysis.report.sections import timeline_sections
from greenbatch.errors import UnknownNameError, UsageError
from greenbatch.records import Cell, EnergySource, Provenance
from tests.fakes import runs
from tests.fakes.command import gb
from tests.fakes.served_run import served_run
from tests.fakes.training_runs import plain_run

MODELS = ("alexnet", "densenet121")
ONE, OTHER = "torch-cpu", "onnxruntime-cpu"
COSTS = {
    ("alexnet", ONE, 1): 4.0,
    ("alexnet", ONE, 8): 1.0,
    ("alexnet", OTHER, 1): 2.0,
    ("densenet121", ONE, 1): 12.0,
    ("densenet121", ONE, 8): 6.0,
    ("densenet121", OTHER, 1): 10.0,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    records = [
        runs.repetition(
            Cell(model, backend, batch_size=size),
            block,
            energy=[runs.figure(energy_j * size * 10, window_s=1.0)],
            latency_s=0.1,
            duration_s=1.0,
            iterations=10,
        )
        for block in range(3)
        for (model, backend, size), energy_j in COSTS.items()
    ]
    folder = tmp_path_factory.mktemp("timeline") / "run"
    return runs.write_run(folder, records, runs.study(MODELS, (ONE, OTHER), (1, 8)))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return served_run(tmp_path_factory.mktemp("served") / "run", models=MODELS)


def energies(found: Timeline) -> dict[str, float]:
    return {network.model: network.energy_j.centre for network in found.networks}


@pytest.mark.parametrize(
    ("choice", "expected", "where"),
    [
        (None, (1.0, 6.0), "each network at its own best backend and batch size"),
        (TimelineChoice(batch_size=1), (2.0, 10.0), "every network at batch 1"),
        (TimelineChoice(backend=OTHER), (2.0, 10.0), f"every network on {OTHER}"),
        (
            TimelineChoice(batch_size=1, backend=ONE),
            (4.0, 12.0),
            f"every network at batch 1 on {ONE}",
        ),
    ],
)
def test_every_network_is_at_the_chosen_batch_and_backend(
    run: Path, choice: TimelineChoice | None, expected: tuple[float, float], where: str
) -> None:
    dataset = open_run(run)
    found = timeline(dataset, cell_rows(dataset), choice)
    assert energies(found) == pytest.approx(dict(zip(MODELS, expected, strict=True)))
    assert timeline_sentence(found).endswith(f"Of the means, {where}.")


@pytest.mark.slow
@pytest.mark.usefixtures("no_figures")
def test_a_chosen_timeline_stands_beside_that_of_the_best_cells(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--timeline-batch", 1, "--timeline-backend", ONE)
    assert gb(capsys, "report", run, *options)[0] == 0
    text = (run / "report" / "report.md").read_text()
    assert "## Accuracy and energy by year of publication\n" in text
    assert f"## Accuracy and energy by year of publication, at batch 1 on {ONE}\n" in text


@pytest.mark.slow
def test_where_nothing_was_chosen_there_is_one_timeline(run: Path) -> None:
    dataset = open_run(run)
    (of_best,) = find(dataset, None).tradeoffs.timelines
    assert of_best.chosen == ""
    (alone,) = find(dataset, None, TimelineChoice()).tradeoffs.timelines
    assert alone == of_best
    _, chosen = find(dataset, None, TimelineChoice(batch_size=1)).tradeoffs.timelines
    assert chosen.chosen == "at batch 1"


def test_the_figure_on_paper_says_what_was_chosen(run: Path) -> None:
    dataset = open_run(run)
    figure = timeline_figure(timeline(dataset, cell_rows(dataset), TimelineChoice(batch_size=1)))
    assert figure is not None
    assert figure.get_suptitle().startswith("Networks by year, at batch 1: ")
    assert timeline_figure(Timeline()) is None


@pytest.mark.slow
def test_what_no_cell_has_is_refused_with_what_there_is(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = open_run(run)
    with pytest.raises(UnknownNameError, match="did you mean 'torch-cpu'"):
        timeline(dataset, cell_rows(dataset), TimelineChoice(backend="torch-cp"))
    code, _, errors = gb(capsys, "report", run, "--timeline-batch", 7)
    assert (code, errors.count("\n")) == (2, 1)
    assert "no cell has batch 7" in errors
    assert errors.endswith("the run has 1, 8\n")
    trainings = plain_run(tmp_path / "trainings")
    with pytest.raises(UsageError, match="trainings is of trainings"):
        write_report(trainings, timeline_batch=8)


def late(row: CellRow) -> CellRow:
    return replace(row, flags={"overloaded": 3})


@pytest.mark.slow
def test_servers_are_shown_under_the_traffic_that_most_networks_sustain(served: Path) -> None:
    dataset = open_run(served)
    rows = cell_rows(dataset)
    found = timeline(dataset, rows)
    assert found.traffic == "at 200 requests/s (poisson)"
    assert {network.cell.served.rate for network in found.networks} == {"200"}
    assert found.where.startswith("each network at its own best backend and policy, at 200 ")
    assert "energy per request changed" in growth_sentence(found.networks)
    (section,) = timeline_sections([found])
    assert [chart.title for chart in section.charts][1] == "Energy per request by year"
    fast = [
        late(r) if r.cell.served.rate == "200" and r.cell.model == MODELS[0] else r for r in rows
    ]
    assert timeline(dataset, fast).traffic == "at 40 requests/s (poisson)"
    alone = [late(r) if r.cell.model == MODELS[0] else r for r in rows]
    few = timeline(dataset, alone)
    assert few.networks == ()
    assert few.left_out.endswith("under no policy do alexnet.")
    (section,) = timeline_sections([few])
    assert section.charts == []
    assert section.absent == few.left_out


def test_of_servers_the_batch_is_the_largest_of_the_policy(served: Path) -> None:
    dataset = open_run(served)
    found = timeline(dataset, cell_rows(dataset), TimelineChoice(batch_size=4))
    assert {network.cell.served.policy for network in found.networks} == {"fixed:4"}


def test_a_timeline_that_was_asked_for_says_why_there_is_none(run: Path) -> None:
    dataset = open_run(run)
    rows = [row for row in cell_rows(dataset) if row.cell.model == "alexnet"]
    found = timeline(dataset, rows, TimelineChoice(batch_size=8))
    assert not found.networks
    assert "networks by year at batch 8: it takes 2 networks" in found.left_out
    assert timeline(dataset, rows) == Timeline()


def test_energies_that_are_not_alike_make_no_timeline_and_the_reason_is_given(run: Path) -> None:
    dataset = open_run(run)
    rows = [
        replace(row, basis=Basis.of(Provenance.ESTIMATED)) if row.cell.model == "alexnet" else row
        for row in cell_rows(dataset)
    ]
    assert "not alike" in timeline(dataset, rows).left_out


@pytest.mark.slow
def test_servers_without_energy_are_not_said_to_be_overloaded(tmp_path: Path) -> None:
    run = served_run(
        tmp_path / "run", EnergySource.MISSING, models=MODELS, policies=("greedy:1", "greedy:16")
    )
    dataset = open_run(run)
    left_out = timeline(dataset, cell_rows(dataset)).left_out
    assert "sustain" not in left_out
    assert "with year, accuracy and energy; here are 0" in left_out
