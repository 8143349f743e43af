"""The meters on a real GPU: what `make gpu-check` prints for docs/method.md.

- how often the energy counter ticks, as probed and as seen over ten seconds;
- idle power, by the counter and by power at this instant;
- what each call of NVML takes, and what the load loses while its meters are read;
- square-wave loads (matrix products and pauses) at random phase: energy by the counter against the
  integral of power at this instant, and against zeus where it is installed.

    python benchmarks/gpu_metering.py [--windows 8] [--output docs/gpu-metering.md]
"""

import argparse
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np

from greenbatch.runners.metering import EnergyFunction, MeterOptions, Recorder
from greenbatch.runners.metering.sources.nvml import NvmlMeter
from greenbatch.runners.metering.sources.nvml_cost import call_costs_s

PERIODS_S = (0.05, 0.2, 1.0)
WINDOW_S = 4.0
IDLE_S = 10.0
RATE_S, TURNS = 0.5, 5
SIZE = 4096


def main() -> None:
    """Print the tables, and write them where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--windows", type=int, default=8, help="for each load")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    lines = []
    for line in report(options.windows, gpu_load()):
        print(line, flush=True)
        lines.append(line)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n")


def report(
    windows: int, load: Callable[[], None], window_s: float = WINDOW_S, idle_s: float = IDLE_S
) -> Iterator[str]:
    """Measure, and give the lines of the tables as they come.

    Args:
        windows: How many for each load.
        load: Keeps the device busy for about a millisecond.
        window_s, idle_s: How long a window is, and the stretch without load.
    """
    import pynvml

    with NvmlMeter.open(MeterOptions()) as meter:
        domain = meter.domains[0]
        yield f"{domain.device}, driver {pynvml.nvmlSystemGetDriverVersion()}"
        yield ""
        yield "| what | value |"
        yield "|---|---|"
        yield f"| energy counter's period, as probed | {domain.tick_s * 1e3:.1f} ms |"
        with Recorder([meter], interval_s=0.001) as recorder:
            start_s = recorder.begin()
            time.sleep(idle_s)
            end_s = recorder.end()
            (figure,) = recorder.energy(start_s, end_s)
            trace = recorder.trace(start_s, end_s)
        t_s, joules = trace[f"{domain.name}_t_s"], trace[f"{domain.name}_energy_j"]
        ticks = EnergyFunction.from_reads(t_s, t_s, joules, domain.tick_s).t_s
        low, mid, high = np.percentile(np.diff(ticks), [5, 50, 95]) * 1e3
        seen = f"{low:.1f}, {mid:.1f}, {high:.1f} ms"
        yield f"| the same over {idle_s:g} s: 5 %, median, 95 % | {seen} |"
        yield f"| idle power by the counter | {figure.power_mean_w:.1f} W |"
        if figure.other_energy_j is not None:
            idle_w = figure.other_energy_j / (end_s - start_s)
            yield f"| idle power by samples at this instant | {idle_w:.1f} W |"
        for what, call_s in call_costs_s(int(domain.name.removeprefix("gpu-"))).items():
            yield f"| time of a call for {what} | {call_s * 1e6:.0f} us |"
        alone, beside = throughputs(meter, load)
        yield f"| rate of the load while it is read, at a window's end | {beside / alone:.1%} |"
        yield ""
        yield (
            f"Square-wave loads, {windows} windows of about {window_s:g} s each at random phase: "
            "median (worst) difference from the counter."
        )
        yield ""
        yield "| load's period | mean power | integrated power | zeus | stated uncertainty |"
        yield "|---|---|---|---|---|"
        zeus = zeus_monitor()
        for period_s in PERIODS_S:
            with square_wave(period_s, load), Recorder([meter]) as recorder:
                yield _row(period_s, windows, window_s, recorder, zeus)


def throughputs(meter: NvmlMeter, load: Callable[[], None]) -> tuple[float, float]:
    """Return the load's rate in Hz, alone and while its meter is read as at a window's end."""

    def rate_hz() -> float:
        runs, began_s = 0, time.perf_counter()
        while time.perf_counter() < began_s + RATE_S:
            load()
            runs += 1
        return runs / (time.perf_counter() - began_s)

    alone: list[float] = []
    beside: list[float] = []
    for _ in range(TURNS):
        alone.append(rate_hz())
        with Recorder([meter]) as recorder:
            now_s = time.perf_counter()
            recorder.focus(now_s, now_s + 2 * RATE_S)
            beside.append(rate_hz())
    return median(alone), median(beside)


def _row(
    period_s: float,
    windows: int,
    window_s: float,
    recorder: Recorder,
    zeus: "Callable[[], Callable[[], float]] | None",
) -> str:
    powers_w, uncertainties, by_power, by_zeus = [], [], [], []
    for _ in range(windows):
        time.sleep(random.uniform(0, period_s))
        start_s = recorder.begin()
        end_zeus = zeus() if zeus else None
        time.sleep(random.uniform(0.9, 1.1) * window_s)
        zeus_j = end_zeus() if end_zeus else None
        end_s = recorder.end()
        (figure,) = recorder.energy(start_s, end_s)
        if figure.energy_j is None:
            continue
        powers_w.append(figure.energy_j / (end_s - start_s))
        uncertainties.append((figure.uncertainty_j or 0.0) / figure.energy_j)
        if figure.disagreement is not None:
            by_power.append(figure.disagreement)
        if zeus_j is not None:
            by_zeus.append(zeus_j / figure.energy_j - 1)
    if not powers_w:
        return f"| {period_s * 1e3:g} ms | missing | | | |"
    return (
        f"| {period_s * 1e3:g} ms | {median(powers_w):.0f} W | {_spread(by_power)} | "
        f"{_spread(by_zeus)} | ±{median(uncertainties):.1%} |"
    )


def _spread(differences: list[float]) -> str:
    if not differences:
        return "not there"
    return f"{median(differences):+.2%} ({max(differences, key=abs):+.2%})"


def gpu_load() -> Callable[[], None]:
    """Return a function that keeps the first GPU busy for some milliseconds."""
    import torch

    if not torch.cuda.is_available():
        sys.exit("no CUDA device on this machine: run it where 'nvidia-smi' lists a GPU")
    matrix = torch.randn(SIZE, SIZE, device="cuda", dtype=torch.float16)

    def load() -> None:
        torch.matmul(matrix, matrix)
        torch.cuda.synchronize()

    load()
    return load


@contextmanager
def square_wave(period_s: float, load: Callable[[], None]) -> Iterator[None]:
    """Load the device for half of each period, from a thread of its own, at a random phase."""
    stop = threading.Event()

    def run() -> None:
        time.sleep(random.uniform(0, period_s))
        while not stop.is_set():
            busy_until_s = time.perf_counter() + period_s / 2
            while time.perf_counter() < busy_until_s:
                load()
            stop.wait(period_s / 2)

    thread = threading.Thread(target=run, name="load", daemon=True)
    thread.start()
    try:
        time.sleep(1.0)
        yield
    finally:
        stop.set()
        thread.join()


def zeus_monitor() -> "Callable[[], Callable[[], float]] | None":
    """Return what begins a window of zeus and gives what ends it, in J; ``None`` without zeus."""
    try:
        from zeus.monitor import ZeusMonitor
    except ImportError:
        return None
    monitor = ZeusMonitor(gpu_indices=[0], approx_instant_energy=False)

    def begin() -> Callable[[], float]:
        monitor.begin_window("window", sync_execution=False)

        def end() -> float:
            return float(monitor.end_window("window", sync_execution=False).total_energy)

        return end

    return begin


if __name__ == "__main__":
    main()
