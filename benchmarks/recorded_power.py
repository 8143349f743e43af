"""Stated uncertainty against the truth, on recordings of real GPUs: the table of docs/method.md.

A power analyser in the supply lines recorded the truth, and NVML's readings of the same seconds are
read as `gb` reads them. For each recording and each of NVML's two readings: how often the truth
lies in the stated band, the band's median half-width, and the error, over random windows.

    python benchmarks/recorded_power.py [--windows 400]
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.fakes.recorded_gpu import Recording, Replay, Source

RECORDINGS = ("a100-alternating", "a100-step", "rtx3090-step")
SOURCES: tuple[Source, Source] = ("draw", "instant")
WINDOWS_S = (0.5, 1.0, 2.0, 4.0)


def row(recording: Recording, replay: Replay, window_s: float, windows: int) -> str:
    """Return the cells of a table's row: coverage, median half-width, error at 50 and 95 %."""
    errors, bands = [], []
    for t0_s, t1_s in recording.windows(window_s, windows):
        figure, truth_j = replay.energy(t0_s, t1_s), recording.truth_j(t0_s, t1_s)
        assert figure.energy_j is not None, figure.reason
        assert figure.uncertainty_j is not None
        errors.append(abs(figure.energy_j - truth_j) / truth_j)
        bands.append(figure.uncertainty_j / truth_j)
    inside = np.mean(np.array(errors) <= np.array(bands))
    middle, most = np.percentile(errors, [50, 95])
    return f"{inside:.0%} | {np.median(bands):.1%} | {middle:.1%} / {most:.1%}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--windows", type=int, default=400, help="for each row")
    windows = parser.parse_args().windows
    print("| recording | reading | window | truth inside | median half-width | error 50 / 95 % |")
    print("|---|---|---|---|---|---|")
    for name in RECORDINGS:
        recording = Recording.load(name)
        for source in SOURCES:
            replay = Replay.of(recording, source)
            for window_s in WINDOWS_S:
                cells = row(recording, replay, window_s, windows)
                print(f"| {name} | power.{source} | {window_s:g} s | {cells} |", flush=True)


if __name__ == "__main__":
    main()
