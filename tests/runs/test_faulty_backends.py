"""A backend that misbehaves costs its own repetitions; the run goes on and says what happened."""

import json
from pathlib import Path

import pytest

from greenbatch.cli.measuring import PARTLY_FAILED
from greenbatch.records import Journal, Status, parse
from tests.conftest import Gb
from tests.thorough import needs_thorough

pytestmark = pytest.mark.slow

FAULTY = {"PYTHONPATH": str(Path(__file__).parents[1] / "fakes/backends")}
MODEL = "shufflenet_v2_x0_5"
PROTOCOL = {"warm_up_max_s": 1.0, "rest_min_s": 0.0, "idle_s": 0.1, "timeout_s": 60.0}


def bench(
    gb: Gb,
    folder: Path,
    artifacts: Path,
    runtimes: list[str],
    expect: int = 0,
    **members: object,
) -> tuple[str, Journal]:
    """Measure a study of these runtimes next to ONNX Runtime."""
    study = {
        "models": [MODEL],
        "backends": [f"{name}-cpu" for name in (*runtimes, "onnxruntime")],
        "batch_sizes": [1],
        "repetitions": 1,
        "profile": "quick",
        "protocol": PROTOCOL,
        "meters": ["none"],
        "weights": "random",
        "artifacts_dir": str(artifacts),
    }
    file = folder / "study.yaml"
    file.write_text(json.dumps(study | members))  # JSON is YAML
    env = FAULTY | {"GB_BABBLED": str(folder / "babbled")}
    ended = gb("bench", "--study", file, "--trust", "--out", folder / "run", env=env, expect=expect)
    last = ended.stderr.splitlines()[-1]
    assert ("repetitions failed" in last) == (expect == PARTLY_FAILED)
    return ended.stdout, parse((folder / "run/journal.jsonl").read_bytes())


def test_each_fault_ends_as_it_should_and_the_run_goes_on(
    gb: Gb, tmp_path: Path, artifacts: Path
) -> None:
    runtimes = ["wrong", "crashing", "restless", "hanging"]
    limits = PROTOCOL | {"timeout_s": 15.0}
    _, journal = bench(gb, tmp_path, artifacts, runtimes, PARTLY_FAILED, protocol=limits)
    ended = {r.cell.backend: (r.status, r.reason or "") for r in journal.repetitions}
    assert ended.pop("onnxruntime-cpu") == (Status.OK, "")
    status, reason = ended.pop("hanging-cpu")
    assert status is Status.TIMEOUT
    assert "longer than 15 s" in reason
    assert {status for status, _ in ended.values()} == {Status.ERROR}
    assert "wrong-cpu computes something else in fp32" in ended["wrong-cpu"][1]
    assert "it is not timed" in ended["wrong-cpu"][1]
    assert "killed by SIGSEGV" in ended["crashing-cpu"][1]
    assert "threads changed from 1 to 2 while it was measured" in ended["restless-cpu"][1]


@needs_thorough
def test_a_child_that_sends_nonsense_costs_its_repetition_and_the_next_goes_on(
    gb: Gb, tmp_path: Path, artifacts: Path
) -> None:
    screen, journal = bench(gb, tmp_path, artifacts, ["babbling"], PARTLY_FAILED, repetitions=2)
    ended = {(r.cell.backend, r.block): r for r in journal.repetitions}
    failed = ended.pop(("babbling-cpu", 0))
    assert failed.status is Status.ERROR
    assert failed.reason == (
        "the process sent an invalid message while measuring: got an invalid Warm: window_s is "
        "nan: input should be a finite number"
    )
    assert "Traceback" not in screen
    assert [r.status for r in ended.values()] == [Status.OK] * 3


@needs_thorough
def test_larger_batches_are_not_tried_after_one_ran_out_of_memory(
    gb: Gb, tmp_path: Path, artifacts: Path
) -> None:
    sizes = [1, 64, 65]
    _, journal = bench(gb, tmp_path, artifacts, ["hungry"], batch_sizes=sizes, repetitions=2)
    hungry = [r for r in journal.repetitions if r.cell.backend == "hungry-cpu"]
    ended = {(r.cell.batch_size, r.block): r for r in hungry}
    assert {ended[1, block].status for block in (0, 1)} == {Status.OK}
    assert {ended[64, block].status for block in (0, 1)} <= {Status.OOM, Status.NOT_RUN}
    tried = [r for r in ended.values() if r.status is Status.OOM]
    untried = [r for r in ended.values() if r.status is Status.NOT_RUN]
    assert tried
    assert untried
    assert min(r.cell.batch_size for r in untried) > min(r.cell.batch_size for r in tried)
    assert all("a batch that is not larger did not fit" in (r.reason or "") for r in untried)
    assert all("out of memory" in (r.reason or "") for r in tried)


@needs_thorough
def test_the_largest_batch_is_found_before_anything_is_measured(
    gb: Gb, tmp_path: Path, artifacts: Path
) -> None:
    _, journal = bench(gb, tmp_path, artifacts, ["hungry"], probe_max_batch=64)
    hungry, good = journal.capacities
    assert hungry.cell.backend == "hungry-cpu"
    assert hungry.fits
    assert hungry.smallest_failing is not None
    assert hungry.cell.batch_size < hungry.smallest_failing <= 64
    assert "out of memory" in hungry.reason
    assert good.cell.backend == "onnxruntime-cpu"
    assert good.cell.batch_size == 64
    assert good.smallest_failing is None
