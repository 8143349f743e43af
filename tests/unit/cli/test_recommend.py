"""``gb recommend``: the answer first, JSON for scripts, and an exit code for what cannot be met."""

import json
from pathlib import Path
from typing import Any

import pytest

from greenbatch.analysis.dataset.store import write_dataset
from tests.fakes import runs
from tests.unit.cli.test_cli import gb

RECOMMEND = "greenbatch.analysis.recommendation.recommend"
HOSTILE = "<script>alert(1)</script>[bold red]"
SIZES = (1, 4, 16)


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{RECOMMEND}.SEARCHED", 1_000)
    monkeypatch.setattr(f"{RECOMMEND}.SIMULATED", 6_000)
    monkeypatch.setattr(f"{RECOMMEND}.LEAST_SIMULATED", 2_000)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return runs.realistic_run(
        tmp_path_factory.mktemp("runs") / "run", models=("alexnet", "shufflenet_v2_x0_5")
    )


def told(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any]:
    code, out, _ = gb(capsys, "recommend", *arguments, "--json")
    return code, json.loads(out)


@pytest.mark.slow
def test_the_answer_is_the_first_sentence_and_the_table_stands_below(
    capsys: pytest.CaptureFixture[str], run: Path
) -> None:
    code, out, errors = gb(
        capsys, "recommend", run, "--rate", 40, "--p99", "200ms", "--model", "alexnet"
    )
    assert (code, errors) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "alexnet, 40 requests/s (poisson), p99 at most 200 ms"
    assert lines[1].startswith("Least energy within that: ")
    text = " ".join(out.split())
    assert "Predicted: p99 " in text
    assert "per request (measured)" in text
    assert "than serving one at a time there" in text
    assert any(line.startswith("best ") for line in lines)
    assert any("best elsewhere" in line for line in lines)
    assert "nan" not in out


@pytest.mark.slow
def test_json_holds_the_answer_of_every_model_with_its_bounds(
    capsys: pytest.CaptureFixture[str], run: Path
) -> None:
    code, found = told(capsys, run, "--rate", 40, "--p99", "200ms", "--mean", "0.1s")
    assert (code, found["met"]) == (0, True)
    assert [one["model"] for one in found["models"]] == ["alexnet", "shufflenet_v2_x0_5"]
    one = found["models"][0]
    best = one["best"]
    assert (one["p99_limit_s"], one["mean_limit_s"]) == (0.2, 0.1)
    assert best["p99_s"]["centre"] <= 0.2
    assert best["mean_s"]["centre"] <= 0.1
    energy = best["energy_per_request_j"]
    assert energy["low"] < energy["centre"] < energy["high"]
    assert (energy["kind"], energy["repetitions"], best["energy_source"]) == ("t", 3, "measured")
    assert one["energy_over_batch_1"]["centre"] < 1
    assert one["batch_1"]["policy"] == "greedy:1"
    assert isinstance(one["tie"], bool)
    others = {"onnxruntime-cpu", "torch-cpu"} - {best["backend"]}
    assert {choice["backend"] for choice in one["elsewhere"]} == others


def test_what_cannot_be_met_exits_1_and_names_the_nearest(
    capsys: pytest.CaptureFixture[str], run: Path
) -> None:
    code, found = told(capsys, run, "--rate", 40, "--p99", "1ms", "--model", "alexnet")
    one = found["models"][0]
    assert (code, found["met"], one["met"], one["best"]["met"]) == (1, False, False, False)
    assert one["best"]["p99_s"]["centre"] == one["fastest"]["p99_s"]["centre"]
    assert one["runner_up"] is None


def test_a_rate_too_high_exits_1_and_tells_the_largest(
    capsys: pytest.CaptureFixture[str], run: Path
) -> None:
    code, found = told(capsys, run, "--rate", 1e5, "--model", "alexnet")
    one = found["models"][0]
    assert (code, one["best"]) == (1, None)
    torch_hz = 1 / (0.012 * 0.87 * (0.7 + 0.6 / 16))  # `runs.image_s` at batch 16
    assert one["largest_rate_hz"]["centre"] == pytest.approx(torch_hz, rel=0.05)


@pytest.mark.slow
def test_backends_can_be_chosen_and_a_dataset_file_does_as_well(
    capsys: pytest.CaptureFixture[str], run: Path
) -> None:
    arguments = ("--rate", 20, "--backend", "torch-cpu", "--model", "alexnet")
    code, found = told(capsys, run, *arguments)
    assert (code, found["models"][0]["best"]["backend"]) == (0, "torch-cpu")
    assert told(capsys, write_dataset(run), *arguments) == (code, found)


@pytest.mark.slow
def test_what_was_set_prints_as_text(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    run = runs.hostile_run(tmp_path / "run", HOSTILE)
    _, out, _ = gb(capsys, "recommend", run, "--rate", 5)
    assert HOSTILE in " ".join(out.split())


@pytest.mark.parametrize(
    ("arguments", "got", "cure"),
    [
        ((), "no rate", "--rate 200"),
        (("--rate", "-1"), "--rate -1", "above 0"),
        (("--rate", "40", "--p99", "50"), "--p99 '50'", "50ms"),
        (("--rate", "40", "--mean", "0ms"), "--mean '0ms'", "50ms"),
        (("--rate", "40", "--model", "alexnt"), "'alexnt'", "'alexnet'"),
        (("--rate", "40", "--backend", "torch"), "'torch'", "'torch-cpu'"),
        (("--rate", "40", "--arrivals", "poison"), "'poison'", "'poisson'"),
    ],
)
def test_wrong_use_is_one_sentence(
    capsys: pytest.CaptureFixture[str], run: Path, arguments: tuple[str, ...], got: str, cure: str
) -> None:
    code, out, errors = gb(capsys, "recommend", run, *arguments)
    assert (code, out) == (2, "")
    assert got in errors
    assert cure in errors.partition(";")[2]
    assert errors.count("\n") == 1


def test_a_run_without_offline_cells_and_a_file_that_is_no_dataset_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    run = runs.write_run(tmp_path / "run", [])
    code, _, errors = gb(capsys, "recommend", run, "--rate", 40)
    assert (code, errors.count("\n")) == (2, 1)
    assert "has no offline cell" in errors
    (tmp_path / "a.nc").write_text("no dataset")
    code, _, errors = gb(capsys, "recommend", tmp_path / "a.nc", "--rate", 40)
    assert (code, errors.count("\n")) == (2, 1)
    assert "as a dataset" in errors
