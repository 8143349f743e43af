"""What cells that share a loaded network measure, against cells in processes of their own.

In turns, a run with ``--isolation session`` and one with ``--isolation fork`` measure each cell
once. Printed are, for each cell, the ratio of the times per image (session over fork; geometric
mean over the pairs, with its 95 % interval), how many repetitions were flagged ``unsteady``, and
for each way the wall time without rests and the share of it within windows.

    python benchmarks/shared_sessions.py [--pairs 8] [--models shufflenet_v2_x0_5,resnet18]
        [--runtimes onnxruntime,torch] [--batch-sizes 1,4,16,64] [--artifacts FOLDER]
"""

import argparse
import math
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from greenbatch.confidence import student_quantile
from greenbatch.records import Cell, Repetition, parse

WAYS = ("session", "fork")


def main() -> None:
    """Measure the pairs and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--models", default="shufflenet_v2_x0_5,resnet18")
    parser.add_argument("--runtimes", default="onnxruntime,torch")
    parser.add_argument("--batch-sizes", default="1,4,16,64")
    parser.add_argument("--artifacts", type=Path)
    options = parser.parse_args()
    found: dict[str, list[list[Repetition]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as temporary:
        artifacts = options.artifacts or Path(temporary, "artifacts")
        for pair in range(options.pairs):
            for way in WAYS if pair % 2 else WAYS[::-1]:
                run = Path(temporary, f"{way}-{pair}")
                command = [
                    *(sys.executable, "-m", "greenbatch.cli", "bench"),
                    *options.models.split(","),
                    *("--runtime", options.runtimes, "--batch-sizes", options.batch_sizes),
                    *("--repetitions", "1", "--full", "--seed", str(pair)),
                    *("--isolation", way, "--weights", "random", "--wait-quiet", "0"),
                    *("--artifacts", str(artifacts), "--out", str(run)),
                ]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                journal = parse((run / "journal.jsonl").read_bytes())
                found[way].append([r for r in journal.repetitions if r.images and r.duration_s])
    print_ratios(found)
    print_shares(found)


def print_ratios(found: dict[str, list[list[Repetition]]]) -> None:
    """Print a row for each cell that was measured in each pair, then all of them as one."""
    logs: dict[Cell, list[float]] = defaultdict(list)
    for sessions, forks in zip(found["session"], found["fork"], strict=True):
        alone = {r.cell: per_image_s(r) for r in forks}
        for each in sessions:
            if each.cell in alone:
                logs[each.cell].append(math.log(per_image_s(each) / alone[each.cell]))
    print("| cell | pairs | time per image, session over fork |")
    print("|:--|--:|--:|")
    for cell, values in sorted(logs.items()):
        print(f"| {cell} | {len(values)} | {interval(values)} |")
    by_pair = zip(*(values for values in logs.values()), strict=False)
    means = [float(np.mean(values)) for values in by_pair]
    print(f"| all cells | {len(means)} | {interval(means)} |")


def print_shares(found: dict[str, list[list[Repetition]]]) -> None:
    """Print what each way took."""
    print("\n| way | wall without rests, s | within windows | unsteady | memory known |")
    print("|:--|--:|--:|--:|--:|")
    for way, runs in found.items():
        every = [each for run in runs for each in run]
        wall_s = sum(each.phases_s["wall"] for each in every)
        window_s = sum(each.phases_s["window"] for each in every)
        unsteady = sum("unsteady" in each.flags for each in every)
        known = sum(each.memory_host_bytes is not None for each in every)
        print(
            f"| {way} | {wall_s:.0f} | {window_s / wall_s:.0%} | {unsteady} of {len(every)} | "
            f"{known} of {len(every)} |"
        )


def per_image_s(repetition: Repetition) -> float:
    """Return the time of an image, in s."""
    assert repetition.duration_s
    assert repetition.images
    return repetition.duration_s / repetition.images


def interval(logs: Sequence[float]) -> str:
    """Write the geometric mean of ratios with its 95 % interval, from their logarithms."""
    mean = float(np.mean(logs))
    if len(logs) < 2:
        return f"{math.exp(mean):.3f}"
    half = student_quantile(len(logs) - 1) * float(np.std(logs, ddof=1)) / math.sqrt(len(logs))
    low, high = math.exp(mean - half), math.exp(mean + half)
    return f"{math.exp(mean):.3f} ({low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()
