"""``gb recommend``: the answer first, JSON for scripts, and an exit code for what cannot be met."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from greenbatch.analysis.dataset.store import write_dataset
from greenbatch.cli.output import console
from greenbatch.cli.recommend import exit_code
from greenbatch.records import Cell
from tests.fakes import runs
from tests.fakes.command import gb

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


def recommended(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, Any]:
    code, out, _ = gb(capsys, "recommend", *arguments, "--json")
    return code, json.loads(out)


@pytest.mark.slow
def test_the_answer_is_the_first_sentence_and_the_table_stands_below(
    capsys: pytest.CaptureFixture[str], run: Path
) -> None:
    code, out, errors = gb(
        capsys, "recommend", run, "--rate", 40, "--p99", "200ms", "--model", "alexnet"
    )
    assert code == 0
    assert errors.startswith(f"measure this policy: gb study run {run / 'study.yaml'} --")
    assert errors.count("\n") == 1
    lines = out.splitlines()
    assert lines[0] == "alexnet, 40 requests/s (poisson), p99 at most 200 ms"
    assert lines[1].startswith("Simplest of the choices with the least energy within that: ")
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
    code, found = recommended(capsys, run, "--rate", 40, "--p99", "200ms", "--mean", "0.1s")
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


@pytest.mark.slow
def test_what_cannot_be_met_exits_1_and_names_the_nearest(
    capsys: pytest.CaptureFixture[str], run: Path
) -> None:
    code, found = recommended(capsys, run, "--rate", 40, "--p99", "1ms", "--model", "alexnet")
    one = found["models"][0]
    assert (code, found["met"], one["met"], one["best"]["met"]) == (1, False, False, False)
    assert one["best"]["p99_s"]["centre"] == one["fastest"]["p99_s"]["centre"]
    assert one["runner_up"] is None


def test_a_rate_too_high_exits_1_and_tells_the_largest(
    capsys: pytest.CaptureFixture[str], run: Path
) -> None:
    code, found = recommended(capsys, run, "--rate", 1e5, "--model", "alexnet")
    one = found["models"][0]
    assert (code, one["best"]) == (1, None)
    torch_hz = 1 / (0.012 * 0.87 * (0.7 + 0.6 / 16))  # `runs.image_s` at batch 16
    assert one["largest_rate_hz"]["centre"] == pytest.approx(torch_hz, rel=0.05)


@pytest.mark.slow
def test_backends_can_be_chosen_and_a_dataset_file_does_as_well(
    capsys: pytest.CaptureFixture[str], run: Path
) -> None:
    arguments = ("--rate", 20, "--backend", "torch-cpu", "--model", "alexnet")
    code, found = recommended(capsys, run, *arguments)
    assert (code, found["models"][0]["best"]["backend"]) == (0, "torch-cpu")
    assert recommended(capsys, write_dataset(run), *arguments) == (code, found)


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


def _night_and_day(path: Path) -> Path:
    rng = np.random.default_rng(1)
    gaps = np.concatenate([rng.exponential(1 / 5, 4_000), rng.exponential(1 / 90, 20_000)])
    instants = np.datetime64("2026-03-01T22:00:00") + (np.cumsum(gaps) * 1e6).astype("m8[us]")
    path.write_text("id,at\n" + "".join(f"{k},{at}Z\n" for k, at in enumerate(instants)))
    return path


@pytest.mark.slow
def test_a_night_and_a_day_that_cannot_be_met_exit_1_and_name_the_busiest_stretch(
    capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path
) -> None:
    path = _night_and_day(tmp_path / "day.csv")
    arguments = ("--arrivals", f"replay:{path}#at", "--p99", "60ms", "--model", "alexnet")
    code, found = recommended(capsys, run, *arguments)
    (one,) = found["models"]
    assert (code, found["exit_code"], one["verdict"]) == (1, 1, "not met")
    assert one["recording"]["requests"] == one["recording"]["judged"]["requests"] == 24_000
    assert one["recording"]["busiest"]["rate_hz"] == pytest.approx(90, rel=0.1)
    assert one["rate_hz"] == pytest.approx(24_000 / one["recording"]["duration_s"], rel=1e-3)
    code, out, _ = gb(capsys, "recommend", run, *arguments)
    assert code == 1
    assert "The busiest 60 s of the recording begin at 0:1" in " ".join(out.split())


@pytest.mark.slow
def test_what_is_not_shown_either_way_has_an_exit_code_of_its_own(
    capsys: pytest.CaptureFixture[str], run: Path
) -> None:
    arguments = ("--rate", 20, "--model", "alexnet", "--backend", "torch-cpu")
    _, free = recommended(capsys, run, *arguments)
    limit_s = free["models"][0]["fastest"]["p99_s"]["centre"]
    for share, expected, verdict in ((2.0, 0, "met"), (1.02, 5, "not shown"), (0.5, 1, "not met")):
        limit = ("--p99", f"{1e3 * share * limit_s:.3f}ms")
        code, found = recommended(capsys, run, *arguments, *limit)
        assert (code, found["models"][0]["verdict"]) == (expected, verdict)
        _, _, errors = gb(capsys, "recommend", run, *arguments, *limit)
        assert errors.startswith("gb: not shown either way for alexnet") == (code == 5)
    assert [exit_code(v) for v in (["met"], ["met", "not shown"], ["not shown", "not met"])] == [
        0,
        5,
        1,
    ]


@pytest.mark.slow
def test_traces_of_another_run_beside_a_dataset_file_are_not_used(
    capsys: pytest.CaptureFixture[str], run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "other"
    shutil.copytree(run, folder)
    with (folder / "journal.jsonl").open("rb") as journal:
        lines = journal.readlines()
    alone = shutil.copy(write_dataset(run), tmp_path / "alone.nc")
    beside = shutil.copy(alone, folder / "beside.nc")
    traces = folder / "traces"
    traces.mkdir(exist_ok=True)
    for block in range(3):
        for size in SIZES:
            slug = Cell("alexnet", "torch-cpu", batch_size=size).slug
            times_s = np.array([0.001] * 90 + [5.0] * 10)
            np.savez(traces / f"{slug}_r{block}.npz", latency_s=times_s)
    arguments = ("--rate", 5, "--model", "alexnet", "--backend", "torch-cpu")
    own = recommended(capsys, beside, *arguments)  # the journal is the same: these are its traces
    (folder / "journal.jsonl").write_bytes(b"".join(lines[:-1]))
    foreign = recommended(capsys, beside, *arguments)
    assert foreign == recommended(capsys, alone, *arguments)
    assert own != foreign
    (folder / "journal.jsonl").unlink()  # a folder that is no run
    assert recommended(capsys, beside, *arguments) == foreign


@pytest.mark.slow
def test_at_80_columns_no_backend_and_no_policy_is_cut(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--rate", 40, "--p99", "200ms", "--model", "alexnet")
    _, found = recommended(capsys, run, *arguments)
    monkeypatch.setattr(console.open_console, "__defaults__", (80,))
    _, out, _ = gb(capsys, "recommend", run, *arguments)
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line for line in lines if line.startswith(("best ", "batch 1 "))]
    one = found["models"][0]
    for choice in (one["best"], one["batch_1"]):
        row = next(row for row in rows if f" {choice['policy']} " in row)
        assert f" {choice['backend']} " in row
    assert "Left out for the width of the terminal: intervals" in out
    assert "…" not in "".join(rows)
