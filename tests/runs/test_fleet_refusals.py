"""What a fleet refuses, as a user sees it: one sentence each."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Gb

pytestmark = [pytest.mark.alone, pytest.mark.slow]

STUDY = """
models: [shufflenet_v2_x0_5]
backends: [onnxruntime-cpu]
batch_sizes: [1]
repetitions: 1
weights: random
meters: [none]
profile: quick
"""
WITHOUT_GREENBATCH = "import sys\nsys.modules['greenbatch'] = None\n"


@pytest.fixture
def study(tmp_path: Path, artifacts: Path) -> Path:
    file = tmp_path / "study.yaml"
    file.write_text(f"{STUDY}artifacts_dir: {artifacts}\n")
    return file


def sentence(ran: "subprocess.CompletedProcess[str]") -> str:
    """Return the last line of standard error, which must be gb's own."""
    assert "Traceback" not in ran.stderr, ran.stderr
    last = ran.stderr.splitlines()[-1]
    assert last.startswith("gb: ")
    return last


def test_where_no_scheduler_answers_nothing_is_exported(
    gb: Gb, study: Path, tmp_path: Path
) -> None:
    options = ("--scheduler", "tcp://127.0.0.1:9", "--out", tmp_path / "home")
    ran = gb("fleet", "run", study, *options, expect=3)
    assert "no Dask scheduler answers at tcp://127.0.0.1:9" in sentence(ran)
    assert "'dask scheduler'" in sentence(ran)
    assert "exporting" not in ran.stderr
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("backends=[onnxruntime-cuda]", "onnxruntime-cuda cannot run on this machine"),
        ("meters=[rapl]", "no RAPL package"),
    ],
)
def test_a_study_that_no_machine_can_measure_names_machine_and_cause(
    gb: Gb, study: Path, tmp_path: Path, change: str, words: str
) -> None:
    variables = tmp_path / "workers.yaml"
    sysfs = tmp_path / "sys"
    sysfs.mkdir()
    variables.write_text(json.dumps([{"GB_MACHINE": "lab-1", "GB_SYSFS": str(sysfs)}]))
    options = ("--local", 1, "--worker-env", variables, "--no-control", "--set", change)
    ran = gb("fleet", "run", study, *options, "--out", tmp_path / "home", expect=3)
    assert "no machine can measure the study: lab-1: " in sentence(ran)
    assert words in sentence(ran)


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    """A scheduler whose only worker has no greenbatch."""
    preload = tmp_path / "without.py"
    preload.write_text(WITHOUT_GREENBATCH)
    file = tmp_path / "scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    local = ["--host", "127.0.0.1", "--scheduler-file", str(file), "--no-dashboard"]
    log = (tmp_path / "dask.log").open("wb")
    started = [
        subprocess.Popen([*dask, "scheduler", "--port", "0", *local], stdout=log, stderr=log),
    ]
    end_s = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < end_s
        time.sleep(0.1)
    worker = [*dask, "worker", *local, "--no-nanny", "--nthreads", "1", "--preload", str(preload)]
    environment = {**os.environ, "DASK_TEMPORARY_DIRECTORY": str(tmp_path)}
    started.append(subprocess.Popen(worker, stdout=log, stderr=log, env=environment))
    try:
        yield json.loads(file.read_text())["address"]
    finally:
        for process in started:
            process.kill()
            process.wait()
        log.close()


def test_a_worker_without_greenbatch_is_named_with_what_to_install(
    gb: Gb, study: Path, tmp_path: Path, scheduler: str
) -> None:
    options = ("--scheduler", scheduler, "--no-control", "--out", tmp_path / "home")
    ran = gb("fleet", "run", study, *options, expect=3)
    assert "lacks the module greenbatch; install greenbatch[fleet] there" in sentence(ran)
