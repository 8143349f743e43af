"""What `gb recommend` predicts, against the server scenario measured on the same machine.

The closed loop is measured first; then, for each model, the server at 30, 60 and 85 % of what the
policy with the largest batch holds, with three policies; last the closed loop again. Predictions
rest on both closed loops, so that a machine that is slower by then shows in their spread. Each
line gives predicted and measured mean and 99th percentile of the response time and energy per
request, and the ratio of measured to predicted.

    python benchmarks/recommend_reality.py [MODEL ...] [--requests 2000] [--out DIR]
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, median
from typing import TYPE_CHECKING

from greenbatch import units
from greenbatch.analysis import open_run, read_service_curves
from greenbatch.analysis.recommendation_outcomes import Outcome, draw_traffic, figures
from greenbatch.analysis.recommendation_outcomes import serve as simulated
from greenbatch.analysis.tables import CellRow, cell_rows
from greenbatch.queueing.arrivals import parse_arrivals
from greenbatch.queueing.policies import parse_policy
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
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--requests", type=int, default=2000, help="at least, in a window")
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"))
    parser.add_argument("--out", type=Path, help="folder of the runs; a temporary one otherwise")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.out or Path(temporary)
        lines = [line for model in options.models for line in compare(model, folder, options)]
    head = ("model", "requests/s", "policy", "mean", "", "", "p99", "", "", "energy", "", "", "ok")
    print("| " + " | ".join(head) + " |\n|" + "---|" * len(head))
    for line in lines:
        print("| " + " | ".join(line) + " |")


def compare(model: str, folder: Path, options: argparse.Namespace) -> Iterator[tuple[str, ...]]:
    """Yield a line for each rate and policy."""
    common = {
        "providers": [options.provider],
        "runtimes": [options.runtime],
        "repetitions": options.repetitions,
        "weights": "auto" if options.provider != "cpu" else "random",
        "artifacts_dir": options.artifacts,
    }
    loops = []

    def closed_loop(name: str) -> None:
        path = bench(
            [model], batch_sizes=BATCH_SIZES, out=folder / f"{model}-{name}", **common
        ).path
        with open_run(path) as dataset:
            (curve,) = read_service_curves(dataset, path / "traces")
        loops.append(curve)

    closed_loop("before")
    holds_hz = median(loops[0].capacities_hz(max(BATCH_SIZES)).values())
    rates = [float(f"{share * holds_hz:.2g}") for share in SHARES]
    server = bench(
        [model],
        scenarios=["server"],
        rates=rates,
        policies=POLICIES,
        requests=options.requests,
        out=folder / f"{model}-server",
        **common,
    ).path
    closed_loop("after")
    with open_run(server) as dataset:
        rows = cell_rows(dataset)
    for row in rows:
        yield line(row, predict(loops, row))


def predict(loops: "list[ServiceCurve]", row: CellRow) -> list[Outcome]:
    """Simulate a server on every repetition of the closed loops."""
    traffic = dict(row.cell.traffic)
    arrivals, rate_hz = parse_arrivals(traffic["arrivals"]), float(traffic["rate"])
    drawn = draw_traffic(arrivals, rate_hz, SIMULATED, seed=1)
    policy = parse_policy(traffic["policy"])
    found = [
        simulated(drawn, policy, curve, one, idle=one.idle_w is not None)
        for curve in loops
        for one in curve.blocks.values()
    ]
    return [outcome for outcome in found if outcome is not None]


def line(row: CellRow, outcomes: list[Outcome]) -> tuple[str, ...]:
    """Put prediction beside measurement."""
    traffic = dict(row.cell.traffic)
    entries = [row.cell.model, traffic["rate"], traffic["policy"]]
    by_number = dict(enumerate(outcomes))
    for name, measured, unit in (
        ("mean_s", row.response_mean_s, "s"),
        ("p99_s", row.response_p99_s, "s"),
        ("energy_j", row.energy_per_image_j, "J"),
    ):
        values = figures(by_number, name).values()
        if measured is None or not values:
            entries += ["unknown", "unknown", ""]
            continue
        wanted = fmean(values)
        entries += [units.si(wanted, unit), units.si(measured.centre, unit)]
        entries.append(f"{measured.centre / wanted:.2f}")
    flags = [name for name, count in row.flags.items() if count]
    return (*entries, f"{row.ok}/{row.planned} {' '.join(flags)}".strip())


if __name__ == "__main__":
    main()
