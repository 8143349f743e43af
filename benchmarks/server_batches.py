"""How a server is to run batches of many sizes where each change of size is planned anew.

ONNX Runtime's CUDA provider plans every convolution again when a batch has another size than the
one before. The sessions are greenbatch's own, on a module that stands for ONNX Runtime
(tests/fakes/onnx_runtime.py) and reports a plan at each change of shape. The queue is simulated; a
batch takes the time of its images, and of the plan if there was one. The ways to run a batch get
the same arrivals. The table in docs/serving.md is made by this.

The times are those that a user reports of one network on an H200 with ONNX Runtime 1.29: a run of
4.9 ms, and of 16.5 ms where two shapes take turns (HEURISTIC; sgl-project/sglang-omni#2176).

    python benchmarks/server_batches.py [--requests 4000] [--plan-ms 11.6] [--image-ms 0.5]
"""

import argparse
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from greenbatch.queueing.arrivals import parse_arrivals  # noqa: E402
from greenbatch.queueing.policies import Policy, parse_policy  # noqa: E402
from greenbatch.queueing.simulation import simulate  # noqa: E402
from greenbatch.records import Cell  # noqa: E402
from greenbatch.runners.backends import Task, cuda_driver  # noqa: E402
from greenbatch.runners.backends.onnx_runtime.session import (  # noqa: E402
    OnnxSession,
    _one_convolution,
)
from greenbatch.runners.scenarios.batches import Batches  # noqa: E402
from tests.fakes.onnx_runtime import FakeOrt  # noqa: E402

RUN_S = 0.0049  # of one image
POLICIES = ("greedy:16", "dynamic:16:5ms", "greedy:64")
LOADS = (0.2, 0.5, 0.8)  # of the rate that full batches sustain

Run = Callable[[int], None]


@dataclass(frozen=True)
class Way:
    """A way to run batches of several sizes.

    Attributes:
        ort: What its sessions run on.
        run: Runs a batch of a size.
        sizes: Those that its sessions were warmed with.
    """

    ort: FakeOrt
    run: Run
    sizes: Sequence[int]

    @property
    def held(self) -> float:
        """Activations that all sessions hold, in those of the largest batch."""
        return sum(self.sizes) / max(self.sizes) if len(self.ort.sessions) > 1 else 1.0


def powers_of_two(largest: int) -> list[int]:
    """Return those below ``largest``, and it."""
    return [*(1 << power for power in range((largest - 1).bit_length())), largest]


def one_session(ort: FakeOrt, task: Task, sizes: Sequence[int]) -> Way:
    """Run each of these sizes on one session; others are padded to the next of them."""
    backend = OnnxSession(task)
    return Way(ort, _padded({size: backend.resized(size) for size in sizes}), sizes)


def apart(ort: FakeOrt, task: Task, sizes: Sequence[int]) -> Way:
    """Have a session for each of these sizes; others are padded to the next of them."""
    made = {size: OnnxSession(replace(task, images=task.images[:size])).run for size in sizes}
    return Way(ort, _padded(made), sizes)


def as_greenbatch_does(ort: FakeOrt, task: Task, sizes: Sequence[int]) -> Way:
    """Have what a cell has."""
    batches = Batches(OnnxSession(task), task, sizes)
    return Way(ort, batches.run, [int(size) for size in batches.padding.split(", ")])


def _padded(runs: Mapping[int, Callable[[], None]]) -> Run:
    return lambda wanted: runs[min(size for size in runs if size >= wanted)]()


def ways(network: Path, largest: int) -> dict[str, Way]:
    """Return the ways to run batches of up to ``largest`` images, each on a module of its own."""
    every = list(range(1, largest + 1))
    images = np.zeros((largest, 3, 2, 2), np.float32)
    ends = [SimpleNamespace(name=name, dims=("batch", 4)) for name in ("images", "logits")]
    manifest = cast("Any", SimpleNamespace(inputs=ends[:1], outputs=ends[1:]))
    cell = Cell("tiny", "onnxruntime-cuda", batch_size=largest)
    task = Task(cell, network, network, manifest, threads=1, images=images)
    found = {}
    for name, kind, sizes in (
        ("one session, each size as it is", one_session, every),
        ("one session, padded to powers of two", one_session, powers_of_two(largest)),
        ("one session, padded to the largest", one_session, [largest]),
        ("a session for each power of two", apart, powers_of_two(largest)),
        ("the same, and half-way between (greenbatch)", as_greenbatch_does, every),
        ("a session for each size", apart, every),
    ):
        ort = FakeOrt()
        sys.modules["onnxruntime"] = cast("Any", ort)
        found[name] = kind(ort, task, sizes)
    return found


def row(way: Way, policy: Policy, load: float, given: argparse.Namespace) -> list[str]:
    """Serve requests; return what is printed of it."""
    plan_s, image_s = float(given.plan_ms) / 1e3, float(given.image_ms) / 1e3
    full_s = RUN_S + image_s * (policy.largest - 1)

    def service(size: int) -> float:
        before = len(way.ort.plans)
        way.run(size)
        ran_s = RUN_S + image_s * (way.ort.ran[-1] - 1)
        return ran_s + plan_s * (len(way.ort.plans) - before)

    warm_s = sum(service(size) for size in way.sizes for _ in range(2))
    del way.ort.plans[:], way.ort.ran[:]
    rate_hz = load * policy.largest / full_s
    arrivals_s = parse_arrivals("poisson").times(rate_hz, seed=1, count=given.requests)
    served = simulate(arrivals_s, policy, service)
    plans, duration_s = len(way.ort.plans), float(served.batch_end_s[-1])
    return [
        f"{plans / len(served.batch_size):.0%}",
        f"{plans * plan_s / duration_s:.0%}",
        f"{1e3 * float(np.mean(served.response_s)):.1f}",
        f"{1e3 * float(np.quantile(served.response_s, 0.99)):.1f}",
        f"{sum(way.ort.ran) / given.requests:.2f}",
        f"{len(way.ort.sessions)}",
        f"{way.held:.1f}",
        f"{warm_s:.2f}",
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--plan-ms", type=float, default=11.6)
    parser.add_argument("--image-ms", type=float, default=0.5)
    given = parser.parse_args()
    cuda_driver.pin = lambda address, size_bytes: None  # there is no driver to ask
    heads = ["policy", "load", "way", "batches planned", "time planning", "mean, ms", "p99, ms"]
    heads += ["images computed / request", "weights held", "activations held", "warm-up, s"]
    _show(heads)
    _show(["---"] * len(heads))
    with tempfile.TemporaryDirectory() as folder:
        network = Path(folder, "tiny.onnx")
        network.write_bytes(_one_convolution())
        for policy in map(parse_policy, POLICIES):
            for load in LOADS:
                for name, way in ways(network, policy.largest).items():
                    found = row(way, policy, load, given)
                    _show([f"`{policy.text}`", f"{load:g}", name, *found])


def _show(cells: list[str]) -> None:
    print("| " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
