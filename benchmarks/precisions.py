"""What lower precision does to a network: fidelity, size and speed against fp32, on the CPU.

Random weights, so that anyone gets the same networks; ONNX Runtime's CPU provider. Speed is that
of turns in one process: fp32 and each other precision in an order that changes with every turn;
the median over turns of the ratio to fp32 of the same turn is printed, with the middle half.

    python benchmarks/precisions.py [MODEL ...] [--turns 15] [--images 64] [--trials]

``--trials`` adds other ways to quantise: what the choices in `exporter/precisions` rest on.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
from numpy.typing import NDArray

from greenbatch.errors import GreenbatchError
from greenbatch.exporter import export_model
from greenbatch.exporter.precisions import fidelity, half, int8
from greenbatch.exporter.precisions.calibration import COUNT, Images, draw_images
from greenbatch.exporter.precisions.rounded import write_rounded
from greenbatch.exporter.precisions.running import run
from greenbatch.models.artifacts import Artifact, load_artifact
from greenbatch.models.onnx_session import CPU, CRASHING
from greenbatch.models.registry import STUDY
from greenbatch.runners.host.cores import default_threads

BATCH_SIZE = 8
TURN_S = 0.5
CALM_S = 0.05  # the other session's threads go on spinning for a while after its turn
FLOATS = ("Softmax", "BatchNormalization", "LayerNormalization", "Gelu", "Gather")

Write = Callable[[Artifact, Path, Images], None]


@dataclass
class Row:
    """A line of the table."""

    way: str
    path: Path | None
    found: str
    seconds: float


def main() -> None:
    """Print a table for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=list(STUDY))
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--images", type=int, default=COUNT, help="to calibrate and to judge by")
    parser.add_argument("--trials", action="store_true", help="other ways to quantise too")
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"))
    options = parser.parse_args()
    for name in options.models or STUDY:
        export_model(name, options.artifacts, weights="random")
        artifact = load_artifact(options.artifacts, name)
        with tempfile.TemporaryDirectory() as folder:
            table(artifact, Path(folder), options.turns, options.images, trials=options.trials)


def ways(trials: bool) -> Mapping[str, Write]:
    """Return the ways to write a graph of lower precision, by name."""

    def quantise(method: str, **options: Any) -> Write:
        return lambda artifact, path, images: int8.write_int8(
            artifact.path, path, artifact.manifest.model, images, method, **options
        )

    def as_fp16(artifact: Artifact, path: Path, images: Images) -> None:
        half.write_half(artifact.path, path, artifact.manifest.model, "fp16")

    found: dict[str, Write] = {"fp16": as_fp16, "int8": quantise("minmax")}
    if not trials:
        return found
    from onnxruntime.quantization import QuantType

    return found | {
        "fp16, torch's half() exported": export_half,
        "int8, percentile": quantise("percentile"),
        "int8, entropy": quantise("entropy"),
        "int8, a scale for each tensor": quantise("minmax", per_channel=False),
        "int8, weights of 7 bits": quantise("minmax", reduce_range=True),
        "int8, signed activations": quantise("minmax", activation_type=QuantType.QInt8),
        "int8, what multiplies alone": quantise("minmax", operators=int8.MULTIPLYING),
        "int8, what lies between too": quantise("minmax", operators=int8.QUANTISED),
        "int8, normalisations too": quantise("minmax", operators=(*int8.QUANTISED, *FLOATS)),
        "int8, products of activations too": quantise("minmax", nodes_to_exclude=[]),
    }


