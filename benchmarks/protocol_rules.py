"""How well the protocol's two rules decide: when a cell is warm, and when it was repeated enough.

Runs the rules on synthetic series whose truth is known, and prints the tables of docs/method.md.

    python benchmarks/protocol_rules.py [--samples 2000] [--only warm-up|stopping]
"""

import argparse
import math
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from greenbatch.design.protocol import PROFILES, MeasurementProtocol
from greenbatch.records import WarmUp
from greenbatch.runners.scenarios import offline
from greenbatch.runners.scheduling.stopping import half_width

Array = NDArray[np.float64]
TARGET = 0.02
MOST = 30
FEWEST = (3, 5, 8)
REPETITIONS = 5
WARM_UPS = ("standard", "rigorous")
LATENCY_S = 0.02

LEVELS: Mapping[str, Callable[[float], float]] = {
    "steady": lambda t: 1.0,
    "fast warm-up: +100 %, e-fold 0.3 s": lambda t: 1 + math.exp(-t / 0.3),
    "slow warm-up: +30 %, e-fold 3 s": lambda t: 1 + 0.3 * math.exp(-t / 3),
    "slower warm-up: +30 %, e-fold 10 s": lambda t: 1 + 0.3 * math.exp(-t / 10),
    "step: -20 % after 0.8 s": lambda t: 1.25 if t < 0.8 else 1.0,
    "step: +20 % after 4 s": lambda t: 1 / 1.2 if t < 4 else 1.0,
    "drift: +2 % a second, for 15 s": lambda t: (1 + 0.02 * min(t, 15)) / 1.3,
    "bimodal: 20 % apart, each iteration": lambda t: 1.0,
    "bimodal: 20 % apart, for 1 s each": lambda t: 1.0,
}
"""Latency over the level where it ends, as a function of the time since the load, in s."""


class Machine:
    """A backend on a clock of its own, whose latencies follow a level, with noise."""

    def __init__(self, case: str, random: np.random.Generator, noise: float = 0.03) -> None:
        self.now_s = 0.0
        self._level = LEVELS[case]
        self._random, self._noise = random, noise
        self._stays_s = {"each iteration": 0.0, "for 1 s each": 1.0}.get(case.rpartition(", ")[2])
        self._mode, self._until_s = 1.0, 0.0
        self._own = random.lognormal(0, 0.01)  # what a repetition has to itself

    def clock(self) -> float:
        """Return the time, in s."""
        return self.now_s

    def run(self) -> None:
        """Take as long as a batch does."""
        if self._stays_s is not None and self.now_s >= self._until_s:
            self._mode = 0.9 if self._random.random() < 0.5 else 1.1
            self._until_s = self.now_s + self._random.exponential(self._stays_s)
        level = self._level(self.now_s) * self._mode * self._own
        self.now_s += LATENCY_S * level * self._random.lognormal(0, self._noise)


def measured(
    case: str, protocol: MeasurementProtocol, random: np.random.Generator
) -> tuple[WarmUp, Array]:
    """Warm a machine up by the protocol's rule; return that, and the latencies of its window."""
    machine = Machine(case, random)
    machine.run()
    warm_up = offline.warm_up(machine.run, machine.clock, protocol, machine.now_s)
    stamps = [machine.now_s]
    while stamps[-1] < stamps[0] + protocol.window_s:
        machine.run()
        stamps.append(machine.now_s)
    return warm_up, np.diff(stamps)


def flagged(warm_up: WarmUp, latencies: Array, tolerance: float) -> bool:
    """Whether a repetition is flagged as unsteady, as `greenbatch.runners.child.jobs` does."""
    first, second = (float(np.median(half)) for half in np.array_split(latencies, 2))
    drifts = abs(second - first) > tolerance * float(np.median(latencies))
    return drifts or not warm_up.settled


def warm_ups(samples: int) -> None:
    """Print how often the warm-up ends too early, and what comes of it, for each profile."""
    print("| latencies | warm-up, s | window off | too early | and flagged | flagged | coverage |")
    print("|:--|:-:|:-:|:-:|:-:|:-:|:-:|")
    for case in LEVELS:
        rows = [_warmed(case, PROFILES[name], samples) for name in WARM_UPS]
        print(f"| {case} | {' | '.join(map(' / '.join, zip(*rows, strict=True)))} |", flush=True)


