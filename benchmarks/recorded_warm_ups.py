"""How well the rule for the end of a warm-up decides on latencies that were recorded.

Records batches back to back from the load on, each backend in a fresh process, and lets the rule
of each profile look at the series as it would have seen it. Beside it stand the rule without its
test for a warm-up that levels off, and the longest warm-up that the profile allows.

    python benchmarks/recorded_warm_ups.py MODEL... --artifacts DIR [--backend torch-cpu]
        [--batch 1 --batch 8] [--seconds 60] [--repeat 3] [--keep recordings.npz]
    python benchmarks/recorded_warm_ups.py --from recordings.npz

A recording that is still drifting at its end has no level to compare with: it is named and left
out. So are windows that do not end within a recording.
"""

import argparse
import math
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from greenbatch.design.protocol import PROFILES, MeasurementProtocol
from greenbatch.models import inputs
from greenbatch.models.artifacts import load_artifact
from greenbatch.records import Cell
from greenbatch.runners import backends
from greenbatch.runners.host.cores import thread_count
from greenbatch.runners.scenarios import offline, steady

Array = NDArray[np.float64]
NAMES = ("standard", "rigorous")
RULES = ("the rule", "without levelling off", "longest")
_LEVEL_SHARE = 1 / 3  # of a recording: its end, which is taken for the level


class Ended(Exception):
    """The recording ended before the window did."""


@dataclass
class Recording:
    """A backend that takes as long as it was recorded to take, on a clock of its own."""

    latencies_s: Sequence[float]
    at: int = 0
    now_s: float = 0.0

    def clock(self) -> float:
        """Return the time, in s."""
        return self.now_s

    def run(self) -> None:
        """Take as long as the next batch did."""
        if self.at >= len(self.latencies_s):
            raise Ended
        self.now_s += self.latencies_s[self.at]
        self.at += 1


@dataclass(frozen=True)
class Judged:
    """What a rule made of a recording.

    Attributes:
        warm_up_s: Length of the warm-up.
        off: Mean latency in the window over the level of the recording, less 1.
    """

    warm_up_s: float
    off: float


def judged(latencies_s: Array, protocol: MeasurementProtocol, rule: str) -> Judged | None:
    """Warm a recording up by a rule; ``None`` where it ended before the window did."""
    recording = Recording(latencies_s.tolist())
    level = float(latencies_s[-max(2, int(len(latencies_s) * _LEVEL_SHARE)) :].mean())
    without = rule == RULES[1]
    try:
        recording.run()
        if rule == RULES[2]:
            while recording.now_s < protocol.warm_up_max_s:
                recording.run()
            warm_up_s = recording.now_s
        else:
            first_s = recording.now_s
            with patch.object(steady, "_left_s", lambda _: math.inf) if without else nullcontext():
                done = offline.warm_up(recording.run, recording.clock, protocol, first_s)
            warm_up_s = done.duration_s
        stamps = [recording.now_s]
        while stamps[-1] < stamps[0] + protocol.window_s:
            recording.run()
            stamps.append(recording.now_s)
    except Ended:
        return None
    return Judged(warm_up_s, float(np.diff(stamps).mean()) / level - 1)


def drifts_at_its_end(latencies_s: Array, tolerance: float) -> bool:
    """Whether the two halves of the end of a recording have different medians."""
    end = latencies_s[-max(4, int(len(latencies_s) * _LEVEL_SHARE)) :]
    first, second = (float(np.median(half)) for half in np.array_split(end, 2))
    return abs(second - first) > tolerance * float(np.median(end))


def table(recordings: Mapping[str, Array]) -> Iterator[str]:
    """Write what each rule made of all recordings, and how many have no level."""
    yield "| profile | rule | recordings | warm-up, s: median | longest | windows off by more |"
    yield "|:--|:--|--:|--:|--:|--:|"
    for name in NAMES:
        protocol = PROFILES[name]
        tolerance = protocol.steady_tolerance
        settled = {n: x for n, x in recordings.items() if not drifts_at_its_end(x, tolerance)}
        for rule in RULES:
            found = [one for x in settled.values() if (one := judged(x, protocol, rule))]
            if not found:
                yield f"| {name} | {rule} | 0 | – | – | – |"
                continue
            lengths_s = [one.warm_up_s for one in found]
            off = sum(abs(one.off) > tolerance for one in found)
            yield (
                f"| {name} | {rule} | {len(found)} | {np.median(lengths_s):.1f} "
                f"| {max(lengths_s):.1f} | {off} of {len(found)} ({tolerance:.0%}) |"
            )
        if drifting := sorted(recordings.keys() - settled.keys()):
            yield f"| {name} | left out, drifting at their end | {len(drifting)} | | | |"


def record(model: str, backend: str, batch_size: int, seconds: float, artifacts: Path) -> Array:
    """Run batches back to back from the load on; return the latencies, in s."""
    artifact = load_artifact(artifacts, model)
    manifest = artifact.manifest
    kind = backends.resolve(backends.find(backend))
    loaded = kind(
        backends.Task(
            cell=Cell(model, backend, batch_size=batch_size),
            artifact=artifact.path,
            weights=artifact.weights_path,
            manifest=manifest,
            threads=thread_count(0),
            images=inputs.synthetic_images(manifest.input, batch_size, seed=0),
        )
    )
    stamps = [time.perf_counter()]
    while stamps[-1] < stamps[0] + seconds:
        loaded.run()
        stamps.append(time.perf_counter())
    return np.diff(stamps)


def recorded(options: argparse.Namespace) -> Iterator[tuple[str, Array]]:
    """Record every combination in a process of its own, in turns."""
    combined = product(range(options.repeat), options.model, options.backend, options.batch)
    for turn, model, backend, batch in combined:
        with TemporaryDirectory() as folder:
            out = Path(folder) / "series.npy"
            child = [sys.executable, __file__, model, "--backend", backend, "--batch", str(batch)]
            child += ["--artifacts", str(options.artifacts), "--seconds", str(options.seconds)]
            subprocess.run([*child, "--child", str(out)], check=True)
            latencies_s = np.load(out)
        name = f"{model} {backend} batch {batch} #{turn + 1}"
        first, last = latencies_s[:3].mean(), np.median(latencies_s[-len(latencies_s) // 3 :])
        print(f"{name}: {len(latencies_s)} batches, first three {first / last:.2f} x the last ones")
        yield name, latencies_s


def main() -> None:
    """Record or read, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("model", nargs="*")
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"))
    parser.add_argument("--backend", action="append")
    parser.add_argument("--batch", action="append", type=int)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--from", dest="source", type=Path)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    options.backend = options.backend or ["onnxruntime-cpu", "torch-cpu"]
    options.batch = options.batch or [1, 8]
    if options.child:
        (model,), (backend,), (batch,) = options.model, options.backend, options.batch
        np.save(options.child, record(model, backend, batch, options.seconds, options.artifacts))
        return
    if options.source:
        with np.load(options.source) as file:
            found = {name: file[name] for name in file.files}
    elif options.model:
        found = dict(recorded(options))
    else:
        parser.error("name models to record, or give --from")
    if options.keep:
        np.savez_compressed(options.keep, **found)
    print(*table(found), sep="\n")


if __name__ == "__main__":
    main()
