"""The answer of a run as JSON: offline cells alone are ranked, servers stand by their traffic."""

import io
import json
from pathlib import Path

import pytest

from greenbatch.analysis import open_run
from greenbatch.analysis.findings.cells import cell_rows
from greenbatch.analysis.report.build import report_of_run
from greenbatch.cli.output.console import TextConsole
from greenbatch.cli.output.inference import cell_tables, run_as_json, show_run
from greenbatch.records import Cell, EnergySource
from tests.fakes import runs, served_run


@pytest.mark.slow
def test_servers_are_not_ranked_with_offline_cells(tmp_path: Path) -> None:
    served = [
        served_run.repetition(
            served_run.cell("alexnet", "onnxruntime-cpu", policy, 200.0),
            block,
            EnergySource.COUNTER,
            0.001,  # so that a request of a server costs less than any image
        )
        for block in range(3)
        for policy in ("greedy:16", "fixed:4")
    ]
    offline = [
        runs.repetition(Cell("alexnet", "onnxruntime-cpu", batch_size=size), block)
        for block in range(3)
        for size in (1, 8)
    ]
    study = runs.study(("alexnet",), ("onnxruntime-cpu",), (1, 8)) | {
        "scenarios": ["offline", "server"],
        "arrivals": ["poisson"],
        "policies": ["greedy:16", "fixed:4"],
        "rates": [200.0],
    }
    run = runs.write_run(tmp_path / "run", [*offline, *served], study)
    page, findings = report_of_run(run)
    result = json.loads(run_as_json(run, findings, page))
    (answer,) = result["answers"]
    assert answer["batch_size"] in (1, 8)
    assert {server["policy"] for server in result["servers"]} == {"greedy:16", "fixed:4"}
    assert all(server["rate"] == "200" for server in result["servers"])
    cheapest = min(server["energy_per_request_j"] for server in result["servers"])
    assert cheapest < answer["value"], "a server would have been the answer"


@pytest.mark.slow
def test_an_energy_that_is_estimated_in_part_is_called_estimated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = [
        runs.repetition(
            Cell("alexnet", backend),
            block,
            energy=[
                runs.figure(30.0 * factor, "gpu-0"),
                runs.figure(10.0 * factor, "cpu-estimate", EnergySource.ESTIMATED),
            ],
        )
        for backend, factor in (("onnxruntime-cpu", 1.0), ("torch-cpu", 2.0))
        for block in range(3)
    ]
    study = runs.study(backends=("onnxruntime-cpu", "torch-cpu"), batch_sizes=(1,))
    page, findings = report_of_run(runs.write_run(tmp_path / "run", records, study))
    show_run(findings, page)
    printed = capsys.readouterr().out
    assert "J/image, est." in printed
    assert "400 mJ per image (estimated)" in printed


@pytest.mark.slow
def test_results_that_were_mostly_disturbed_are_headed_by_that(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cell = Cell("alexnet", "onnxruntime-cpu")
    records = [
        runs.repetition(cell, block, flags=("disturbed",) if block else ()) for block in range(3)
    ]
    run = runs.write_run(tmp_path / "run", records, runs.study(("alexnet",), (cell.backend,)))
    page, findings = report_of_run(run)
    show_run(findings, page)
    words = "Most repetitions were disturbed by other work (2 of 3)"
    assert capsys.readouterr().out.startswith(words)
    assert f'<p class="summary">{words}' in page.read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("repetitions", "interval"), [(1, "none"), (2, "range"), (3, "t")])
def test_a_script_learns_what_the_bounds_of_an_answer_are(
    tmp_path: Path, repetitions: int, interval: str
) -> None:
    records = [
        runs.repetition(
            Cell("alexnet", "onnxruntime-cpu"), block, energy=[runs.figure(30.0 + block)]
        )
        for block in range(repetitions)
    ]
    design = runs.study(batch_sizes=(1,), repetitions=repetitions)
    page, findings = report_of_run(runs.write_run(tmp_path / "run", records, design))
    (answer,) = json.loads(run_as_json(tmp_path / "run", findings, page))["answers"]
    assert (answer["interval"], answer["repetitions"]) == (interval, repetitions)
    assert (answer["low"] is None) == (interval == "none")
    assert answer["adjusted_for_blocks"] is None


@pytest.mark.parametrize("width", [80, 100, 120, 160])
def test_no_name_figure_or_flag_is_shortened_at_any_width(width: int, tmp_path: Path) -> None:
    flags = ("unsteady", "disturbed")
    records = [
        runs.repetition(
            Cell(model, backend, batch_size=batch),
            block,
            energy=[runs.figure(30.0 + block * 9, source=EnergySource.ESTIMATED)],
            flags=flags,
        )
        for model in ("shufflenet_v2_x0_5", "alexnet")
        for backend in ("onnxruntime-cpu", "torch-compile-cpu")
        for batch in (1, 128)
        for block in range(2)
    ]
    run = runs.write_run(
        tmp_path / "run",
        records,
        runs.study(
            ("shufflenet_v2_x0_5", "alexnet"), ("onnxruntime-cpu", "torch-compile-cpu"), (1, 128), 2
        ),
    )
    console = TextConsole(width=width, record=True, file=io.StringIO())
    for laid in cell_tables(cell_rows(open_run(run)), width):
        console.print(laid)
    text = console.export_text()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    for word in ("shufflenet_v2_x0_5", "torch-compile-cpu", "J/image, est.", "unsteady 2/2"):
        assert word in text
    words = " ".join(text.split())
    shown = "Left out for the width of the terminal: intervals." not in words
    assert ("±" in words) == shown
    assert ("± is the wider side of the range of two repetitions, in percent." in words) == shown
