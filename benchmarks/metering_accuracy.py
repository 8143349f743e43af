"""How far a measured energy is from the exact integral: greenbatch beside its peers.

Simulated hardware draws a known power, so that the truth of any window is known: a GPU whose
counter ticks every 100 ms, 50 ms late, and whose power is the mean over the last 100 ms, as on
Ampere cards (tests/fakes/nvml.c), and RAPL (tests/fakes/powercap.py). Each tool
runs in a process of its own and is used as its users do; windows begin at random instants, the
tools take turns. A window lies between the return of the tool's 'begin' and the call of its 'end'.

    python benchmarks/metering_accuracy.py [--quick] [--windows 5] [--peer-python PATH]

``--peer-python`` names an interpreter that has both peers (``pip install zeus codecarbon``).
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.fakes import nvml  # noqa: E402
from tests.fakes.powercap import Powercap  # noqa: E402
from tests.fakes.powercap_curve import PowerCurve  # noqa: E402

TOOLS = ("greenbatch", "zeus", "codecarbon")
GPU_CASES = {
    "GPU, constant 200 W": PowerCurve(200.0),
    "GPU, square 100/300 W, 50 ms": PowerCurve(100.0, 300.0, 0.05),
    "GPU, square 100/300 W, 100 ms": PowerCurve(100.0, 300.0, 0.1),
    "GPU, square 100/300 W, 110 ms": PowerCurve(100.0, 300.0, 0.11),
    "GPU, square 100/300 W, 1 s": PowerCurve(100.0, 300.0, 1.0),
    "GPU, ramp 100-300 W, 3 s": PowerCurve(100.0, 300.0, 3.0, "ramp"),
    "GPU, random walk 100-300 W": PowerCurve(100.0, 300.0, 6.4, "walk", seed=1),
}
PACKAGE = PowerCurve(20.0, 80.0, 0.37)
RAPL_CASES = {
    "RAPL, constant 50 W": PowerCurve(50.0),
    "RAPL, square 20/80 W, 370 ms": PACKAGE,
    "RAPL, the same, psys of 90 W beside it": PACKAGE,
    "RAPL, constant 50 W, wrapping once": PowerCurve(50.0),
}
_LEAST_RANGE_J = 500.0  # a real one is 65 kJ and more, but wraps too seldom to wait for
_TICK_S = 0.1
_SENSOR = {"architecture": 7, "capability": 86, "power_period_s": 0.1, "power_window_s": 0.1}
_LATE_S = 0.05
_REST_S = 0.25
_SPREAD = 0.1  # a window of whole ticks would flatter a tool that only takes differences
_FIRST_S = 0.3


class WorkerFailed(Exception):
    """A tool cannot be used; why."""


class Worker:
    """One tool in a process of its own.

    Attributes:
        start_s: How long it took to begin the latest window.
    """

    def __init__(
        self, python: str, tool: str, hardware: str, environment: Mapping[str, str]
    ) -> None:
        self.start_s = 0.0
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed in `close`
        self._process = subprocess.Popen(
            [python, str(Path(__file__).with_name("metering_peers.py")), tool, hardware],
            env={**os.environ, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        self._answer()

    def window(self, window_s: float) -> tuple[float, float, dict[str, Any]]:
        """Measure one window; return its ends and what the tool says."""
        asked_s = time.perf_counter()
        began = self._ask("start")
        self.start_s = began["t_s"] - asked_s
        time.sleep(window_s * random.uniform(1 - _SPREAD, 1 + _SPREAD))
        ended = self._ask("end")
        return began["t_s"], ended["t_s"], ended

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()
        self._log.close()

    def _ask(self, what: str) -> dict[str, Any]:
        assert self._process.stdin
        self._process.stdin.write(json.dumps(what) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout
        line = self._process.stdout.readline()
        if not line:
            self._process.wait()
            self._log.seek(0)
            last = (self._log.read().strip().splitlines() or ["no reason given"])[-1]
            raise WorkerFailed("not installed" if "No module named" in last else last[:60])
        answer: dict[str, Any] = json.loads(line)
        return answer


@dataclass
class Errors:
    """What one tool made of the windows of one row.

    Attributes:
        relative: Measured over true, less one.
        held: How often the truth lay in the band that the tool states; ``None``: it states none.
        missing: Why a window has no figure.
    """

    relative: list[float] = field(default_factory=list)
    held: int | None = None
    missing: list[str] = field(default_factory=list)

    def add(self, answer: Mapping[str, Any], truth_j: float) -> None:
        """Compare one answer."""
        if answer["energy_j"] is None:
            self.missing.append(answer["reason"])
            return
        self.relative.append(answer["energy_j"] / truth_j - 1)
        if answer["uncertainty_j"] is not None:
            inside = abs(answer["energy_j"] - truth_j) <= answer["uncertainty_j"]
            self.held = (self.held or 0) + inside

    def __str__(self) -> str:
        if not self.relative:
            return self.missing[0]
        middle = median(abs(error) for error in self.relative)
        worst = max(self.relative, key=abs)
        text = f"{middle:.2%} / {worst:+.2%}"
        if self.held is not None:
            text += f", {self.held}/{len(self.relative)}"
        return text + (f", {len(self.missing)} missing" if self.missing else "")


class Wraps:
    """Knows when a running counter wraps.

    Args:
        curve: What it counts, a constant power.
        zone: Its directory.
        range_j: Where it wraps.
    """

    def __init__(self, curve: PowerCurve, zone: Path, range_j: float) -> None:
        self._curve, self._range_j = curve, range_j
        counted_j = int((zone / "energy_uj").read_text()) * 1e-6
        self._origin_j = curve.energy_j(0.0, time.perf_counter()) - counted_j

    def wait(self, window_s: float, start_s: float) -> None:
        """Sleep until a window that needs ``start_s`` to begin will hold a wrap at random."""
        period_s = self._range_j / self._curve.low_w
        left_s = (1 - self._turns(time.perf_counter()) % 1) * period_s
        time.sleep((left_s - start_s - random.uniform(0.1, 0.8) * window_s) % period_s)

    def within(self, t0_s: float, t1_s: float) -> int:
        """Return how often it wraps in a window."""
        return int(self._turns(t1_s) // 1 - self._turns(t0_s) // 1)

    def _turns(self, t_s: float) -> float:
        return (self._curve.energy_j(0.0, t_s) - self._origin_j) / self._range_j


@contextmanager
def workers(
    hardware: str, environment: Mapping[str, str], peer_python: str | None
) -> Iterator[dict[str, Worker | str]]:
    """Start each tool; in the place of one that cannot be used stands the reason."""
    with ExitStack() as stack:
        started: dict[str, Worker | str] = {}
        for tool in TOOLS:
            python = sys.executable if tool == "greenbatch" else peer_python
            try:
                if python is None:
                    raise WorkerFailed("not installed")
                started[tool] = worker = Worker(python, tool, hardware, environment)
                stack.callback(worker.close)
            except WorkerFailed as error:
                started[tool] = str(error)
        yield started


def row(
    case: str,
    window_s: float,
    tools: Mapping[str, Worker | str],
    curve: PowerCurve,
    windows: int,
    wraps: Wraps | None = None,
) -> None:
    """Measure the windows of one row, the tools in turn, and print it.

    Args:
        case: The row's title.
        window_s: How long each window is.
        tools: What `workers` gave.
        curve: The truth.
        windows: How many for each tool.
        wraps: Take only windows in which the counter wraps once.
    """
    errors = {tool: Errors() for tool in tools}
    failed = {tool: worker for tool, worker in tools.items() if isinstance(worker, str)}
    for tool, worker in tools.items():  # the first window after a change of the power is lost
        if isinstance(worker, Worker):
            _try(worker, _FIRST_S, failed, tool)
    done = dict.fromkeys(tools, 0)
    for turn in range(4 * windows):
        for tool in sorted(tools, key=lambda tool: random.random()):
            worker = tools[tool]
            if isinstance(worker, str) or tool in failed or done[tool] >= windows:
                continue
            time.sleep(random.uniform(0.0, _REST_S))
            if wraps:
                wraps.wait(window_s, worker.start_s)
            if seen := _try(worker, window_s, failed, tool):
                t0_s, t1_s, answer = seen
                if wraps and wraps.within(t0_s, t1_s) != 1:
                    continue
                done[tool] += 1
                errors[tool].add(answer, curve.energy_j(t0_s, t1_s))
        if turn >= windows - 1 and min(done[t] for t in tools if t not in failed) >= windows:
            break
    cells = [str(failed.get(tool, errors[tool])) for tool in tools]
    print(f"| {case} | {window_s:g} s | {' | '.join(cells)} |", flush=True)


def _try(
    worker: Worker, window_s: float, failed: dict[str, str], tool: str
) -> tuple[float, float, dict[str, Any]] | None:
    try:
        return worker.window(window_s)
    except (WorkerFailed, OSError) as error:
        failed[tool] = f"failed: {error}"
        return None


def gpus(windows_s: Sequence[float], windows: int, peer_python: str | None) -> None:
    """Print the rows of the simulated GPU."""
    with tempfile.TemporaryDirectory() as folder:
        library = nvml.build(Path(folder) / "lib")
        late = {"counter_lag_s": _LATE_S}
        gpu = nvml.FakeNvml(Path(folder), library, tick_s=_TICK_S, **_SENSOR, **late)
        smi = library.parent / "nvidia-smi"  # codecarbon looks for a GPU only where this runs
        smi.write_text("#!/bin/sh\n")
        smi.chmod(0o755)
        path = f"{library.parent}:{os.environ.get('PATH', '')}"
        environment = gpu.environment() | {"GB_SYSFS": folder, "PATH": path}
        with workers("gpu", environment, peer_python) as tools:
            for case, curve in GPU_CASES.items():
                gpu.set(**vars(curve))
                for window_s in windows_s:
                    row(case, window_s, tools, gpu.curve, windows)


def packages(windows_s: Sequence[float], windows: int, peer_python: str | None) -> None:
    """Print the rows of the simulated RAPL, each with a tree and processes of its own."""
    for case, curve in RAPL_CASES.items():
        for window_s in windows_s:
            with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
                tree = Powercap(Path(folder) / "sys")
                range_j = (
                    max(_LEAST_RANGE_J, 2 * curve.low_w * window_s) if "wrapping" in case else None
                )
                zones = {"intel-rapl:0": ("package-0", curve)}
                if "psys" in case:
                    zones["intel-rapl:1"] = ("psys", PowerCurve(90.0))
                control = tree.root / "intel-rapl"
                control.mkdir()
                for zone, (name, _) in zones.items():
                    stated = {"range_uj": int(range_j * 1e6)} if range_j else {}
                    path = tree.add(zone, name, **stated)
                    (control / zone).symlink_to(path)
                stack.enter_context(
                    tree.running({zone: power for zone, (_, power) in zones.items()})
                )
                wraps = Wraps(curve, tree.path("intel-rapl:0"), range_j) if range_j else None
                environment = tree.environment() | {"CUDA_VISIBLE_DEVICES": ""}
                tools = stack.enter_context(workers("rapl", environment, peer_python))
                row(case, window_s, tools, curve, windows, wraps)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="leave out windows of 10 s")
    parser.add_argument("--windows", type=int, default=5, help="windows a row and tool")
    parser.add_argument("--peer-python", help="an interpreter that has zeus and codecarbon")
    parser.add_argument("--hardware", choices=("gpu", "rapl"), help="only these rows")
    options = parser.parse_args()
    windows_s = (0.5, 2.0) if options.quick else (0.5, 2.0, 10.0)
    print(
        f"Relative error of the energy against the exact integral, {options.windows} windows each: "
        "median of its size / worst;\nfor greenbatch also how often the truth lay in the band that "
        f"it states. Lengths vary by {_SPREAD:.0%}.\n"
    )
    print(f"| power | window | {' | '.join(TOOLS)} |")
    print("|---|---|" + "---|" * len(TOOLS))
    if options.hardware != "rapl":
        gpus(windows_s, options.windows, options.peer_python)
    if options.hardware != "gpu":
        packages(windows_s, options.windows, options.peer_python)


if __name__ == "__main__":
    main()
