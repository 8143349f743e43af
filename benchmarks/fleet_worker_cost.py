"""What the worker of a fleet costs beside a measured cell.

A local worker waits for a measuring process, as it does in ``gb fleet run``. Printed are the CPU
time that worker and nanny take meanwhile, as a share of a core, with Dask's defaults and with the
settings of greenbatch; and the throughput of inference in this process while the worker lives over
that while it is stopped (SIGSTOP), in pairs of short windows.

    python benchmarks/fleet_worker_cost.py --seconds 30 --pairs 20

Wanted: below 0.5 % of a core, and a ratio of at least 0.995.
"""

import argparse
import math
import os
import signal
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
from distributed import Client, Nanny, Scheduler, SpecCluster

from greenbatch.confidence import student_quantile
from greenbatch.runners.fleet.executors.dask_cluster import DaskCluster

SHARE, RATIO = 0.005, 0.995
_SIZE = 256


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--window", type=float, default=1.0)
    given = parser.parse_args()
    with _defaults() as client:
        _print_cost("Dask's defaults", _cost(client, given.seconds))
    with DaskCluster.local([{}], "cost") as executor:
        executor.machines()
        client = executor._client
        quiet = _cost(client, given.seconds)
        _print_cost("greenbatch", quiet)
        if given.pairs:
            _print_ratio(_ratios(client, given.pairs, given.window))


@contextmanager
def _defaults() -> Iterator[Client]:
    """A cluster of one worker with Dask's own settings."""
    worker = {"cls": Nanny, "options": {"nthreads": 1, "host": "127.0.0.1"}}
    scheduler = {"cls": Scheduler, "options": {"host": "127.0.0.1", "dashboard": False}}
    with (
        SpecCluster(scheduler=scheduler, workers={0: worker}, silence_logs="CRITICAL") as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


def _cost(client: Client, seconds: float) -> float:
    """Return the share of a core that the worker takes while a task of its sleeps."""
    (pid,) = client.run(os.getpid).values()
    process = psutil.Process(pid)
    future = client.submit(time.sleep, seconds + 4, pure=False)
    time.sleep(2)
    before, start_s = process.cpu_times(), time.perf_counter()
    time.sleep(seconds)
    after, end_s = process.cpu_times(), time.perf_counter()
    future.result()
    used_s = after.user + after.system - before.user - before.system
    return used_s / (end_s - start_s)


def _ratios(client: Client, pairs: int, window_s: float) -> list[float]:
    """Return throughput with the worker over that without it, for each pair of windows."""
    (pid,) = client.run(os.getpid).values()
    found = []
    for number in range(pairs):
        counts = {}
        for stopped in (number % 2 == 0, number % 2 == 1):
            os.kill(pid, signal.SIGSTOP if stopped else signal.SIGCONT)
            counts[stopped] = _throughput(window_s)
        os.kill(pid, signal.SIGCONT)
        found.append(counts[False] / counts[True])
    return found


def _throughput(window_s: float) -> float:
    """Multiply matrices on every core that BLAS uses; return products per second."""
    one = np.ones((_SIZE, _SIZE), np.float32)
    count, start_s = 0, time.perf_counter()
    while (now_s := time.perf_counter()) < start_s + window_s:
        one @ one
        count += 1
    return count / (now_s - start_s)


def _print_cost(whose: str, share: float) -> None:
    print(f"{whose}: the worker takes {share:.3%} of a core (wanted: below {SHARE:.1%})")


def _print_ratio(ratios: list[float]) -> None:
    logarithms = [math.log(ratio) for ratio in ratios]
    half = student_quantile(len(ratios) - 1) * statistics.stdev(logarithms) / len(ratios) ** 0.5
    centre = statistics.fmean(logarithms)
    low, high = math.exp(centre - half), math.exp(centre + half)
    print(
        f"throughput beside the worker over that without it: {math.exp(centre):.4f} "
        f"[{low:.4f}, {high:.4f}] in {len(ratios)} pairs (wanted: at least {RATIO})"
    )


if __name__ == "__main__":
    assert Path("/proc").exists(), "Linux alone: processes are stopped and their CPU time is read"
    main()
