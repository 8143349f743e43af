"""How late requests are handed over, and what that costs: sleeping or spinning, pipe or memory.

Handed over: when the generator did so, less the planned instant. Noticed: when a server that has
nothing else to do knew of it. CPU: of a core, the generator's and the server's. Spinning means to
sleep until 1 ms before an instant; shared memory is looked at every 0.1 ms, as nothing wakes its
reader.

    python benchmarks/arrival_lateness.py [--rate 500] [--seconds 5]
"""

import argparse
import math
import multiprocessing
import time
from collections.abc import Callable
from multiprocessing.shared_memory import SharedMemory
from multiprocessing.synchronize import Event

import numpy as np

from greenbatch.queueing.arrivals import parse_arrivals
from greenbatch.runners.scenarios.generator import Generator

SPIN_S = 0.001
LOOK_S = 0.0001
QUANTILES = (0.5, 0.9, 0.99, 0.999, 1.0)

# instants planned, handed over and noticed; CPU time of generator and server
Outcome = tuple[np.ndarray, np.ndarray, np.ndarray, tuple[float, float]]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rate", type=float, default=500.0)
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    arrivals_s = parse_arrivals("poisson").times(options.rate, seed=1, duration_s=options.seconds)
    heads = "".join(f"{f'p{100 * quantile:g}':>10}" for quantile in QUANTILES)
    print(f"{len(arrivals_s)} requests, Poisson, {options.rate:g}/s; lateness in ms")
    print(f"{'':44}{heads}{'CPU':>18}")
    ways: dict[str, Callable[[], Outcome]] = {
        "sleep, pipe (as gb does)": lambda: _pipe(arrivals_s, 0.0),
        "spin, pipe": lambda: _pipe(arrivals_s, SPIN_S),
        "sleep, shared memory": lambda: _memory(arrivals_s),
    }
    for name, way in ways.items():
        planned_s, handed_over_s, noticed_s, cpu_s = way()
        shares = ", ".join(f"{part / options.seconds:.1%}" for part in cpu_s)
        for what, instants_s in (("handed over", handed_over_s), ("noticed", noticed_s)):
            late_ms = np.quantile(instants_s - planned_s, QUANTILES) * 1e3
            row = "".join(f"{value:>10.3f}" for value in late_ms)
            print(f"{name:30}{what:14}{row}{shares if what == 'handed over' else '':>18}")


def _pipe(arrivals_s: np.ndarray, spin_s: float) -> Outcome:
    with Generator(arrivals_s, spin_s) as generator:
        noticed_s = np.empty(len(arrivals_s))
        cpu_before_s = time.process_time()
        planned_s = generator.begin(time.perf_counter() + 0.1)
        known = 0
        while known < len(arrivals_s):
            count = generator.handed_over(known, math.inf)
            noticed_s[known:count] = time.perf_counter()
            known = count
        server_cpu_s = time.process_time() - cpu_before_s
        handed_over_s, cpu_s = generator.finish()
    return planned_s, handed_over_s, noticed_s, (cpu_s, server_cpu_s)


def _memory(arrivals_s: np.ndarray) -> Outcome:
    size = len(arrivals_s)
    memory = SharedMemory(create=True, size=8 * (size + 2))
    cells = np.ndarray(size + 2, buffer=memory.buf)  # start, instants handed over, CPU time
    cells[:] = 0.0
    noticed_s = np.empty(size)
    spawn = multiprocessing.get_context("spawn")
    begun = spawn.Event()
    process = spawn.Process(target=_hand_over, args=(memory.name, arrivals_s, begun))
    process.start()
    try:
        begun.wait()
        cpu_before_s = time.process_time()
        cells[0] = start_s = time.perf_counter() + 0.1
        known = 0
        while known < size:
            while known < size and cells[1 + known]:
                noticed_s[known] = time.perf_counter()
                known += 1
            time.sleep(LOOK_S)
        server_cpu_s = time.process_time() - cpu_before_s
        process.join()
        outcome = start_s + arrivals_s, cells[1:-1].copy(), noticed_s, (cells[-1], server_cpu_s)
    finally:
        process.kill()
        del cells
        memory.close()
        memory.unlink()
    return outcome


def _hand_over(name: str, arrivals_s: np.ndarray, begun: Event) -> None:
    memory = SharedMemory(name)
    cells = np.ndarray(len(arrivals_s) + 2, buffer=memory.buf)
    begun.set()
    while not cells[0]:
        time.sleep(LOOK_S)
    for number, instant_s in enumerate((cells[0] + arrivals_s).tolist(), start=1):
        time.sleep(max(0.0, instant_s - time.perf_counter()))
        cells[number] = time.perf_counter()
    cells[-1] = time.process_time()
    del cells
    memory.close()


if __name__ == "__main__":
    main()
