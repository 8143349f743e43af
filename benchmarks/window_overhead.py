"""How much the tool itself costs a measurement.

Two questions, answered on this machine:

1. Is a cell as fast as a bare loop of its runtime? The same network is run by the backend inside
   the offline scenario's window, and by a loop that a user of the runtime would write, turn by
   turn in one process; the ratio of their throughputs is printed. There are several processes for
   each backend, as where its memory lies makes one network faster than its twin by a percent.
2. How much of a run's wall time is inside measured windows? From the journal of a real run, with
   where the rest went.

    python benchmarks/window_overhead.py [--rounds 40] [--processes 4] [--run RUN]
"""

import argparse
import contextlib
import gc
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import scipy.stats

from greenbatch import units
from greenbatch.models import inputs, registry
from greenbatch.models.artifacts import Artifact, load_artifact
from greenbatch.models.build import build
from greenbatch.records import Cell, parse
from greenbatch.runners import backends
from greenbatch.runners.host.cores import default_threads
from greenbatch.runners.run.repetition import probe
from greenbatch.runners.scenarios import offline
from greenbatch.workflows.inference import bench

MODEL = "shufflenet_v2_x0_5"
BATCH_SIZES = (1, 16)
TURN_S = 0.5
CALM_S = 0.02  # the other side's threads go on spinning for a while after its turn

Run = Callable[[], Any]


def main() -> None:
    """Print both answers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=40, help="turns of each side in a process")
    parser.add_argument("--processes", type=int, default=4, help="for each backend")
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"))
    parser.add_argument("--run", type=Path, help="take the shares from this run's journal")
    parser.add_argument("--compare", choices=BARE, help="print the ratios of this one as JSON")
    parser.add_argument(
        "--bare-first", action="store_true", help="make the bare loop's network first"
    )
    parser.add_argument("--backend", choices=BARE, help="this one alone")
    options = parser.parse_args()
    if options.compare:
        artifact = load_artifact(options.artifacts, MODEL, "fp32")
        ratios = [
            compare(options.compare, artifact, size, options.rounds, options.bare_first)
            for size in BATCH_SIZES
        ]
        print(json.dumps(ratios))
        return

    with tempfile.TemporaryDirectory() as folder:
        run = (
            options.run
            or bench(
                [MODEL, "alexnet"],
                providers=["cpu"],
                batch_sizes=[1, 8],
                repetitions=2,
                artifacts_dir=options.artifacts,
                out=Path(folder) / "run",
            ).path
        )
        journal = parse((run / "journal.jsonl").read_bytes())

    print(f"{MODEL}: throughput of a cell over that of the runtime's own bare loop", flush=True)
    for name in [options.backend] if options.backend else BARE:
        if reason := probe(name):
            print(f"  {name}: not compared, {reason}")
            continue
        print_ratios(name, options.artifacts, options.rounds, options.processes)

    phases: dict[str, float] = {"rest": 0.0}
    for repetition in journal.repetitions:
        for name, seconds in repetition.phases_s.items():
            phases[name] = phases.get(name, 0.0) + seconds
        phases["rest"] += repetition.conditions.rest_s
    rest_s, wall_s = phases.pop("rest"), phases.pop("wall")
    phases["idle, meters, less imports during the rests"] = wall_s - sum(phases.values())
    print(
        f"share of a run's {units.duration(wall_s)} (all its repetitions; the {rest_s:.0f} s of "
        "rests that the protocol asks for are not counted)"
    )
    reported_s = sum(phases[name] for name in ("load", "first", "window"))
    print(
        f"  in windows whose energy is reported, of the start or steady: {reported_s / wall_s:.1%}"
    )
    for name, seconds in sorted(phases.items(), key=lambda item: -item[1]):
        print(f"  {name:45} {seconds / wall_s:6.1%}")


def print_ratios(backend: str, artifacts: Path, rounds: int, processes: int) -> None:
    """Print a backend's ratios, a line for each batch size."""
    command = [sys.executable, __file__, "--compare", backend, "--rounds", str(rounds)]
    command += ["--artifacts", str(artifacts)]
    answers = []
    for process in range(processes):
        # torch.compile shares what it compiled within a process: the cell is to compile its own.
        bare_first = process % 2 and "compile" not in backend
        order = ["--bare-first"] if bare_first else []
        answer = subprocess.run([*command, *order], check=True, stdout=subprocess.PIPE).stdout
        answers.append(json.loads(answer.splitlines()[-1]))
    for number, batch_size in enumerate(BATCH_SIZES):
        ratios = [ratio for process in answers for ratio in process[number][0]]
        bare_s = median(process[number][1] for process in answers)
        low, high = scipy.stats.bootstrap((ratios,), np.median, rng=0).confidence_interval
        print(
            f"  {backend:18} batch {batch_size:2}: median {median(ratios):.3f} (95 % interval "
            f"{low:.3f} to {high:.3f}) over {len(ratios)} interleaved turns of {TURN_S} s in "
            f"{processes} processes, {bare_s * 1e3:.3g} ms an iteration",
            flush=True,
        )


