"""What reading the meters costs: the share of one core that the recorder's threads take.

The simulated NVML (one GPU) and the simulated powercap tree (package, core, dram) are read at 10,
100 and 1000 Hz and at their default rates, in turns; then whatever this machine has.

    python benchmarks/sampler_cost.py [--rounds 5] [--seconds 2]
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parents[1]))

from greenbatch.runners.metering import EnergyMeter, MeterOptions, open_meters
from greenbatch.runners.metering.sampling.cost import sampler_cost
from greenbatch.runners.metering.sources.nvml import NvmlMeter
from greenbatch.runners.metering.sources.rapl import RaplMeter
from tests.fakes import nvml
from tests.fakes.powercap import Powercap
from tests.fakes.powercap_curve import PowerCurve

RATES_HZ = (None, 10, 100, 1000)
ZONES = {"intel-rapl:0": "package-0", "intel-rapl:0:0": "core", "intel-rapl:0:1": "dram"}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    with ExitStack() as stack:
        subjects = _simulated(stack, Path(stack.enter_context(tempfile.TemporaryDirectory())))
        here = stack.enter_context(open_meters(["auto"]))
        here.follow(os.getpid())
        here_too = [meter for meter in here.meters if meter.name != NvmlMeter.name]
        subjects |= {f"this machine's {meter.name}": [meter] for meter in here_too}
        shares = _measure(subjects, options.rounds, options.seconds)
    print(f"share of one core, median of {options.rounds} turns of {options.seconds:g} s")
    print(f"{'':28}" + "".join(f"{_rate(rate):>12}" for rate in RATES_HZ))
    for name in subjects:
        row = [f"{median(shares[name, rate]):>12.2%}" for rate in RATES_HZ]
        print(f"{name:28}" + "".join(row))


def _simulated(stack: ExitStack, folder: Path) -> dict[str, list[EnergyMeter]]:
    tree = Powercap(folder / "sys")
    for zone, name in ZONES.items():
        tree.add(zone, name)
    # ticks are written slowly, so that writing them takes nothing from the reader
    curves = {zone: PowerCurve(50.0) for zone in ZONES}
    stack.enter_context(tree.running(curves, tick_s=0.05))
    rapl = stack.enter_context(RaplMeter.open(MeterOptions(environ=tree.environment())))
    subjects: dict[str, list[EnergyMeter]] = {"simulated RAPL, 3 zones": [rapl]}
    if nvml.has_compiler():
        gpu = nvml.FakeNvml(folder / "gpu", nvml.build(folder / "lib"))
        stack.enter_context(gpu.installed())
        one = stack.enter_context(NvmlMeter.open(MeterOptions(environ={})))
        subjects |= {"simulated NVML, 1 GPU": [one], "both": [one, rapl]}
    return subjects


def _measure(
    subjects: Mapping[str, list[EnergyMeter]], rounds: int, seconds: float
) -> dict[tuple[str, int | None], list[float]]:
    shares: dict[tuple[str, int | None], list[float]] = {}
    for _ in range(rounds):
        for name, meters in subjects.items():
            for rate in RATES_HZ:
                share = sampler_cost(meters, seconds, 1 / rate if rate else None)
                shares.setdefault((name, rate), []).append(share)
    return shares


def _rate(rate_hz: int | None) -> str:
    return f"{rate_hz} Hz" if rate_hz else "default"


if __name__ == "__main__":
    main()