def _warmed(case: str, protocol: MeasurementProtocol, samples: int) -> list[str]:
    tolerance = protocol.steady_tolerance
    random = np.random.default_rng(0)
    found = [measured(case, protocol, random) for _ in range(samples)]
    means = np.array([latencies.mean() for _, latencies in found]) / LATENCY_S
    doubted = np.array([flagged(*each, tolerance) for each in found])
    early = np.abs(means - 1) > tolerance
    lengths_s = [warm_up.duration_s for warm_up, _ in found]
    groups = means[: samples // REPETITIONS * REPETITIONS].reshape(-1, REPETITIONS)
    return [
        f"{np.median(lengths_s):.1f}",
        f"{np.median(means) - 1:+.1%}",
        f"{early.mean():.0%}",
        f"{(early & doubted).mean():.0%}",
        f"{doubted.mean():.0%}",
        f"{np.mean([holds(group, 0.0) for group in groups]):.0%}",
    ]


def holds(values: Sequence[float] | Array, truth: float) -> bool:
    """Whether the interval of the geometric mean holds ``truth``, a logarithm."""
    width = half_width(list(values))
    assert width is not None
    return abs(float(np.log(values).mean()) - truth) <= math.log1p(width)


def normal(spread: float) -> Callable[[np.random.Generator, int], Array]:
    """Independent repetitions."""
    return lambda random, samples: random.normal(0, spread, (samples, MOST))


def together(random: np.random.Generator, samples: int) -> Array:
    """Each repetition correlated by 0.5 with the one before, spread of 2 %."""
    series = random.normal(0, 0.02, (samples, MOST))
    for i in range(1, MOST):
        series[:, i] = 0.5 * series[:, i - 1] + math.sqrt(0.75) * series[:, i]
    return series


def drifting(random: np.random.Generator, samples: int) -> Array:
    """Spread of 1 %, and 0.2 % more with each block."""
    return random.normal(0, 0.01, (samples, MOST)) + 0.002 * np.arange(MOST)


def step(random: np.random.Generator, samples: int) -> Array:
    """Spread of 1 %, 5 % more from the seventh block on."""
    return random.normal(0, 0.01, (samples, MOST)) + 0.05 * (np.arange(MOST) >= 6)


def bimodal(share: float) -> Callable[[np.random.Generator, int], Array]:
    """Spread of 0.5 %, and a share of the repetitions 6 % higher."""
    return lambda random, samples: np.asarray(
        random.normal(0, 0.005, (samples, MOST)) + 0.06 * (random.random((samples, MOST)) < share)
    )


def disturbed(random: np.random.Generator, samples: int) -> Array:
    """Exponential, 5 % above a floor."""
    return np.asarray(np.log1p(random.exponential(0.05, (samples, MOST))))


SERIES: Mapping[str, tuple[Callable[[np.random.Generator, int], Array], float]] = {
    "independent, 1 %": (normal(0.01), 0.0),
    "independent, 2 %": (normal(0.02), 0.0),
    "independent, 4 %": (normal(0.04), 0.0),
    "bimodal: half are 6 % higher": (bimodal(0.5), 0.03),
    "bimodal: a fifth is 6 % higher": (bimodal(0.2), 0.012),
    "tailed: 5 % above a floor": (disturbed, 0.0477),
    "correlated by 0.5, 2 %": (together, 0.0),
    "drift: 0.2 % a block, 30 blocks": (drifting, 0.029),
    "step: 5 % from block 7 of 30 on": (step, 0.04),
}
"""Logarithms of the energy per image, and the mean over all `MOST` blocks that they have."""


def stopping(samples: int) -> None:
    """Print the coverage of intervals at which the sequential rule stopped."""
    columns = "".join(f" from {n} on |" for n in FEWEST)
    print(f"| repetitions | always {REPETITIONS} |{columns} repetitions taken |")
    print("|:--|:-:|" + ":-:|" * len(FEWEST) + ":-:|")
    for case, (draw, truth) in SERIES.items():
        logs = draw(np.random.default_rng(0), samples)
        entries = [f"{np.mean([holds(np.exp(x[:REPETITIONS]), truth) for x in logs]):.0%}"]
        taken = []
        for fewest in FEWEST:
            counts = [stops(np.exp(x), fewest) for x in logs]
            ends = list(zip(logs, counts, strict=True))
            held = np.mean([holds(np.exp(x[:n]), truth) for x, n in ends])
            off = np.mean([abs(x[:n].mean() - truth) > math.log1p(TARGET) for x, n in ends])
            entries.append(f"{held:.0%} ({off:.0%})")
            taken.append(f"{np.mean(counts):.1f}")
        print(f"| {case} | {' | '.join(entries)} | {' / '.join(taken)} |", flush=True)


def stops(values: Array, fewest: int) -> int:
    """Return after how many repetitions the rule stops."""
    for count in range(fewest, MOST):
        if (width := half_width(list(values[:count]))) is not None and width <= TARGET:
            return count
    return MOST


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--only", choices=("warm-up", "stopping"))
    options = parser.parse_args()
    started = time.monotonic()
    if options.only != "stopping":
        warm_ups(options.samples)
        print()
    if options.only != "warm-up":
        stopping(options.samples)
    print(f"\n{options.samples} samples each, {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
