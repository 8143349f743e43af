"""Forms of int8 on processors with and without int8 instructions: fidelity and speed.

Without VNNI, x86 processors add products of unsigned activations and signed weights by pairs in 16
bits, and saturate where both are large. This compares forms that do and do not. Each is judged on
this machine and, on the same images, under ``qemu-x86_64 -cpu Haswell`` (AVX2 alone; Debian's
package qemu-user). Speed is that of this machine: all forms in turns, in an order that changes
with each; the median over turns of the ratio to fp32, and to the form of artifacts up to manifest
schema 2 (U8S8), of the same turn is printed with the middle half. *To itself* is the lowest cosine
similarity to the same graph computed in float32: what a processor adds to the form's own error.

    python benchmarks/int8_processors.py [MODEL ...] [--turns 15] [--images 64]

Random weights, so that anyone gets the same networks; ONNX Runtime's CPU provider.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
from numpy.typing import NDArray

from greenbatch.exporter.precisions import int8
from greenbatch.exporter.precisions.calibration import COUNT, Images, draw_images
from greenbatch.exporter.precisions.running import run
from greenbatch.models.agreement import difference
from greenbatch.models.artifacts import Artifact, load_artifact
from greenbatch.models.instructions import instruction_set
from greenbatch.models.onnx_session import CPU
from greenbatch.models.registry import STUDY
from greenbatch.runners.host.cores import default_threads

EMULATOR = ("qemu-x86_64", "-cpu", "Haswell")
EMULATED = ("U8S8", "U8S8, weights of 7 bits", "U8U8", "U8S8, session.x64quantprecision")
SLOW = ("vit_b_16", "convnext_base")  # emulated, an image takes minutes
SLOW_IMAGES = 2
BATCH_SIZE = 8
TURN_S = 0.5
CALM_S = 0.05  # the other sessions' threads go on spinning for a while after their turn


@dataclass(frozen=True)
class Form:
    """A way to quantise: options of `int8.write_int8`, and entries of a session's options."""

    options: Mapping[str, Any]
    entries: Mapping[str, str] = field(default_factory=dict)


def forms() -> dict[str, Form]:
    """Return the forms by name; the first is that of artifacts up to schema 2."""
    from onnxruntime.quantization import QuantFormat, QuantType

    s8, u8 = QuantType.QInt8, QuantType.QUInt8

    def form(activations: Any, weights: Any, bits: int = 8, **others: Any) -> Form:
        types = {"activation_type": activations, "weight_type": weights}
        return Form({**types, "reduce_range": bits == 7, **others})

    found = {
        "U8S8": form(u8, s8),
        "U8S8, weights of 7 bits": form(u8, s8, 7),
        "the same, a scale for each tensor": form(u8, s8, 7, per_channel=False),
        "the same, QOperator": form(u8, s8, 7, quant_format=QuantFormat.QOperator),
        "S8S8": form(s8, s8),
        "S8S8, weights of 7 bits": form(s8, s8, 7),
        "U8U8": form(u8, u8),
    }
    precise = {"session.x64quantprecision": "1"}
    return found | {"U8S8, session.x64quantprecision": Form(found["U8S8"].options, precise)}


