"""A real Dask scheduler and three workers, killed at any instant: nothing is lost or twice."""

import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from greenbatch.records.journal import read
from tests.thorough import examples, needs_thorough

pytestmark = [pytest.mark.alone, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
NAMES = ("north", "south", "west")
LIMIT_S = 600.0  # of a wait, on a busy machine
REPETITIONS = examples(3, 20)


class Supervisor:
    """Keeps a scheduler, workers and a client running, as an operator or systemd does."""

    def __init__(self, folder: Path, machines: str) -> None:
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        self.address = f"tcp://127.0.0.1:{port}"
        host = ("--host", "127.0.0.1")
        dask = (sys.executable, "-m", "dask")
        self.commands: dict[str, tuple[str, ...]] = {
            "scheduler": (*dask, "scheduler", *host, "--port", str(port), "--no-dashboard")
        }
        for name in NAMES:
            self.commands[name] = (
                *(*dask, "worker", self.address, *host, "--nthreads", "1", "--no-dashboard"),
                *("--preload", "tests.fakes.fleet_preload", "--no-nanny", "--death-timeout", "60"),
            )
        executor = json.dumps({"kind": "scheduler", "address": self.address})
        client = (str(folder / "home"), executor, machines, "3", str(REPETITIONS))
        self.commands["client"] = (sys.executable, "-m", "tests.fakes.fleet_client", *client)
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.starts: Counter[str] = Counter()

    def environment(self, name: str) -> Mapping[str, str]:
        folder = self.folder / name
        (folder / "runtime").mkdir(parents=True, exist_ok=True)
        return {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
            "GB_MACHINE": name,
            "POWER_W": str(10.0 * (1 + NAMES.index(name))) if name in NAMES else "",
            "XDG_RUNTIME_DIR": str(folder / "runtime"),
            "XDG_STATE_HOME": str(folder / "state"),
            "XDG_CACHE_HOME": str(folder / "cache"),
            "DASK_TEMPORARY_DIRECTORY": str(folder / "dask"),
        }

    def tend(self) -> bool:
        """Start what has ended; say whether the client has finished its work."""
        for name, command in self.commands.items():
            process = self.running.get(name)
            if name == "client" and process and process.poll() == 0:
                return True
            if process is None or process.poll() is not None:
                self.starts[name] += 1
                assert self.starts[name] < 100, "it ends again and again"
                with (self.folder / f"{name}.log").open("ab") as log:
                    self.running[name] = subprocess.Popen(
                        command,
                        cwd=ROOT,
                        env=self.environment(name),
                        stdout=log,
                        stderr=log,
                    )
        return False

    def kill(self, name: str) -> None:
        self.running[name].send_signal(signal.SIGKILL)
        self.running[name].wait()

    def close(self) -> None:
        for process in self.running.values():
            process.kill()
            process.wait()


@contextmanager
def supervised(folder: Path, machines: str) -> Iterator[Supervisor]:
    supervisor = Supervisor(folder, machines)
    try:
        yield supervisor
    finally:
        supervisor.close()


def finish(supervisor: Supervisor) -> None:
    end_s = time.monotonic() + LIMIT_S
    while not supervisor.tend():
        assert time.monotonic() < end_s, (supervisor.folder / "client.log").read_text()[-3000:]
        time.sleep(0.1)


def wait_for_records(supervisor: Supervisor, more: int) -> None:
    """Wait until so many more repetitions are at home."""
    wanted = count(supervisor.folder) + more
    end_s = time.monotonic() + LIMIT_S
    while count(supervisor.folder) < wanted and not supervisor.tend():
        assert time.monotonic() < end_s, (supervisor.folder / "client.log").read_text()[-3000:]
        time.sleep(0.05)


def count(folder: Path) -> int:
    journals = (folder / "home/machines").glob("*/journal.jsonl")
    return sum(path.read_bytes().count(b"\n") for path in journals)


def check_each_once(folder: Path, machines: str) -> None:
    """Check that home has what the machines measured, each place once."""
    at_home: Counter[tuple[str, str, int]] = Counter()
    on_machines: Counter[tuple[str, str, int]] = Counter()
    for name in NAMES:
        for record in read(folder / "home/machines" / name / "journal.jsonl").repetitions:
            at_home[name, record.cell.slug, record.block] += 1
            (figure,) = record.energy
            assert figure.power_mean_w == 10.0 * (1 + NAMES.index(name))
        (kept,) = (folder / name / "state/greenbatch/simulated").glob(f"*/{name}.jsonl")
        for record in read(kept).repetitions:
            on_machines[name, record.cell.slug, record.block] += 1
    assert set(at_home.values()) == {1}
    assert set(on_machines.values()) == {1}
    if machines == "each":
        assert at_home == on_machines
        assert len(at_home) == 3 * 4 * REPETITIONS
    else:
        places = Counter((cell, block) for _, cell, block in at_home)
        assert len(places) == 4 * REPETITIONS
        assert set(places.values()) == {1}


@needs_thorough
def test_a_worker_the_scheduler_and_the_client_are_killed_in_turn(tmp_path: Path) -> None:
    with supervised(tmp_path, "each") as supervisor:
        for victim in ("north", "client", "scheduler"):
            wait_for_records(supervisor, 3)
            supervisor.kill(victim)
        finish(supervisor)
        assert supervisor.starts["scheduler"] == 2
        assert supervisor.starts["client"] >= 2
    check_each_once(tmp_path, "each")


@needs_thorough
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("machines", ["each", "any"])
def test_thirty_random_kills(tmp_path: Path, machines: str) -> None:
    chance = random.Random(5)
    with supervised(tmp_path, machines) as supervisor:
        for _ in range(30):
            wait_for_records(supervisor, chance.randrange(4))
            time.sleep(chance.uniform(0.0, 0.5))
            supervisor.kill(chance.choice([*NAMES, "scheduler", "client"]))
        finish(supervisor)
    check_each_once(tmp_path, machines)