def compare(
    backend: str, artifact: Artifact, batch_size: int, rounds: int, bare_first: bool
) -> tuple[list[float], float]:
    """Return, turn by turn, the cell's throughput over the bare loop's; and the latter's latency.

    The latency is the median of the bare loop's means, in s.
    """
    images = inputs.synthetic_images(registry.find(MODEL), batch_size, seed=0)
    threads = default_threads()
    task = backends.Task(
        cell=Cell(MODEL, backend, batch_size=batch_size),
        artifact=artifact.path,
        weights=artifact.weights_path,
        manifest=artifact.manifest,
        threads=threads,
        images=images,
    )
    with contextlib.ExitStack() as stack:
        bare = BARE[backend](artifact, images, threads, stack) if bare_first else None
        cell = backends.resolve(backends.find(backend))(task)
        cell.run()
        bare = bare or BARE[backend](artifact, images, threads, stack)
        sides = {
            "cell": lambda seconds: _cell_throughput(cell, seconds),
            "bare": lambda seconds: _bare_throughput(bare, seconds),
        }
        ratios, latencies_s = [], []
        for turn in range(rounds):
            speed = {}
            for side in ("cell", "bare") if turn % 2 else ("bare", "cell"):
                time.sleep(CALM_S)
                sides[side](0.0)  # warm again
                speed[side] = sides[side](TURN_S)
            ratios.append(speed["cell"] / speed["bare"])
            latencies_s.append(1 / speed["bare"])
    return ratios, median(latencies_s)


def _cell_throughput(cell: backends.Backend, seconds: float) -> float:
    window = offline.measure(cell.run, time.perf_counter, seconds, 2)
    return len(window.latencies_s) / (window.end_s - window.start_s)


def _bare_throughput(run: Run, seconds: float) -> float:
    gc.collect()  # as the cell does: both begin with caches as cold
    count = 0
    began = time.perf_counter()
    while time.perf_counter() - began < seconds or count < 2:
        run()
        count += 1
    return count / (time.perf_counter() - began)


def _bare_onnxruntime(
    artifact: Artifact, images: np.ndarray, threads: int, stack: contextlib.ExitStack
) -> Run:
    """Make what a user of ONNX Runtime would call: ``run_with_iobinding`` and nothing else."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(str(artifact.path), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_cpu_input(session.get_inputs()[0].name, images)
    binding.bind_output(session.get_outputs()[0].name, "cpu")
    return lambda: session.run_with_iobinding(binding)


def _bare_torch(
    artifact: Artifact, images: np.ndarray, threads: int, stack: contextlib.ExitStack
) -> Run:
    """Make what a user of torch would call: the module, in inference mode."""
    import torch
    from safetensors.torch import load_file

    torch.set_num_threads(threads)
    module = build(registry.find(MODEL))
    module.load_state_dict(load_file(artifact.weights_path))
    batch = torch.from_numpy(images)
    stack.enter_context(torch.inference_mode())
    return lambda: module(batch)


def _bare_compiled(
    artifact: Artifact, images: np.ndarray, threads: int, stack: contextlib.ExitStack
) -> Run:
    """Make what a user of torch.compile would call."""
    import torch
    from safetensors.torch import load_file

    torch.set_num_threads(threads)
    module = build(registry.find(MODEL))
    module.load_state_dict(load_file(artifact.weights_path))
    batch = torch.from_numpy(images)
    stack.enter_context(torch.inference_mode())
    compiled = torch.compile(module, dynamic=False)
    compiled(batch)
    return lambda: compiled(batch)


def _bare_openvino(
    artifact: Artifact, images: np.ndarray, threads: int, stack: contextlib.ExitStack
) -> Run:
    """Make what a user of OpenVINO would call: one request, its input set once."""
    import openvino

    model = openvino.Core().read_model(artifact.path)
    model.reshape(images.shape)
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
    compiled = openvino.compile_model(model, "CPU", {**settings, "INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()
    request.set_input_tensor(openvino.Tensor(images, shared_memory=True))
    return lambda: request.infer(share_outputs=True)


BARE = {
    "onnxruntime-cpu": _bare_onnxruntime,
    "torch-cpu": _bare_torch,
    "torch-compile-cpu": _bare_compiled,
    "openvino-cpu": _bare_openvino,
}


if __name__ == "__main__":
    main()
