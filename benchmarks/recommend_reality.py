"""What `gb recommend` predicts, against the server scenario measured on the same machine.

The closed loop and the server are cells of one run, shuffled in blocks, for the speed of a shared
machine drifts by more than a prediction may be wrong. The server meets 30, 60 and 85 % of what the
largest batch holds (by a first run of the closed loop), with three policies. Each block's server is
predicted from that block's own closed loop, by the simulation that `gb recommend` runs, and for the
very arrivals it met: in a window of some hundred requests, chance in the arrivals alone moves the
mean response time of a queue at 85 % by more than the prediction may be wrong. A line has medians
over blocks: mean and 99th percentile of the response time and energy per request, predicted and
measured, and the ratio of measured to predicted with its range.

    python benchmarks/recommend_reality.py [MODEL ...] [--threads 1] [--requests 2000]
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

import numpy as np

from greenbatch import units
from greenbatch.analysis import open_run, read_service_curves
from greenbatch.analysis.dataset.variables import STATUSES
from greenbatch.analysis.findings.cells import CellArrays
from greenbatch.analysis.recommendation.service_curves import POINTS
from greenbatch.analysis.recommendation.simulation import WARM_UP, Traffic
from greenbatch.analysis.recommendation.simulation import serve as simulated
from greenbatch.queueing.policies import parse_policy
from greenbatch.queueing.served import Served
from greenbatch.records import Cell
from greenbatch.workflows.inference import bench

if TYPE_CHECKING:
    from greenbatch.analysis.recommendation.service_curves import Repeated, ServiceCurve

MODELS = ("shufflenet_v2_x0_5", "alexnet")
BATCH_SIZES = (1, 2, 4, 8)
POLICIES = ("greedy:8", "dynamic:8:20ms", "fixed:4")
SHARES = (0.30, 0.60, 0.85)
DRAWS = 20
"""How often a server is simulated, each time with other times of its batches."""
NAMES = (("mean", "s"), ("p99", "s"), ("energy", "J"))


def main() -> None:
    """Measure, predict and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--provider", default="cpu")
    parser.add_argument("--runtime", default="onnxruntime")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as cores")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--requests", type=int, default=2000, help="at least, in a window")
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"))
    parser.add_argument("--out", type=Path, help="folder of the runs; a temporary one otherwise")
    parser.add_argument("--run", type=Path, help="measure nothing, read this run")
    options = parser.parse_args()
    head = ["model", "requests/s", "policy"]
    for name, _ in NAMES:
        head += [f"{name} predicted", "measured", "ratio"]
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.out or Path(temporary)
        measured = (line for model in options.models for line in compare(model, folder, options))
        for entries in lines(options.run) if options.run else measured:
            print("| " + " | ".join(entries) + " |", flush=True)


def compare(model: str, folder: Path, options: argparse.Namespace) -> Iterator[tuple[str, ...]]:
    """Yield a line for each rate and policy."""
    common = {
        "providers": [options.provider],
        "runtimes": [options.runtime],
        "batch_sizes": BATCH_SIZES,
        "threads": options.threads,
        "weights": "auto" if options.provider != "cpu" else "random",
        "artifacts_dir": options.artifacts,
    }
    pilot = bench([model], repetitions=1, out=folder / f"{model}-pilot", **common).path
    with open_run(pilot) as dataset:
        (curve,) = read_service_curves(dataset, pilot / "traces")
    holds_hz = median(curve.capacities_hz(max(BATCH_SIZES)).values())
    path = bench(
        [model],
        scenarios=["offline", "server"],
        rates=[float(f"{share * holds_hz:.2g}") for share in SHARES],
        policies=POLICIES,
        requests=options.requests,
        repetitions=options.repetitions,
        out=folder / model,
        **common,
    ).path
    yield from lines(path)


def lines(run: Path) -> Iterator[tuple[str, ...]]:
    """Yield a line for each server of a run that has the closed loop beside it."""
    with open_run(run) as dataset:
        (curve,) = read_service_curves(dataset, run / "traces")
        arrays = CellArrays(dataset)
        for cell, place in arrays.cells():
            if not cell.is_server:
                continue
            ok = arrays("status", place) == STATUSES.index("ok")
            energy_j = arrays("energy_per_image", place)
            pairs = []
            for block, one in curve.blocks.items():
                if ok[block]:
                    served = seen(run / "traces" / f"{cell.slug}_r{block}.npz")
                    got = (*response_times(served), float(energy_j[block]))
                    pairs.append((predict(served, cell, curve, one), got))
            yield line(cell, pairs)


def seen(trace: Path) -> Served:
    """Return what became of the requests of a window that had a result."""
    with np.load(trace) as arrays:
        sizes = arrays["batch_size"]
        return Served(
            arrival_s=arrays["arrival_s"][: sizes.sum()],
            batch_start_s=arrays["batch_start_s"],
            batch_end_s=arrays["batch_end_s"],
            batch_size=sizes,
            waiting=arrays["waiting"],
        )


def response_times(served: Served) -> tuple[float, float]:
    """Return mean and 99th percentile, in s, of the requests that a prediction is of."""
    response_s = served.response_s[int(WARM_UP * len(served.arrival_s)) :]
    return float(response_s.mean()), float(np.quantile(response_s, 0.99))


def predict(
    served: Served, cell: Cell, curve: "ServiceCurve", one: "Repeated"
) -> tuple[float, float, float]:
    """Simulate a server on a repetition of the closed loop, for the arrivals of a real one."""
    found = []
    for seed in range(DRAWS):
        draws = np.random.default_rng(seed).integers(POINTS, size=len(served.arrival_s))
        rate_hz = float(cell.served.rate)
        warm_up = int(WARM_UP * len(served.arrival_s))
        met = Traffic(served.arrival_s, tuple(draws.tolist()), rate_hz, rate_hz, warm_up)
        outcome = simulated(
            met, parse_policy(cell.served.policy), curve, one, idle=one.idle_w is not None
        )
        if outcome is None:
            raise SystemExit(f"{cell}: too few requests to predict by; ask for more (--requests)")
        energy_j = float("nan") if outcome.energy_j is None else outcome.energy_j
        found.append((outcome.mean_s, outcome.p99_s, energy_j))
    mean_s, p99_s, energy_j = np.mean(found, axis=0).tolist()
    return mean_s, p99_s, energy_j


def line(
    cell: Cell, pairs: list[tuple[tuple[float, float, float], tuple[float, float, float]]]
) -> tuple[str, ...]:
    """Put predictions beside measurements."""
    entries = [cell.model, cell.served.rate, cell.served.policy]
    for at, (_, unit) in enumerate(NAMES):
        known = [
            (wanted[at], got[at]) for wanted, got in pairs if np.isfinite(wanted[at] + got[at])
        ]
        if not known:
            entries += ["unknown", "unknown", ""]
            continue
        ratios = sorted(got / wanted for wanted, got in known)
        entries += [units.si(median(side), unit) for side in zip(*known, strict=True)]
        entries.append(f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    return tuple(entries)


if __name__ == "__main__":
    main()