def export_half(artifact: Artifact, path: Path, images: Images) -> None:
    """Export the module converted by torch, with float32 at both ends."""
    import torch
    from safetensors.torch import load_file

    from greenbatch.exporter.torch_to_onnx import write_graph
    from greenbatch.models import find
    from greenbatch.models.build import build

    spec = find(artifact.manifest.model)

    class Half(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = build(spec)
            self.inner.load_state_dict(load_file(artifact.weights_path))
            self.inner.half().eval()

        def forward(self, batch: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.inner(batch.half())
            return logits.float()

    write_graph(Half().eval(), spec, path)


def table(artifact: Artifact, folder: Path, turns: int, count: int, *, trials: bool) -> None:
    """Make every precision of a model, compare, time, and print."""
    name = artifact.manifest.model
    learnt, judged = draw_images(artifact.manifest.input, count=count)
    specs = artifact.manifest.outputs

    def compare(path: Path, precision: str, some: Images, *, optimise: bool = True) -> str:
        got = run(path, some, specs, name, optimise=optimise)
        wanted = run(artifact.path, some, specs, name)
        found = fidelity.compare(specs, name, wanted, got, precision, some)
        return (
            f"{found.max_abs:.2g} | {found.mean_abs:.2g} | {found.cosine:.5f} | "
            f"{found.top1_agreement:.1%}"
        )

    rows = [Row("fp32", artifact.path, "0 | 0 | 1 | 100%", artifact.manifest.export_s)]
    for index, (way, write) in enumerate(ways(trials).items()):
        path = folder / f"{index}.onnx"
        began = time.perf_counter()
        try:
            write(artifact, path, learnt)
            seconds = time.perf_counter() - began
            found = compare(path, way[:4], judged)
        except GreenbatchError as error:
            rows.append(Row(way, None, str(error), 0))
        else:
            rows.append(Row(way, path, found, seconds))
    speeds = interleave({row.way: row.path for row in rows if row.path}, judged, turns)
    print(
        f"\n{name}, batch {BATCH_SIZE}, {default_threads()} threads, {turns} turns, "
        f"{len(judged)} images\n"
    )
    print("| way | max error | mean error | lowest cosine | top-1 | MB | made in | speed |")
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        if row.path is None:
            print(f"| {row.way} | {row.found} |")
            continue
        low, middle, high = speeds[row.way]
        size = row.path.stat().st_size / 1e6
        print(
            f"| {row.way} | {row.found} | {size:.1f} | {row.seconds:.0f} s | {middle:.2f} "
            f"({low:.2f} to {high:.2f}) |",
            flush=True,
        )
    for precision in ("fp16", "bf16"):
        path = folder / f"rounded-{precision}.onnx"
        write_rounded(half.prepare(artifact.path, precision, name), path, precision)
        found = compare(path, precision, judged.first(16), optimise=False)
        print(f"| every result rounded to {precision} | {found} | | | |")
    print(f"| fp16: casts that ONNX Runtime adds | {added_casts(folder / '0.onnx', folder)} |")


def interleave(
    paths: Mapping[str, Path], images: Images, turns: int
) -> dict[str, tuple[float, float, float]]:
    """Return quartiles of each network's throughput over that of the first, turn by turn."""
    import onnxruntime as ort

    batch = images.pixels[:BATCH_SIZE]
    loops: dict[str, Callable[[float], float]] = {}
    for way, path in paths.items():
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.add_session_config_entry("optimization.disable_specified_optimizers", CRASHING)
        options.intra_op_num_threads = default_threads()
        session = ort.InferenceSession(str(path), options, providers=[CPU])
        loops[way] = _loop(session, batch)
    for loop in loops.values():
        loop(0.0)
    first = next(iter(loops))
    ratios: dict[str, list[float]] = {way: [] for way in loops}
    for turn in range(turns):
        order = list(loops)[:: 1 if turn % 2 else -1]
        speed = {}
        for way in order:
            time.sleep(CALM_S)
            loops[way](0.0)  # warm again
            speed[way] = loops[way](TURN_S)
        for way, value in speed.items():
            ratios[way].append(value / speed[first])
    return {way: _quartiles(values) for way, values in ratios.items()}


def _quartiles(values: list[float]) -> tuple[float, float, float]:
    if len(values) < 2:
        return (values[0],) * 3
    low, _, high = quantiles(values, n=4, method="inclusive")
    return low, median(values), high


def _loop(session: Any, batch: NDArray[np.float32]) -> Callable[[float], float]:
    name = session.get_inputs()[0].name

    def loop(seconds: float) -> float:
        count = 0
        began = time.perf_counter()
        while time.perf_counter() - began < seconds or count < 1:
            session.run(None, {name: batch})
            count += 1
        return count / (time.perf_counter() - began)

    return loop


def added_casts(path: Path, folder: Path) -> str:
    """Say how many casts and other nodes ONNX Runtime runs for a graph on the CPU."""
    import onnx
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("optimization.disable_specified_optimizers", CRASHING)
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    ort.InferenceSession(str(path), options, providers=[CPU])
    before = [node.op_type for node in onnx.load(path).graph.node]
    after = [node.op_type for node in onnx.load(folder / "optimised.onnx").graph.node]
    return f"{after.count('Cast') - before.count('Cast')} in {len(after)} nodes"


if __name__ == "__main__":
    main()
