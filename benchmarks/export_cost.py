"""What proving and hashing add to an export: `gb export` beside plain `torch.onnx.export`.

Both build the network, draw its weights and export it with a dynamic batch axis, each in a process
of its own, taking turns; `gb export` then runs ONNX Runtime at five batch sizes and for each image
alone, writes the weights once more for other runtimes, and hashes all. Time is wall time and CPU
time of the whole process, imports included; memory is the peak of the process.

    python benchmarks/export_cost.py [MODEL ...] [--rounds 3] [--json FILE]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

MODELS = ("shufflenet_v2_x0_5", "resnet50", "vit_b_16")
WAYS = ("plain", "greenbatch")

PLAIN = """
import sys, warnings
warnings.simplefilter("ignore")
import torch
from greenbatch.models import find, synthetic_images
from greenbatch.models.build import build
from greenbatch.models.weights.load import load_weights
name, path = sys.argv[1:]
spec = find(name)
module = build(spec)
load_weights(module, spec, "random", 0)
torch.onnx.export(
    module,
    (torch.from_numpy(synthetic_images(spec, 2, 0)),),
    path,
    dynamo=True,
    dynamic_shapes=({0: torch.export.Dim("batch")},),
    external_data=spec.parameters * 4 > 1 << 31,
    verbose=False,
)
"""


@dataclass(frozen=True, slots=True)
class Cost:
    """What one process took."""

    wall_s: float
    cpu_s: float
    memory_bytes: int


def main() -> None:
    """Measure, and print a line for each model."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write each process's cost")
    options = parser.parse_args()
    print(f"{'model':24} {'plain':>26} {'gb export':>26} {'ratio (wall, CPU, memory)':>28}")
    found = {}
    for name in options.models:
        costs: dict[str, list[Cost]] = {way: [] for way in WAYS}
        for turn in range(options.rounds):
            for way in WAYS if turn % 2 == 0 else reversed(WAYS):
                costs[way].append(measure(way, name))
        found[name] = {way: [asdict(cost) for cost in taken] for way, taken in costs.items()}
        print(line(name, costs), flush=True)
    if options.json:
        options.json.write_text(json.dumps(found, indent=2) + "\n")


def measure(way: str, name: str) -> Cost:
    """Export a network in one of the ways, in a process of its own.

    Raises:
        RuntimeError: The process failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        commands = {
            "plain": ["-c", PLAIN, name, f"{folder}/net.onnx"],
            "greenbatch": [
                *("-m", "greenbatch.cli", "export", name, "--weights", "random", "--out", folder)
            ],
        }
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *commands[way]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall_s = time.perf_counter() - began
    if process.returncode:
        raise RuntimeError(f"{way} export of {name} ended with {process.returncode}")
    scale = 1 if sys.platform == "darwin" else 1024
    return Cost(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * scale)


def line(name: str, costs: dict[str, list[Cost]]) -> str:
    """Write the medians of a model, and the ratio of each round's two processes."""

    def middle(way: str) -> str:
        wall, cpu = (median(getattr(c, field) for c in costs[way]) for field in ("wall_s", "cpu_s"))
        memory = median(cost.memory_bytes for cost in costs[way])
        return f"{wall:.1f} s, CPU {cpu:.1f} s, {memory / 1e9:.2f} GB"

    return (
        f"{name:24} {middle('plain'):>26} {middle('greenbatch'):>26}"
        f" {', '.join(f'{ratio(costs, field):.2f}' for field in Cost.__slots__):>28}"
    )


def ratio(costs: dict[str, list[Cost]], field: str) -> float:
    """Return the median over the rounds of `gb export` over plain."""
    pairs: Sequence[tuple[Cost, Cost]] = list(zip(costs["plain"], costs["greenbatch"], strict=True))
    ratios = [getattr(ours, field) / getattr(plain, field) for plain, ours in pairs]
    return float(median(ratios))


if __name__ == "__main__":
    main()
