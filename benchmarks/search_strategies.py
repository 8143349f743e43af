"""How many trials a strategy needs on surfaces whose optimum is known, over seeds.

Arrived is the first trial whose true value is within a bound of the optimum, whatever noise was on
what the strategy was given. A search that never arrives counts with its whole budget, which favours
the slower one. The table in docs/training.md is made by this.

    python benchmarks/search_strategies.py [--seeds 20] [--trials 100]
"""

import argparse
import math
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from greenbatch.analysis.statistics.intervals import ratio_of_runs
from greenbatch.design.training_study import Search
from greenbatch.runners.training.parent.search import TrialResult, propose

STRATEGIES = ("random", "grid", "tpe", "gp")
BRANIN_OPTIMUM = 0.397887


def branin(at: Mapping[str, str]) -> float:
    """Return how far Branin's function is below its optimum at ``x``, ``y``, upside down.

    Source: Branin, IBM Journal of Research and Development 16, 1972, with the usual constants.
    """
    x, y = float(at["x"]), float(at["y"])
    valley = y - 5.1 / (4 * math.pi**2) * x**2 + 5 / math.pi * x - 6
    value = valley**2 + 10 * (1 - 1 / (8 * math.pi)) * math.cos(x) + 10
    return BRANIN_OPTIMUM - value


def accuracy(at: Mapping[str, str]) -> float:
    """Return a made-up accuracy, less that of the best hyperparameters.

    It falls with the square of the decades from a learning rate of 0.003, and of the distance from
    a dropout of 0.3; one convolution costs 5 %.
    """
    decades = math.log10(float(at["learning_rate"]) / 0.003)
    away = float(at["dropout"]) - 0.3
    return -0.06 * decades**2 - 0.2 * away**2 - (0.05 if at["conv_layers"] == "1" else 0.0)


@dataclass(frozen=True)
class Surface:
    """A surface to be searched.

    Attributes:
        value: True value at a point, less the optimum.
        within: How near the optimum counts as arrived.
        noise: Standard deviation of what is added to the value that a strategy is given.
    """

    name: str
    value: Callable[[Mapping[str, str]], float]
    space: dict[str, Any]
    within: float
    noise: float = 0.0


_BRANIN_SPACE: dict[str, Any] = {
    "x": {"low": -5, "high": 10, "steps": 8},
    "y": {"low": 0, "high": 15, "steps": 8},
}
_ACCURACY_SPACE: dict[str, Any] = {
    "learning_rate": {"low": 1e-4, "high": 0.1, "log": True, "steps": 7},
    "dropout": {"low": 0.0, "high": 0.8, "steps": 5},
    "conv_layers": [1, 4],
}
SURFACES = (
    Surface("Branin", branin, _BRANIN_SPACE, within=0.5),
    Surface("Branin, noise 2", branin, _BRANIN_SPACE, within=0.5, noise=2.0),
    Surface("accuracy", accuracy, _ACCURACY_SPACE, within=0.002),
    Surface("accuracy, noise 0.005", accuracy, _ACCURACY_SPACE, within=0.002, noise=0.005),
)


def trials_until(surface: Surface, strategy: str, trials: int, seed: int) -> int | None:
    """Return how many trials a strategy needs to arrive; ``None``: more than it has."""
    search = Search(strategies=(strategy,), trials=trials, space=surface.space)  # type: ignore[arg-type]
    noise = random.Random(seed)
    results: list[TrialResult] = []
    while len(results) < trials:
        proposal = propose(search, strategy, results, seed)
        if proposal is None:
            return None
        value = surface.value(proposal)
        if value >= -surface.within:
            return len(results) + 1
        results.append(TrialResult(proposal, (value + noise.gauss(0, surface.noise),)))
    return None


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trials", type=int, default=100)
    asked = parser.parse_args()
    print("| surface | strategy | arrived | trials, geometric mean | to random | s a proposal |")
    print("|---|---|---|---|---|---|")
    for surface in SURFACES:
        needed: dict[str, dict[int, float]] = {}
        for strategy in STRATEGIES:
            began_s = time.perf_counter()
            found = [
                trials_until(surface, strategy, asked.trials, seed) for seed in range(asked.seeds)
            ]
            took_s = time.perf_counter() - began_s
            needed[strategy] = {
                seed: float(count or asked.trials) for seed, count in enumerate(found)
            }
            counts = list(needed[strategy].values())
            mean = math.exp(math.fsum(map(math.log, counts)) / len(counts))
            arrived = sum(count is not None for count in found)
            against = ratio_of_runs(needed[strategy].values(), needed["random"].values())
            ratio = (
                f"{against.centre:.2f} [{against.low:.2f}, {against.high:.2f}]"
                if against and strategy != "random"
                else "–"
            )
            print(
                f"| {surface.name} | `{strategy}` | {arrived}/{len(found)} | {mean:.1f} | {ratio} "
                f"| {took_s / sum(counts):.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
