"""A real Slurm with three nodes: drained, jobs killed and requeued, the client killed."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from greenbatch.records.journal import read
from greenbatch.runners.fleet.home import Home
from tests.fakes.slurm import Slurm, is_installed
from tests.thorough import examples

pytestmark = [
    pytest.mark.alone,
    pytest.mark.slow,
    pytest.mark.skipif(not is_installed(), reason="needs root, and Debian's slurm-wlm"),
]

ROOT = Path(__file__).parents[2]
NODES = ("n1", "n2", "n3")
REPETITIONS = examples(3, 12)
SETUP = """
export XDG_RUNTIME_DIR={folder}/$SLURMD_NODENAME/runtime
export XDG_STATE_HOME={folder}/$SLURMD_NODENAME/state
export XDG_CACHE_HOME={folder}/$SLURMD_NODENAME/cache
export POWER_W=${{SLURMD_NODENAME#n}}0 REPETITION_S=0.3
mkdir -p $XDG_RUNTIME_DIR
"""


class Fleet:
    """A cluster and a client, with what a test does to them."""

    def __init__(self, folder: Path, slurm: Slurm, machines: str) -> None:
        self.folder = folder
        self.slurm = slurm
        setup = folder / "setup.sh"
        setup.write_text(SETUP.format(folder=folder))
        python = folder / "python"
        python.write_text(f'#!/bin/sh\nexec {sys.executable} -m tests.fakes.slurm_python "$@"\n')
        python.chmod(0o755)
        executor = {
            "kind": "slurm",
            "partition": "lab",
            "constraint": "simulated",
            "setup": f". {setup}",
            "python": str(python),
        }
        client = (str(folder / "home"), json.dumps(executor), machines, "3", str(REPETITIONS))
        self._command = [sys.executable, "-m", "tests.fakes.fleet_client", *client]
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        self._environment = {**os.environ, **slurm.environment, "PYTHONPATH": path}
        self.start()

    def start(self) -> None:
        """Start the client."""
        with (self.folder / "client.log").open("ab") as log:
            self.client = subprocess.Popen(
                self._command, cwd=ROOT, env=self._environment, stdout=log, stderr=log
            )

    def kill_client(self) -> None:
        self.client.kill()
        self.client.wait()

    def wait(self, ready: Callable[[], object], limit_s: float = 120.0) -> None:
        end_s = time.monotonic() + limit_s
        while not ready():
            said = (self.folder / "client.log").read_text()[-3000:]
            assert time.monotonic() < end_s, f"{said}\n{self.slurm.command('squeue')}"
            time.sleep(0.1)

    def records(self, node: str) -> int:
        path = self.folder / "home/machines" / node / "journal.jsonl"
        return path.read_bytes().count(b"\n") if path.exists() else 0

    def running(self, node: str) -> str:
        """Return the job that runs on a node; empty where none does."""
        jobs = self.slurm.command(
            "squeue", "--noheader", "--states=RUNNING", f"--nodelist={node}", "--format=%i"
        )
        return jobs.split()[0] if jobs.split() else ""

    def events(self) -> Counter[str]:
        return Counter(event.what for event in Home.look(self.folder / "home").events)


@contextmanager
def fleet(folder: Path, machines: str) -> Iterator[Fleet]:
    slurm = Slurm(folder / "slurm", NODES)
    with slurm.running():
        opened = Fleet(folder, slurm, machines)
        try:
            yield opened
        finally:
            opened.kill_client()


def test_nodes_jobs_and_client_go_and_each_repetition_is_there_once(tmp_path: Path) -> None:
    with fleet(tmp_path, "each") as opened:
        command = opened.slurm.command
        opened.wait(lambda: opened.records("n1") >= 2)
        command("scontrol", "update", "nodename=n1", "state=drain", "reason=test")
        opened.wait(lambda: opened.records("n2") >= 2 and opened.running("n2"))
        command("scancel", opened.running("n2"))
        opened.wait(lambda: opened.records("n3") >= 2 and opened.running("n3"))
        command("scontrol", "requeue", opened.running("n3"))
        opened.wait(lambda: opened.events()["lost"])
        opened.kill_client()
        opened.start()
        command("scontrol", "update", "nodename=n1", "state=resume")
        opened.wait(lambda: opened.client.poll() is not None)
        assert opened.client.returncode == 0, (tmp_path / "client.log").read_text()[-3000:]
        assert opened.events()["failed"] >= 1, "the killed job was not seen"
    at_home: Counter[tuple[str, str, int]] = Counter()
    on_nodes: Counter[tuple[str, str, int]] = Counter()
    for node in NODES:
        for record in read(tmp_path / "home/machines" / node / "journal.jsonl").repetitions:
            at_home[node, record.cell.slug, record.block] += 1
            assert record.energy[0].power_mean_w == float(f"{node[1:]}0")
        (kept,) = (tmp_path / node / "state/greenbatch/simulated").glob("*/*.jsonl")
        for record in read(kept).repetitions:
            on_nodes[node, record.cell.slug, record.block] += 1
    assert len(at_home) == 3 * 4 * REPETITIONS
    assert set(at_home.values()) == {1}
    assert at_home == on_nodes


def test_a_fleet_that_is_cancelled_leaves_no_job(tmp_path: Path) -> None:
    with fleet(tmp_path, "any") as opened:
        opened.wait(lambda: sum(map(opened.records, NODES)) >= 2)
        Home.look(tmp_path / "home").request_cancel()
        opened.wait(lambda: opened.client.poll() is not None)
        assert "was cancelled" in (tmp_path / "client.log").read_text()
        opened.wait(lambda: not opened.slurm.command("squeue", "--noheader").strip())
