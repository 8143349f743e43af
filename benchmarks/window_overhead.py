"""How much the tool itself costs a measurement.

Two questions, answered on this machine:

1. Is a cell as fast as a bare ONNX Runtime loop? The same artifact is run by `OnnxSession` inside
   the offline scenario's window, and by an ``InferenceSession.run_with_iobinding`` loop with
   nothing around it, turn by turn in one process; the ratio of their throughputs is printed.
2. How much of a run's wall time is inside measured windows? From the journal of a real run, with
   where the rest went.

    python benchmarks/window_overhead.py [--rounds 300] [--run RUN]
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import scipy.stats

from greenbatch import units
from greenbatch.models import inputs, registry
from greenbatch.models.artifacts import Artifact, load_artifact
from greenbatch.records import Cell, parse
from greenbatch.runners.backends import Task
from greenbatch.runners.backends.onnx_session import OnnxSession
from greenbatch.runners.cores import default_threads
from greenbatch.runners.scenarios import offline
from greenbatch.workflow import bench

MODEL = "shufflenet_v2_x0_5"
TURN_S = 0.1
CALM_S = 0.02  # the other session's threads go on spinning for a while after its turn


def main() -> None:
    """Print both answers."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300, help="turns of each side")
    parser.add_argument("--artifacts", type=Path, default=Path("artifacts"))
    parser.add_argument("--run", type=Path, help="take the shares from this run's journal")
    options = parser.parse_args()

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

    artifact = load_artifact(options.artifacts, MODEL, "fp32")
    print(f"{MODEL}: throughput of a cell over that of a bare run_with_iobinding loop")
    for batch_size in (1, 8):
        ratios = compare(artifact, batch_size, options.rounds)
        low, high = scipy.stats.bootstrap((ratios,), np.median, rng=0).confidence_interval
        print(
            f"  batch {batch_size}: median {median(ratios):.3f} (95 % interval {low:.3f} to "
            f"{high:.3f}) over {len(ratios)} interleaved turns of {TURN_S} s"
        )

    phases: dict[str, float] = {"rest": 0.0}
    for repetition in journal.repetitions:
        for name, seconds in repetition.phases_s.items():
            phases[name] = phases.get(name, 0.0) + seconds
        phases["rest"] += repetition.conditions.rest_s
    wall_s = phases.pop("wall") + phases["rest"]
    phases["idle, meters, the rest"] = wall_s - sum(phases.values())
    print(f"share of a run's {units.duration(wall_s)} (profile of the run, all its repetitions)")
    for name, seconds in sorted(phases.items(), key=lambda item: -item[1]):
        print(f"  {name:24} {seconds / wall_s:6.1%}")


def compare(artifact: Artifact, batch_size: int, rounds: int) -> list[float]:
    """Return, turn by turn, the cell's throughput over the bare loop's."""
    images = inputs.synthetic_images(registry.find(MODEL), batch_size, seed=0)
    threads = default_threads()
    task = Task(
        cell=Cell(MODEL, "onnxruntime-cpu", batch_size=batch_size),
        artifact=artifact.path,
        weights=artifact.weights_path,
        manifest=artifact.manifest,
        threads=threads,
        images=images,
    )
    cell = OnnxSession(task)
    bare = _bare_loop(artifact, images, threads)
    sides = {"cell": lambda seconds: _cell_throughput(cell, seconds), "bare": bare}
    ratios = []
    for turn in range(rounds):
        speed = {}
        for side in ("cell", "bare") if turn % 2 else ("bare", "cell"):
            time.sleep(CALM_S)
            sides[side](0.0)  # warm again
            speed[side] = sides[side](TURN_S)
        ratios.append(speed["cell"] / speed["bare"])
    return ratios


def _cell_throughput(cell: OnnxSession, seconds: float) -> float:
    window = offline.measure(cell.run, time.perf_counter, seconds, 2)
    return len(window.latencies_s) / (window.end_s - window.start_s)


def _bare_loop(artifact: Artifact, images: np.ndarray, threads: int) -> Callable[[float], float]:
    """Make the loop that a user would write: nothing around ``run_with_iobinding``."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(str(artifact.path), options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    binding.bind_cpu_input(session.get_inputs()[0].name, images)
    binding.bind_output(session.get_outputs()[0].name, "cpu")

    def loop(seconds: float) -> float:
        count = 0
        began = time.perf_counter()
        while time.perf_counter() - began < seconds or count < 2:
            session.run_with_iobinding(binding)
            count += 1
        return count / (time.perf_counter() - began)

    return loop


if __name__ == "__main__":
    main()
