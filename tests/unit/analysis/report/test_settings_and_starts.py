"""Where settings differ and what a start costs is said beside the figures."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from greenbatch.analysis import cell_rows, compile_dataset, write_report
from greenbatch.analysis.dataset.run_files import read_run
from greenbatch.analysis.findings.answers import Answer
from greenbatch.analysis.findings.cells import Series
from greenbatch.analysis.findings.startup import BreakEven, PayBack, StartUp
from greenbatch.analysis.report.findings import find
from greenbatch.analysis.report.tables.startup import slow_starts, verdict
from greenbatch.cli.output.inference import show_run
from greenbatch.records import FACTORS, Cell
from tests.fakes import runs
from tests.fakes.report_text import lines_of, own
from tests.fakes.unlike_run import unlike_run

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def unlike(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(unlike_run(tmp_path_factory.mktemp("unlike"))).page.parent


def test_a_difference_in_settings_is_said_with_the_answer_and_beside_each_ratio(
    unlike: Path,
) -> None:
    text, page = (unlike / "report.md").read_text(), own(unlike / "index.html")
    for shown in (text, page):
        assert "Settings differ from those of onnxruntime-cpu: torch-cpu in spinning." in shown
        assert "torch-cpu against onnxruntime-cpu: spinning: on against off." in shown
    marks = [line[-1] for line in lines_of(unlike, "Ratios to onnxruntime-cpu")[2:]]
    assert marks == ["≠\u00a0spinning", "≠\u00a0spinning", "–"]
    assert page.count('<td class="differs">≠\u00a0spinning</td>') == 2


def test_the_matrix_shows_every_factor_and_the_versions(unlike: Path) -> None:
    header, _, *lines = lines_of(unlike, "Effective settings")
    assert header == ["factor", *runs.BACKENDS]
    entries = {line[0]: line[1:] for line in lines}
    assert set(entries) == {factor.replace("_", " ") for factor in FACTORS} | {"versions as loaded"}
    assert entries["spinning"] == ["off", "≠ on"]
    assert entries["layout"] == ["not reported", "not reported"]
    assert entries["versions as loaded"] == ["torch 2.15.0", "torch 2.15.0"]


def test_a_start_is_shown_cold_and_warm_with_what_it_takes_to_break_even(unlike: Path) -> None:
    header, _, first, second = lines_of(unlike, "Start-up cost and break-even")
    start = dict(zip(header, second, strict=True))
    assert (first[2], start["batch"]) == ("16", "4")
    assert (start["load"], start["first inference"]) == ("50 s", "100 ms")
    assert start["energy (measured)"] == "1 kJ"
    assert start["warm"] == "5.1 s, 102 J"
    assert start["images to break-even, time"] == "never"


def test_agreement_memory_and_the_largest_batch_share_a_table(unlike: Path) -> None:
    header, _, first, second = lines_of(unlike, "Agreement with the reference, memory, accuracy")
    assert "top-1 accuracy" not in header  # random weights have none
    assert dict(zip(header, second, strict=True)) == {
        "model": "alexnet",
        "backend": "torch-cpu",
        "largest difference": "2.5e-06",
        "lowest cosine": "0.99999",
        "memory": "500 MB (batch 4)",
        "of its children": "300 MB (batch 4)",
        "largest batch": "13",
    }
    assert first[5:] == ["–", "–"]


@pytest.mark.parametrize(
    ("paid", "said"),
    [
        ({"verdict": "unknown", "reason": "why"}, "not known: why"),
        ({"verdict": "never"}, "never"),
        ({"images": 31_234.0}, "after 31,000"),
        ({"images": 120.0, "low": 100.0, "high": 150.0}, "after 120 (100 … 150)"),
        ({"images": 120.0, "low": 100.0, "high": math.inf}, "after 120 (from 100, perhaps never)"),
        ({"images": 0.2, "low": 0.0, "high": 9.0}, "ahead from the start (at the latest after 9)"),
    ],
)
def test_break_even_is_said_in_a_few_words(paid: dict[str, Any], said: str) -> None:
    costly, cheap = Cell("alexnet", "torch-cpu"), Cell("alexnet", "onnxruntime-cpu")
    members: dict[str, Any] = {
        "quantity": "time",
        "verdict": "pays",
        "costly": costly,
        "cheap": cheap,
    } | paid
    assert verdict(PayBack(**members), costly) == said


def test_the_backend_that_is_cheaper_to_start_is_ahead_until_then() -> None:
    costly, cheap = Cell("alexnet", "torch-cpu"), Cell("alexnet", "onnxruntime-cpu")
    paid = PayBack(quantity="time", verdict="pays", costly=costly, cheap=cheap, images=50.0)
    assert verdict(paid, cheap) == "ahead for 50"
    assert verdict(replace(paid, verdict="never", images=None), cheap) == "always ahead"


@pytest.mark.parametrize(
    ("images", "said"),
    [
        (5_000.0, ""),  # 50 s of work
        (31_000.0, "break-even: alexnet 31,000 images (5 min 10 s)"),
    ],
)
def test_a_start_is_worth_a_word_where_a_minute_of_work_does_not_pay_it(
    tmp_path: Path, images: float, said: str
) -> None:
    run = runs.realistic_run(tmp_path, models=("alexnet",), batch_sizes=(1,), blocks=1)
    reference, row = cell_rows(compile_dataset(run))
    row = replace(row, series=dict(row.series) | {"throughput": Series({0: 100.0})})
    costly, cheap = row.cell, reference.cell
    paid = PayBack(quantity="time", verdict="pays", costly=costly, cheap=cheap, images=images)
    starts = [StartUp(row=row, cold=None, warm=None)]
    pairs = [BreakEven(cell=costly, reference_cell=cheap, time=paid, energy=paid)]
    best = Answer(model="alexnet", criterion="energy", best=costly)
    words = f"torch-cpu costs more to start than onnxruntime-cpu; {said}"
    assert slow_starts([best], starts, pairs) == ([words] if said else [])
    assert slow_starts([replace(best, best=cheap)], starts, pairs) == []


def test_the_terminal_names_the_settings_that_differ(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = unlike_run(tmp_path)
    dataset = compile_dataset(run)
    show_run(find(dataset, read_run(run).journal), run / "report" / "index.html")
    shown = " ".join(capsys.readouterr().out.split())
    assert "Settings differ from those of onnxruntime-cpu: torch-cpu in spinning." in shown
