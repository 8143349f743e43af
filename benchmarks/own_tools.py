"""Throughput of a cell against that of the runtime's own benchmark tool, on the same artifact.

OpenVINO's `benchmark_app` and a cell of `openvino-cpu` take turns, each in a process of its own,
with the same hint, one request at a time, fp32 and a thread for each core. The ratio is the cell's
throughput over the tool's, median over rounds. ONNX Runtime's `onnxruntime_perf_test` is not in its
wheels.

    python benchmarks/own_tools.py [MODEL ...] [--rounds 10] [--artifacts artifacts]
"""

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import scipy.stats

from greenbatch.models import inputs, registry
from greenbatch.models.artifacts import Artifact, load_artifact
from greenbatch.records import Cell
from greenbatch.runners import backends
from greenbatch.runners.host.cores import default_threads
from greenbatch.runners.scenarios import offline

MODELS = ("shufflenet_v2_x0_5", "alexnet")
BATCH_SIZES = (1, 16)
SECONDS = 4
BACKEND = "openvino-cpu"
# The tool asks for consent to telemetry and sends it: it is kept from being imported.
TOOL = """
import sys
sys.modules["openvino_telemetry"] = None
from openvino.tools.benchmark.main import main
main()
"""


def main() -> None:
    """Print a line for each model and batch size."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"))
    parser.add_argument("--cell", type=int, help="run the cell of this batch size, print its rate")
    options = parser.parse_args()
    if options.cell:
        artifact = load_artifact(options.artifacts, options.models[0], "fp32")
        print(json.dumps(cell_rate(artifact, options.models[0], options.cell)))
        return
    for model in options.models:
        artifact = load_artifact(options.artifacts, model, "fp32")
        for size in BATCH_SIZES:
            print_ratio(artifact, model, size, options)


def print_ratio(artifact: Artifact, model: str, size: int, options: argparse.Namespace) -> None:
    """Let the two take turns."""
    command = [sys.executable, __file__, model, "--cell", str(size)]
    command += ["--artifacts", str(options.artifacts)]
    sides: dict[str, Callable[[], float]] = {
        "cell": lambda: float(json.loads(_output(command).splitlines()[-1])),
        "tool": lambda: tool_rate(artifact, size),
    }
    ratios = []
    for number in range(options.rounds):
        order = ("cell", "tool") if number % 2 else ("tool", "cell")
        rates = {side: sides[side]() for side in order}
        ratios.append(rates["cell"] / rates["tool"])
    low, high = scipy.stats.bootstrap(
        (ratios,), median, rng=0, vectorized=False
    ).confidence_interval
    print(
        f"{model} at batch {size} on {BACKEND}: {median(ratios):.3f} (95 % interval {low:.3f} to "
        f"{high:.3f}) of benchmark_app's throughput, {options.rounds} rounds of {SECONDS} s",
        flush=True,
    )


def cell_rate(artifact: Artifact, model: str, size: int) -> float:
    """Run a cell as a repetition does; return its throughput in images/s."""
    task = backends.Task(
        cell=Cell(model, BACKEND, batch_size=size),
        artifact=artifact.path,
        weights=artifact.weights_path,
        manifest=artifact.manifest,
        threads=default_threads(),
        images=inputs.synthetic_images(registry.find(model), size, seed=0),
    )
    cell = backends.resolve(backends.find(BACKEND))(task)
    offline.measure(cell.run, time.perf_counter, 0.5, 3)
    window = offline.measure(cell.run, time.perf_counter, SECONDS, 3)
    return size * len(window.latencies_s) / (window.end_s - window.start_s)


def tool_rate(artifact: Artifact, size: int) -> float:
    """Run `benchmark_app`; return its throughput in images/s."""
    shape = ",".join(map(str, (size, *artifact.manifest.input.shape)))
    printed = _output(
        [
            *(sys.executable, "-c", TOOL, "-m", str(artifact.path), "-d", "CPU"),
            *("-hint", "latency", "-infer_precision", "f32"),
            *(
                "-api",
                "sync",
                "-nireq",
                "1",
                "-ip",
                "f32",
                "-shape",
                f"[{shape}]",
                "-t",
                str(SECONDS),
            ),
        ]
    )
    found = re.search(r"Throughput:\s+([\d.]+) FPS", printed)
    if found is None:
        raise SystemExit(f"benchmark_app reported no throughput:\n{printed}")
    return float(found.group(1))


def _output(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


if __name__ == "__main__":
    main()
