"""JSON, terminal, report and ``ds.gb`` give one answer, by the blocks that cells share."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from greenbatch.analysis import best_rows, cell_rows, open_run, write_report
from greenbatch.analysis.dataset.store import compile_dataset
from greenbatch.analysis.findings.answers import Answer, answers
from greenbatch.analysis.findings.comparisons import energy_ratio
from greenbatch.analysis.report.findings import find, summary_sentence
from greenbatch.analysis.statistics.by_dimension import figure_of, intervals_of
from greenbatch.analysis.statistics.claims import FRONT
from greenbatch.analysis.statistics.intervals import Interval
from greenbatch.analysis.tradeoffs.best_batch import best_batch
from greenbatch.analysis.tradeoffs.pareto import pareto
from greenbatch.cli.output.inference import run_as_json, show_run
from greenbatch.records import Cell, Provenance, Record
from tests.fakes import runs

pytestmark = pytest.mark.numeric

ORT, TORCH = runs.BACKENDS
Joules = Callable[[Cell, int], float | None]


def run_of(path: Path, cells: list[Cell], blocks: int, joules: Joules) -> Path:
    """Write a run with this energy per image by cell and block; ``None`` is a failure."""
    records: list[Record] = []
    for block in range(blocks):
        for cell in cells:
            value = joules(cell, block)
            total = None if value is None else runs.figure(value * 100 * cell.batch_size)
            records.append(
                runs.failed(cell, block)
                if total is None
                else runs.repetition(cell, block, energy=[total], latency_s=0.01 * cell.batch_size)
            )
    members = runs.study(
        backends=list(dict.fromkeys(cell.backend for cell in cells)),
        batch_sizes=sorted({cell.batch_size for cell in cells}),
        repetitions=blocks,
    )
    return runs.write_run(path, records, members)


def asked(path: Path, cells: list[Cell], blocks: int, joules: Joules) -> tuple[xr.Dataset, Answer]:
    dataset = compile_dataset(run_of(path, cells, blocks, joules))
    (answer,) = answers(cell_rows(dataset))
    return dataset, answer


def noise(seed: int, spread: float) -> Callable[[], float]:
    random = np.random.default_rng(seed)
    return lambda: math.exp(random.normal(0, spread))


@pytest.mark.slow
def test_a_cell_that_left_before_the_room_warmed_is_not_the_best_for_it(tmp_path: Path) -> None:
    """0.300 J against 0.308 J in the same blocks; the second one ran in the cool five alone."""
    draw = noise(1, 0.004)
    base = {ORT: 0.300, TORCH: 0.308}

    def joules(cell: Cell, block: int) -> float | None:
        if cell.backend == TORCH and block >= 5:
            return None
        return base[cell.backend] * (1.06 if block >= 5 else 1.0) * draw()

    cells = [Cell("alexnet", ORT), Cell("alexnet", TORCH)]
    dataset, answer = asked(tmp_path, cells, 15, joules)
    plain = [row.energy_per_image_j.centre for row in cell_rows(dataset) if row.energy_per_image_j]
    assert plain[1] < plain[0]  # what plain means say
    assert (answer.best, answer.clear, answer.adjusted) == (cells[0], True, True)
    assert answer.margin is not None
    assert answer.margin.centre == pytest.approx(0.308 / 0.300, rel=0.01)
    assert " less" not in answer.certainty
    assert answer.adjusted_figure is not None
    assert answer.figure is not None
    assert answer.adjusted_figure == pytest.approx(answer.figure.centre, rel=1e-9)  # in all blocks
    assert answer.figure.centre == pytest.approx(plain[0])  # as the table has it
    assert f"adjusted for blocks ({answer.value} for the best)" in answer.certainty
    rows = [replace(row, energy_per_image_j=None) for row in cell_rows(dataset)]
    (by_speed,) = answers([row for row in rows if row.cell == cells[0]])
    assert by_speed.figure is not None
    (ranked,) = answers(rows)
    assert (ranked.best, ranked.adjusted) == (cells[0], True)
    assert ranked.adjusted_figure == pytest.approx(by_speed.figure.centre, rel=1e-9)
    found = best_batch(dataset)
    assert found.adjusted_energy_j == answer.adjusted_figure
    assert "adjusted for blocks" in str(found)
    assert "; every figure shown is the mean over a cell's own blocks" in str(found)
    assert (found.labels or {})["backend"] == ORT
    assert found.clear
    front = pareto(dataset)["front"].sel(batch_size=1).squeeze()
    assert FRONT[int(front.sel(backend=ORT))] == "front"


def test_a_failure_in_a_block_of_twice_the_energy_does_not_make_a_cell_the_best(
    tmp_path: Path,
) -> None:
    draw = noise(2, 0.003)
    base = {1: 0.313, 4: 0.3233, 8: 0.40}

    def joules(cell: Cell, block: int) -> float | None:
        if (cell.batch_size, block) == (4, 2):
            return None
        return base[cell.batch_size] * (2.0 if block == 2 else 1.0) * draw()

    cells = [Cell("alexnet", ORT, batch_size=size) for size in base]
    dataset, answer = asked(tmp_path, cells, 5, joules)
    assert answer.best == cells[0]
    assert answer.runner_up == cells[1]
    assert answer.saved is None  # it is batch 1 itself
    assert best_batch(dataset).batch_size == 1
    assert [row.cell.batch_size for row in best_rows(cell_rows(dataset))] == [1]


@pytest.mark.parametrize("seed", range(8))
def test_no_best_is_named_whose_own_ratio_says_that_the_next_is_less(
    tmp_path: Path, seed: int
) -> None:
    random = np.random.default_rng(seed)
    shared = np.exp(random.normal(0, 0.2, 6))

    def joules(cell: Cell, block: int) -> float | None:
        own = math.exp(random.normal(0, 0.02))
        return None if random.random() < 0.3 else 0.3 * float(shared[block]) * own

    cells = [Cell("alexnet", b, batch_size=s) for b in (ORT, TORCH) for s in (1, 2, 4)]
    dataset, answer = asked(tmp_path, cells, 6, joules)
    rows = {row.cell: row for row in cell_rows(dataset)}
    assert answer.best is not None
    assert answer.runner_up is not None
    own = energy_ratio(rows[answer.runner_up], rows[answer.best]).interval
    assert own is None or own.centre >= 1
    assert " less" not in answer.certainty


def test_the_next_cell_is_named_though_the_best_cell_failed_once(tmp_path: Path) -> None:
    draw = noise(3, 0.004)
    base = {4: 0.298, 8: 0.3003}

    def joules(cell: Cell, block: int) -> float | None:
        return None if (cell.batch_size, block) == (4, 3) else base[cell.batch_size] * draw()

    cells = [Cell("alexnet", ORT, batch_size=size) for size in base]
    dataset, answer = asked(tmp_path, cells, 5, joules)
    found = best_batch(dataset)
    assert found.batch_size == 4
    assert found.runner_up is not None
    assert found.margin is not None
    assert "no significant difference" in str(found)
    assert not found.clear
    assert len(answer.alike) == 1


@pytest.mark.slow
def test_a_saving_against_batch_1_allows_for_the_choice_among_many(tmp_path: Path) -> None:
    wrong = 0
    for seed in range(12):
        draw = noise(seed, 0.02)
        cells = [Cell("alexnet", ORT, batch_size=2**k) for k in range(12)]
        _, answer = asked(tmp_path / str(seed), cells, 3, lambda *_, draw=draw: 0.3 * draw())
        wrong += answer.saved_shown
        if answer.saved and not answer.saved_shown:
            picked = answer.saving.endswith(
                "than at batch 1, not significant for the best of several"
            )
            assert picked == answer.saved.excludes(1.0)
            assert picked or answer.saving.startswith("no significant difference from batch 1")
    assert wrong <= 3  # 5 % each: more has a chance of 0.2 %


def test_two_repetitions_have_a_range_everywhere(tmp_path: Path) -> None:
    cells = [Cell("alexnet", ORT, batch_size=size) for size in (1, 4)]
    values = {(1, 0): 0.30, (1, 1): 0.32, (4, 0): 0.25, (4, 1): 0.27}
    dataset, answer = asked(tmp_path, cells, 2, lambda cell, k: values[cell.batch_size, k])
    found = best_batch(dataset)
    assert answer.figure is not None
    assert found.energy_j is not None
    energy = intervals_of(figure_of(dataset, "energy_per_image")).sel(batch_size=4).squeeze()
    ends = [float(energy[f"energy_per_image_{end}"]) for end in ("low", "high")]
    for one in (answer.figure, found.energy_j):
        assert one.kind == "range"
        assert [one.low, one.high] == pytest.approx(ends)
    assert ends == pytest.approx([0.25, 0.27])
    assert "range" in str(found)
    assert "too few repetitions" in str(found)
    assert " 2 repetitions, too few to be sure." in answer.certainty
    assert "range" in answer.saving


def test_cells_that_share_no_block_are_said_to_be_not_comparable(tmp_path: Path) -> None:
    cells = [Cell("alexnet", ORT, batch_size=size) for size in (1, 2, 4)]
    draw = noise(0, 0.01)

    def joules(cell: Cell, block: int) -> float | None:
        return None if (cell.batch_size == 4) == (block < 3) else 0.3 / cell.batch_size * draw()

    dataset, answer = asked(tmp_path, cells, 6, joules)
    assert answer.best == cells[1]
    assert answer.apart == (cells[2],)
    assert not answer.clear
    assert "Not comparable with onnxruntime-cpu at batch 4: no chain" in answer.certainty
    assert "not comparable with" in str(best_batch(dataset))


def test_that_no_block_has_both_cells_is_a_sentence_of_its_own(tmp_path: Path) -> None:
    cells = [Cell("alexnet", ORT, batch_size=size) for size in (1, 2, 4)]
    draw = noise(0, 0.01)

    def joules(cell: Cell, block: int) -> float | None:
        blocks = {1: range(6), 2: range(3, 6), 4: range(3)}[cell.batch_size]
        return 0.3 / cell.batch_size * draw() if block in blocks else None

    _, answer = asked(tmp_path, cells, 6, joules)
    assert (answer.best, answer.runner_up) == (cells[2], cells[1])
    assert answer.certainty.startswith("Next is onnxruntime-cpu at batch 2. No block has both. ")


@pytest.mark.slow
@pytest.mark.parametrize("spread", [0.001, 0.05], ids=["clear", "tied"])
def test_json_terminal_report_and_accessor_give_one_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spread: float
) -> None:
    draw = noise(4, spread)
    cells = [Cell("alexnet", b, batch_size=s) for b in (ORT, TORCH) for s in (1, 2, 4, 8)]
    base = {cell: 0.3 - 0.01 * place for place, cell in enumerate(cells)}
    run = run_of(tmp_path / "run", cells, 4, lambda cell, _: base[cell] * draw())
    dataset = open_run(run)
    found = find(dataset, None)
    page = write_report(run).page

    (said,) = json.loads(run_as_json(run, found, page))["answers"]
    accessor = dataset.gb.best_batch(model="alexnet")
    labels: Mapping[str, object] = accessor.labels or {}
    assert (said["backend"], said["batch_size"]) == (labels["backend"], labels["batch_size"])
    assert said["clear"] == accessor.clear == (spread < 0.01)
    assert len(said["no_significant_difference"]) == len(accessor.alike)
    assert (said["value"], said["low"], said["high"]) == pytest.approx(
        [getattr(accessor.energy_j, name) for name in ("centre", "low", "high")]
    )
    show_run(found, page)
    terminal = " ".join(capsys.readouterr().out.split())
    markdown = " ".join((page.parent / "report.md").read_text().split())
    for text in (terminal, markdown):
        assert said["certainty"] in text
    assert summary_sentence(found.answers) in markdown
    assert ("no significant difference" in found.summary) == (not said["clear"])
    front = dataset.gb.pareto()["front"]
    for cell, status in found.tradeoffs.pareto_status.items():
        at = front.sel(backend=cell.backend, batch_size=cell.batch_size)
        assert FRONT[int(at.squeeze())] == status
    for turning in found.tradeoffs.turnings:
        knee = dataset.gb.knee(**turning.labels)
        assert knee.batch_size == turning.knee.batch_size


@pytest.mark.slow
@pytest.mark.parametrize(("blocks", "doubted"), [(1, True), (2, True), (3, False)])
def test_the_first_sentence_knows_that_few_repetitions_show_nothing(
    tmp_path: Path, blocks: int, doubted: bool
) -> None:
    run = runs.realistic_run(tmp_path / "run", models=("alexnet",), blocks=blocks)
    with open_run(run) as dataset:
        summary = find(dataset, None).summary
    assert ("There are too few repetitions to be sure." in summary) == doubted


def test_a_summary_of_several_models_says_once_that_others_do_not_differ() -> None:
    def answer(model: str, *alike: int) -> Answer:
        return Answer(
            model=model,
            criterion="energy",
            best=Cell(model, ORT, batch_size=8),
            energy_source=Provenance.MEASURED,
            margin=Interval(0.9, 1.1, 1.2, 3),
            alike=tuple(Cell(model, ORT, batch_size=size) for size in alike),
        )

    clear, tied = answer("a"), answer("b", 4, 16)
    least = f"Least energy per image: {ORT} at batch 8, for both models."
    assert summary_sentence([clear, clear]) == least
    assert summary_sentence([clear, tied]) == (
        f"{least} For b, other cells do not differ significantly from that."
    )
    assert summary_sentence([tied, tied]) == (
        f"{least} For every model, other cells do not differ significantly from that."
    )
    few = replace(tied, margin=Interval(0.9, 1.1, 1.2, 2))
    assert summary_sentence([few]) == (
        f"Least energy per image: {ORT} at batch 8 for b. There are too few repetitions to be sure."
    )
    assert summary_sentence([tied]) == (
        f"Least energy per image: {ORT} at batch 8 for b. "
        "There is no significant difference from 2 other cells."
    )
