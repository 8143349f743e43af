"""A worker of metering_accuracy.py: measures windows with one tool, as a user of it would.

    PYTHON metering_peers.py TOOL HARDWARE

TOOL: greenbatch, zeus or codecarbon. HARDWARE: gpu or rapl; the simulated RAPL lies below
``$GB_SYSFS``. Lines of JSON in and out: ``"start"`` is answered by the instant at which the tool
had begun; ``"end"`` by the instant at which it was asked to stop, and its energy. The window lies
between the two. Instants are of `time.perf_counter`, which on Linux is the same in every process.

Neither peer has an option for the place of RAPL's files: for this process alone, the constant
that holds it is set to the simulated tree.
"""

import functools
import json
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias

# Starts a window, and ends it: energy in J (None: not measured, with the reason), and half the
# width of its band where the tool states one.
Tool: TypeAlias = tuple[
    Callable[[], None], Callable[[], tuple[float | None, float | None, str | None]]
]
_JOULES_PER_KWH = 3.6e6


@contextmanager
def greenbatch(hardware: str) -> Iterator[Tool]:
    """`greenbatch.Meter` that runs all the time, and a window of it for each window."""
    from greenbatch import Meter

    with Meter("nvml" if hardware == "gpu" else "rapl") as meter, ExitStack() as stack:
        window: Any = None

        def start() -> None:
            nonlocal window
            window = stack.enter_context(meter.window())

        def end() -> tuple[float | None, float | None, str | None]:
            stack.close()
            total = window.measurement.total
            return total.energy_j, total.uncertainty_j, total.reason

        yield start, end


@contextmanager
def zeus(hardware: str) -> Iterator[Tool]:
    """``ZeusMonitor``; for RAPL the sum of what it calls CPUs, and of their memory."""
    import zeus.device.cpu.rapl as rapl
    from zeus.monitor import ZeusMonitor

    rapl.RAPL_DIR = f"{os.environ['GB_SYSFS']}/class/powercap/intel-rapl"
    monitor = ZeusMonitor()

    def start() -> None:
        monitor.begin_window("window", sync_execution=False)

    def end() -> tuple[float | None, float | None, str | None]:
        seen = monitor.end_window("window", sync_execution=False)
        kinds = (seen.gpu_energy,) if hardware == "gpu" else (seen.cpu_energy, seen.dram_energy)
        energies = [value for kind in kinds if kind for value in kind.values()]
        return (sum(energies), None, None) if energies else (None, None, "it reports no energy")

    yield start, end


@contextmanager
def codecarbon(hardware: str) -> Iterator[Tool]:
    """A new ``OfflineEmissionsTracker`` for each window, with its own defaults."""
    from codecarbon import OfflineEmissionsTracker
    from codecarbon.core import cpu
    from codecarbon.external import hardware as devices

    tree = f"{os.environ['GB_SYSFS']}/class/powercap/intel-rapl"
    cpu.is_rapl_available = functools.partial(cpu.is_rapl_available, tree)
    intel = devices.IntelRAPL

    def simulated(rapl_dir: str, **options: Any) -> Any:
        return intel(rapl_dir=tree, **options)

    devices.IntelRAPL = simulated
    tracker: Any = None

    def start() -> None:
        nonlocal tracker
        tracker = OfflineEmissionsTracker(
            country_iso_code="USA",
            save_to_file=False,
            log_level="critical",
            allow_multiple_runs=True,
        )
        tracker.start()

    def end() -> tuple[float | None, float | None, str | None]:
        tracker.stop()
        totals = tracker.final_emissions_data
        kind = devices.GPU if hardware == "gpu" else devices.CPU
        used = [device for device in tracker._hardware if isinstance(device, kind)]
        if not used or (hardware == "rapl" and used[0]._mode != "intel_rapl"):
            return None, None, f"it does not read the simulated {hardware}"
        kwh = totals.gpu_energy if hardware == "gpu" else totals.cpu_energy
        return kwh * _JOULES_PER_KWH, None, None

    yield start, end


TOOLS = {"greenbatch": greenbatch, "zeus": zeus, "codecarbon": codecarbon}


def main() -> None:
    """Answer lines until they end."""
    warnings.simplefilter("ignore")
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a tool prints must not meet the answers
    with TOOLS[sys.argv[1]](sys.argv[2]) as (start, end):
        print(json.dumps({"ready": True}), file=answers, flush=True)
        for line in sys.stdin:
            if json.loads(line) == "start":
                start()
                answer: dict[str, object] = {"t_s": time.perf_counter()}
            else:
                t_s = time.perf_counter()
                energy_j, uncertainty_j, reason = end()
                answer = {
                    "t_s": t_s,
                    "energy_j": energy_j,
                    "uncertainty_j": uncertainty_j,
                    "reason": reason,
                }
            print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
