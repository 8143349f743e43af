"""How a server is to run batches of many sizes where each change of size is planned anew.

ONNX Runtime's CUDA provider plans every convolution again when a batch has another size than the
one before. Here the queue is simulated, and a session charges a plan at each change of shape, as
that provider does. The ways to run a batch are compared on the same arrivals. The table in
docs/serving.md is made by this.

The times are those that users report of one network on an H200 with ONNX Runtime 1.29: a run of
4.9 ms, and two shapes in turn at 16.5 ms (HEURISTIC) or 142 ms each (EXHAUSTIVE).

    python benchmarks/server_batches.py [--requests 4000] [--plan-ms 11.6] [--image-ms 0.5]
"""

import argparse
from dataclasses import dataclass, field

import numpy as np

from greenbatch.queueing.arrivals import parse_arrivals
from greenbatch.queueing.policies import parse_policy
from greenbatch.queueing.simulation import simulate

RUN_S = 0.0049  # of one image
POLICIES = ("greedy:16", "dynamic:16:5ms", "greedy:64")
LOADS = (0.2, 0.5, 0.8)  # of the rate that full batches sustain


@dataclass
class Sessions:
    """A network that is loaded once or several times; counts its plans.

    Attributes:
        sizes: Those that it is loaded for; a batch is padded to the next of them.
        apart: Whether each has a session of its own.
        plan_s: What a change of shape costs.
        image_s: What an image more costs.
    """

    sizes: list[int]
    apart: bool
    plan_s: float
    image_s: float
    plans: int = 0
    images: int = 0
    _last: dict[int, int] = field(default_factory=dict)

    @property
    def loaded(self) -> int:
        return len(self.sizes) if self.apart else 1

    @property
    def held(self) -> float:
        """Activations that arenas hold, in those of the largest batch."""
        return sum(self.sizes) / self.sizes[-1] if self.apart else 1.0

    def warm(self) -> float:
        """Run each size twice; return how long it takes, in s."""
        taken_s = sum(self.run(size) for size in self.sizes for _ in range(2))
        self.plans = self.images = 0
        return taken_s

    def run(self, wanted: int) -> float:
        """Run a batch; return how long it takes, in s."""
        size = next(size for size in self.sizes if size >= wanted)
        session = size if self.apart else 0
        planned = self._last.get(session) != size
        self._last[session] = size
        self.plans += planned
        self.images += size
        return RUN_S + self.image_s * (size - 1) + self.plan_s * planned


def ways(largest: int, plan_s: float, image_s: float) -> dict[str, Sessions]:
    """Return the ways to run batches of up to ``largest`` images."""
    every = list(range(1, largest + 1))
    powers = [1 << power for power in range(largest.bit_length()) if 1 << power < largest]
    steps = [*powers, largest]
    halves = sorted({*steps, *(3 * power // 2 for power in powers[1:])})
    halves = [size for size in halves if size <= largest]

    def made(sizes: list[int], *, apart: bool) -> Sessions:
        return Sessions(sizes, apart, plan_s, image_s)

    return {
        "one session, each size as it is": made(every, apart=False),
        "one session, padded to powers of two": made(steps, apart=False),
        "one session, padded to the largest": made([largest], apart=False),
        "a session for each power of two, padded": made(steps, apart=True),
        "the same, and half-way between": made(halves, apart=True),
        "a session for each size": made(every, apart=True),
    }


def row(sessions: Sessions, policy: str, load: float, requests: int) -> list[str]:
    """Serve requests; return what is printed of it."""
    chosen = parse_policy(policy)
    full_s = RUN_S + sessions.image_s * (chosen.largest - 1)
    rate_hz = load * chosen.largest / full_s
    warm_s = sessions.warm()
    arrivals_s = parse_arrivals("poisson").times(rate_hz, seed=1, count=requests)
    served = simulate(arrivals_s, chosen, sessions.run)
    response_s = served.response_s
    duration_s = float(served.batch_end_s[-1])
    return [
        f"{sessions.plans / len(served.batch_size):.0%}",
        f"{sessions.plans * sessions.plan_s / duration_s:.0%}",
        f"{1e3 * float(np.mean(response_s)):.1f}",
        f"{1e3 * float(np.quantile(response_s, 0.99)):.1f}",
        f"{sessions.images / requests:.2f}",
        f"{sessions.loaded}",
        f"{sessions.held:.1f}",
        f"{warm_s:.2f}",
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--requests", type=int, default=4000)
    parser.add_argument("--plan-ms", type=float, default=11.6)
    parser.add_argument("--image-ms", type=float, default=0.5)
    given = parser.parse_args()
    heads = ["policy", "load", "way", "batches planned", "time planning", "mean, ms", "p99, ms"]
    heads += ["images computed / request", "weights held", "activations held", "warm-up, s"]
    _show(heads)
    _show(["---"] * len(heads))
    for policy in POLICIES:
        for load in LOADS:
            largest = parse_policy(policy).largest
            compared = ways(largest, given.plan_ms / 1e3, given.image_ms / 1e3)
            for name, sessions in compared.items():
                found = row(sessions, policy, load, given.requests)
                _show([f"`{policy}`", f"{load:g}", name, *found])


def _show(cells: list[str]) -> None:
    print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
