"""What `gb recommend` predicts, against the server scenario measured on the same machine.

The closed loop and the server are cells of one run, shuffled in blocks, for the speed of a shared
machine drifts by more than a prediction may be wrong. The server meets 30, 60 and 85 % of what the
largest batch holds (by a first run of the closed loop), with three policies. Each block's server is
predicted from that block's own closed loop, by the simulation that `gb recommend` runs. A line has
medians over blocks: mean and 99th percentile of the response time and energy per request, predicted
and measured, and the ratio of measured to predicted with its range.

    python benchmarks/recommend_reality.py [MODEL ...] [--requests 2000] [--repetitions 5]
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from greenbatch import units
from greenbatch.analysis import open_run, read_service_curves
from greenbatch.analysis.recommendation_outcomes import Outcome, draw_traffic
from greenbatch.analysis.recommendation_outcomes import serve as simulated
from greenbatch.analysis.tables import CellArrays
from greenbatch.analysis.variables import STATUSES
from greenbatch.queueing.arrivals import parse_arrivals
from greenbatch.queueing.policies import parse_policy
from greenbatch.records import Cell
from greenbatch.workflow import bench

if TYPE_CHECKING:
    from greenbatch.analysis.service_curves import ServiceCurve

MODELS = ("shufflenet_v2_x0_5", "alexnet")
BATCH_SIZES = (1, 2, 4, 8)
POLICIES = ("greedy:8", "dynamic:8:20ms", "fixed:4")
SHARES = (0.30, 0.60, 0.85)
SIMULATED = 20_000


def main() -> None:
    """Measure, predict and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--provider", default="cpu")
    parser.add_argument("--runtime", default="onnxruntime")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--requests", type=int, default=2000, help="at least, in a window")
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"))
    parser.add_argument("--out", type=Path, help="folder of the runs; a temporary one otherwise")
    options = parser.parse_args()
    head = ("model", "requests/s", "policy", "mean", "", "", "p99", "", "", "energy", "", "")
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    with tempfile.TemporaryDirectory() as temporary:
        for model in options.models:
            for line in compare(model, options.out or Path(temporary), options):
                print("| " + " | ".join(line) + " |", flush=True)


def compare(model: str, folder: Path, options: argparse.Namespace) -> Iterator[tuple[str, ...]]:
    """Yield a line for each rate and policy."""
    common = {
        "providers": [options.provider],
        "runtimes": [options.runtime],
        "batch_sizes": BATCH_SIZES,
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
    with open_run(path) as dataset:
        (curve,) = read_service_curves(dataset, path / "traces")
        arrays = CellArrays(dataset)
        for cell, place in arrays.cells():
            if cell.is_server:
                yield line(cell, predict(curve, cell), measured(dataset, arrays, place))


def predict(curve: "ServiceCurve", cell: Cell) -> dict[int, Outcome]:
    """Simulate a server on each repetition of the closed loop, by block."""
    traffic = dict(cell.traffic)
    arrivals, rate_hz = parse_arrivals(traffic["arrivals"]), float(traffic["rate"])
    policy = parse_policy(traffic["policy"])
    found = {}
    for block, one in curve.blocks.items():
        drawn = draw_traffic(arrivals, rate_hz, SIMULATED, seed=1 + block)
        found[block] = simulated(drawn, policy, curve, one, idle=one.idle_w is not None)
    return {block: outcome for block, outcome in found.items() if outcome is not None}


def measured(dataset: Any, arrays: CellArrays, place: tuple[int, ...]) -> dict[int, list[float]]:
    """Return mean and 99th percentile of the response time, and energy per request, by block."""
    p99 = list(dataset["quantile"].values).index(0.99)
    columns = (
        arrays("response_time_mean", place),
        arrays("response_time", place)[..., p99],
        arrays("energy_per_image", place),
    )
    ok = arrays("status", place) == STATUSES.index("ok")
    return {block: [float(c[block]) for c in columns] for block in range(len(ok)) if ok[block]}


def line(
    cell: Cell, predicted: dict[int, Outcome], found: dict[int, list[float]]
) -> tuple[str, ...]:
    """Put prediction beside measurement."""
    traffic = dict(cell.traffic)
    entries = [cell.model, traffic["rate"], traffic["policy"]]
    for column, (name, unit) in enumerate((("mean_s", "s"), ("p99_s", "s"), ("energy_j", "J"))):
        pairs = [
            (getattr(predicted[block], name), values[column])
            for block, values in found.items()
            if block in predicted and getattr(predicted[block], name) is not None
        ]
        if not pairs:
            entries += ["unknown", "unknown", ""]
            continue
        ratios = sorted(got / wanted for wanted, got in pairs)
        entries += [units.si(median(side), unit) for side in zip(*pairs, strict=True)]
        entries.append(f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")
    return tuple(entries)


if __name__ == "__main__":
    main()
