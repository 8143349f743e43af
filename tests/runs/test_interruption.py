"""A run that is killed at any instant goes on, and measures every repetition exactly once."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from greenbatch.design.files import read_study
from greenbatch.records import parse
from greenbatch.runners.scheduling.order import slots
from tests.thorough import examples

KILLS = examples(2, 6)
REPETITIONS = examples(3, 8)


@pytest.mark.slow
def test_a_run_killed_again_and_again_has_every_repetition_once(
    artifacts: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    study = tmp_path / "study.yaml"
    study.write_text(
        "models: [shufflenet_v2_x0_5]\nbackends: [onnxruntime-cpu]\nbatch_sizes: [1, 2]\n"
        f"repetitions: {REPETITIONS}\nprofile: quick\nweights: random\nartifacts_dir: {artifacts}\n"
        "protocol: {window_s: 0.2, idle_s: 0.1}\n"
    )
    rng = random.Random(11)
    killed = 0
    for _ in range(KILLS):
        process = go_on(run, study)
        try:
            process.wait(timeout=rng.uniform(1.0, 5.0))
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            killed += 1
        process.wait()
        time.sleep(rng.uniform(0, 0.3))
    assert killed == KILLS, "the run ended too soon to be killed so often"
    last = go_on(run, study)
    assert last.wait(timeout=300) == 0

    design = read_study(run / "study.yaml")
    journal = parse((run / "journal.jsonl").read_bytes())
    assert journal.torn is None
    measured = Counter((record.cell, record.block) for record in journal.repetitions)
    assert set(measured.values()) == {1}
    planned = slots(design.cells(), design.repetitions, design.seed)
    assert [(r.cell, r.block) for r in journal.repetitions] == [
        (slot.cell, slot.block) for slot in planned
    ]
    assert {record.status for record in journal.repetitions} == {"ok"}


def go_on(run: Path, study: Path) -> subprocess.Popen[bytes]:
    """Begin the run, or resume it where it was begun."""
    if (run / "study.yaml").exists():
        arguments = ["--resume", str(run)]
    else:
        arguments = ["--study", str(study), "--out", str(run)]
    return subprocess.Popen(
        [sys.executable, "-m", "greenbatch.cli", "bench", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