def main() -> None:
    """Print a table for each model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", nargs="*", default=list(STUDY))
    parser.add_argument("--turns", type=int, default=15)
    parser.add_argument("--images", type=int, default=COUNT, help="to calibrate and to judge by")
    parser.add_argument("--emulated-images", type=int, default=16, help="the first of them")
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"))
    parser.add_argument("--judge", type=Path, help="used by this program: judge what lies there")
    options = parser.parse_args()
    if options.judge:
        ways, count = json.load(sys.stdin)
        np.savez(options.judge / "emulated.npz", **judge(options.judge, ways, count))  # type: ignore[arg-type]
        return
    from greenbatch.exporter import export_model

    print(f"{processor()}; emulated: {' '.join(EMULATOR) if emulator() else 'no qemu-x86_64'}")
    for name in options.models:
        export_model(name, options.artifacts, weights="random")
        with tempfile.TemporaryDirectory() as folder:
            artifact = load_artifact(options.artifacts, name)
            table(artifact, Path(folder), options.turns, options.images, options.emulated_images)


def table(artifact: Artifact, folder: Path, turns: int, count: int, emulated_images: int) -> None:
    """Make every form of a model, judge and time it, and print."""
    name = artifact.manifest.model
    learnt, some = draw_images(artifact.manifest.input, count=count)
    (output,) = artifact.manifest.outputs
    np.save(folder / "images.npy", some.pixels)
    paths = {}
    for index, (way, form) in enumerate(forms().items()):
        paths[way] = folder / f"{index}.onnx"
        int8.write_int8(artifact.path, paths[way], name, learnt, **dict(form.options))
    fp32 = run(artifact.path, some, [output], name)[output.name]
    exact = {
        way: run(path, some, [output], name, optimise=False)[output.name]
        for way, path in paths.items()
    }
    here = judge(folder, paths, count)
    few = min(count, SLOW_IMAGES if name in SLOW else emulated_images)
    there = {}
    if emulator():
        ways = EMULATED[: 3 if name in SLOW else None]
        there = emulated(folder, {way: paths[way] for way in ways}, few)

    def figures(got: Mapping[str, NDArray[np.float32]], way: str) -> str:
        if way not in got:
            return " | "
        n = len(got[way])
        of, by_itself = difference(fp32[:n], got[way]), difference(exact[way][:n], got[way])
        return f"{of.cosine:.4f}, {of.top1_agreement:.0%} | {by_itself.cosine:.4f}"

    speeds = interleave(artifact.path, paths, some, turns)
    print(
        f"\n{name}: {count} images, emulated {few}; batch {BATCH_SIZE}, {default_threads()} "
        f"threads, {turns} turns\n"
    )
    print("| form | here | to itself | emulated | to itself | MB | speed to fp32 | to U8S8 |")
    print("|---|---|---|---|---|---|---|---|")
    for way, path in paths.items():
        print(
            f"| {way} | {figures(here, way)} | {figures(there, way)} "
            f"| {path.stat().st_size / 1e6:.1f} | {' | '.join(speeds[way])} |",
            flush=True,
        )


def judge(folder: Path, paths: Mapping[str, Path], count: int) -> dict[str, NDArray[np.float32]]:
    """Return each form's logits of the folder's first images, as this processor computes them."""
    images = np.load(folder / "images.npy")[:count]
    got = {}
    for way, path in paths.items():
        run = runner(path, forms()[way].entries)
        starts = range(0, count, BATCH_SIZE)
        got[way] = np.concatenate([run(images[start : start + BATCH_SIZE]) for start in starts])
    return got


def emulated(folder: Path, paths: Mapping[str, Path], count: int) -> dict[str, NDArray[np.float32]]:
    """Judge under the emulator."""
    asked = json.dumps([{way: str(path) for way, path in paths.items()}, count])
    command = [*EMULATOR, sys.executable, __file__, "--judge", str(folder)]
    subprocess.run(command, input=asked, text=True, stderr=subprocess.DEVNULL, check=True)
    with np.load(folder / "emulated.npz") as found:
        return dict(found)


def emulator() -> bool:
    """Say whether the emulator is there."""
    return shutil.which(EMULATOR[0]) is not None


def runner(path: str | Path, entries: Mapping[str, str]) -> Callable[[Any], Any]:
    """Open a session as a function of a batch."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = default_threads()
    for key, value in entries.items():
        options.add_session_config_entry(key, value)
    session = ort.InferenceSession(str(path), options, providers=[CPU])
    name = session.get_inputs()[0].name
    return lambda batch: session.run(None, {name: batch})[0]


def interleave(
    fp32: Path, paths: Mapping[str, Path], images: Images, turns: int
) -> dict[str, tuple[str, str]]:
    """Return each form's throughput over that of fp32 and of the first form, turn by turn."""
    batch = images.pixels[:BATCH_SIZE]
    runs = {"fp32": runner(fp32, {})}
    runs |= {name: runner(path, forms()[name].entries) for name, path in paths.items()}
    speeds: list[dict[str, float]] = []
    for turn in range(turns):
        speed = {}
        for name in list(runs)[:: 1 if turn % 2 else -1]:
            time.sleep(CALM_S)
            runs[name](batch)  # warm again
            speed[name] = rate(runs[name], batch)
        speeds.append(speed)
    first = next(iter(paths))
    return {
        name: (
            quartiles([speed[name] / speed["fp32"] for speed in speeds]),
            quartiles([speed[name] / speed[first] for speed in speeds]),
        )
        for name in paths
    }


def rate(run: Callable[[Any], Any], batch: NDArray[np.float32]) -> float:
    """Return batches per second over one turn."""
    count, began = 0, time.perf_counter()
    while time.perf_counter() - began < TURN_S or count < 1:
        run(batch)
        count += 1
    return count / (time.perf_counter() - began)


def quartiles(values: list[float]) -> str:
    """Write the median with the middle half."""
    if len(values) < 2:
        return f"{values[0]:.2f}"
    low, _, high = quantiles(values, n=4, method="inclusive")
    return f"{median(values):.2f} ({low:.2f} to {high:.2f})"


def processor() -> str:
    """Name this machine's processor."""
    text = Path("/proc/cpuinfo").read_text()
    model = next(line for line in text.splitlines() if line.startswith("model name"))
    return f"{model.partition(': ')[2]}, {instruction_set()}"


if __name__ == "__main__":
    main()
