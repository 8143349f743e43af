"""A run that is repeated until it is precise enough, as a user types it."""

import shlex
from pathlib import Path

import pytest

from greenbatch.design.files import read_study
from greenbatch.records import parse
from tests.conftest import Gb

pytestmark = pytest.mark.alone


OPTIONS = (
    *("shufflenet_v2_x0_5", "--provider", "cpu", "--runtime", "onnxruntime"),
    *("--batch-sizes", "1,8", "--profile", "quick", "--meter", "none", "--weights", "random"),
    *("--repetitions", "2", "--max-repetitions", "9", "--order", "latin-square"),
)


@pytest.mark.slow
def test_a_run_stops_at_its_target_says_so_and_says_how_to_measure_it_again(
    gb: Gb, tmp_path: Path, artifacts: Path
) -> None:
    run = tmp_path / "a run"
    ran = gb(
        *("bench", *OPTIONS, "--precision-target", "99%"), "--artifacts", artifacts, "--out", run
    )
    journal = parse((run / "journal.jsonl").read_bytes())
    assert len(journal.repetitions) < 2 * 9
    stops = [record.stop for record in journal.repetitions if record.stop]
    assert [(stop.why, stop.quantity) for stop in stops] == [("target", "time")] * 2
    assert all(stop.half_width is not None and stop.half_width <= 0.99 for stop in stops)

    (line,) = (
        line for line in ran.stderr.splitlines() if line.startswith("repeat this measurement: ")
    )
    command = shlex.split(line.removeprefix("repeat this measurement: "))
    assert command[:3] == ["gb", "study", "run"]
    assert read_study(Path(command[3])) == read_study(run / "study.yaml")
    assert "4 repetitions of 2 cells" in gb(*command[1:], "--dry-run").stdout
    before = (run / "journal.jsonl").read_bytes()
    gb("bench", "--resume", run)
    assert (run / "journal.jsonl").read_bytes() == before


@pytest.mark.slow
def test_a_run_with_a_budget_decides_says_so_and_is_resumed_without_another_repetition(
    gb: Gb, tmp_path: Path, artifacts: Path
) -> None:
    run, budget = tmp_path / "run", ("--budget", "20s", "--within", "50%")
    ran = gb("bench", *OPTIONS[:13], *budget, "--artifacts", artifacts, "--out", run)
    assert "measuring for at most 20 s to find the best cell of each model" in ran.stderr
    assert "answer known for" in ran.stderr
    journal = parse((run / "journal.jsonl").read_bytes())
    (decision,) = journal.decisions
    assert decision.spent_s <= 1.1 * 20 + 1  # the last repetition may take a tenth more
    assert {left.cell for left in journal.lefts} <= set(read_study(run / "study.yaml").cells())
    words = "Not decided" if decision.outcome == "time" else "Decided after"
    assert f". {words}" in ran.stdout.replace("\n", " ")
    before = (run / "journal.jsonl").read_bytes()
    gb("bench", "--resume", run)
    assert (run / "journal.jsonl").read_bytes() == before


def test_a_dry_run_shows_the_cells_and_measures_nothing(gb: Gb, tmp_path: Path) -> None:
    ran = gb("bench", *OPTIONS, "--precision-target", "2%", "--dry-run", "--out", tmp_path / "run")
    lines = ran.stdout.splitlines()
    assert len(lines) == 2 * 2 + 1
    assert lines[0].startswith("block 0: shufflenet_v2_x0_5 on onnxruntime-cpu at batch ")
    assert "4 repetitions of 2 cells, at least " in lines[-1]
    assert not (tmp_path / "run").exists()
    refused = gb("bench", "--resume", tmp_path, "--dry-run", expect=2)
    assert "--dry-run shows a new run" in refused.stderr
