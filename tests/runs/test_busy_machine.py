"""Beside a busy core a run refuses, or measures and never claims more than it can know."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from greenbatch.records import parse
from greenbatch.runners.host.cores import granted_cores
from tests.conftest import Gb
from tests.thorough import needs_thorough

pytestmark = [pytest.mark.alone, needs_thorough]

OPTIONS = (
    *("shufflenet_v2_x0_5", "--provider", "cpu", "--runtime", "onnxruntime"),
    *("--batch-sizes", "1,8", "--profile", "quick", "--meter", "none", "--weights", "random"),
    *("--repetitions", "3"),
)
CODE = "import time; end = time.time() + 600\nwhile time.time() < end: pass"


@contextmanager
def busy_cores() -> Iterator[None]:
    """Load every granted core: a run and its load share them."""
    loads = [
        subprocess.Popen([sys.executable, "-S", "-c", CODE])
        for _ in range(max(1, round(granted_cores())))
    ]
    try:
        yield
    finally:
        for load in loads:
            load.kill()
            load.wait()


def answer(completed: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    (found,) = json.loads(completed.stdout)["answers"]
    assert isinstance(found, dict)
    return found


def test_a_machine_that_stays_busy_is_waited_for_and_refused(
    gb: Gb, tmp_path: Path, artifacts: Path
) -> None:
    run = tmp_path / "run"
    refused = ("--wait-quiet", "3s", "--on-busy", "refuse")
    with busy_cores():
        completed = gb(
            *("bench", *OPTIONS, *refused, "--artifacts", artifacts, "--out", run), expect=None
        )
    assert completed.returncode != 0
    assert "waiting up to 3 s for a quiet machine: others use" in completed.stderr
    assert re.search(r"is busy: others use \d+% .* --on-busy measure", completed.stderr)
    assert "Traceback" not in completed.stderr
    assert parse((run / "journal.jsonl").read_bytes()).repetitions == ()


def test_the_answer_beside_a_busy_core_is_that_of_a_quiet_machine_or_is_not_known(
    gb: Gb, tmp_path: Path, artifacts: Path
) -> None:
    def measured(name: str) -> subprocess.CompletedProcess[str]:
        run = tmp_path / name
        options = ("--wait-quiet", "0", "--artifacts", artifacts, "--out", run, "--json")
        return gb("bench", *OPTIONS, *options)

    with busy_cores():
        busy = answer(measured("busy"))
    quiet = answer(measured("quiet"))
    completed = gb("report", tmp_path / "busy")
    journal = parse((tmp_path / "busy" / "journal.jsonl").read_bytes())
    last = {record.block: record for record in journal.repetitions}
    assert all("disturbed" in record.flags for record in last.values())

    assert "Most repetitions were disturbed by other work" in completed.stdout
    for text in re.findall(r"± ?(\d+(?:\.\d+)?) ?%", completed.stdout):
        assert float(text) <= 100, "an interval that says nothing is shown as not known"
    same = busy["batch_size"] == quiet["batch_size"]
    assert same or not (busy["clear"] and quiet["clear"]), "two answers, both called sure"
