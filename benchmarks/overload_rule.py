"""How often the overload rule is wrong: false alarms and misses on simulated queues.

Poisson arrivals; the time of each batch is constant, or drawn from an exponential distribution. At
load 1 full batches just hold the rate. The table in docs/serving.md is made by this.

    python benchmarks/overload_rule.py [--runs 200]
"""

import argparse
from collections.abc import Callable

import numpy as np

from greenbatch.queueing.arrivals import parse_arrivals
from greenbatch.queueing.overload import load
from greenbatch.queueing.policies import Policy, parse_policy
from greenbatch.queueing.simulation import simulate

LOADS = (0.85, 0.95, 1.05, 1.2)
POLICIES = ("greedy:1", "fixed:16", "greedy:16")
LENGTHS = (500, 2000, 8000)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=200)
    runs = parser.parse_args().runs
    print("| policy | time of a batch | requests | " + " | ".join(map(str, LOADS)) + " |")
    print("|---|---|---|" + "---|" * len(LOADS))
    for policy in map(parse_policy, POLICIES):
        for kind in ("constant", "exponential"):
            for count in LENGTHS:
                shares = [
                    sum(_overloaded(rho, policy, kind, count, seed) for seed in range(runs)) / runs
                    for rho in LOADS
                ]
                cells = " | ".join(f"{100 * share:.0f} %" for share in shares)
                print(f"| `{policy.text}` | {kind} | {count} | {cells} |", flush=True)


def _overloaded(rho: float, policy: Policy, kind: str, count: int, seed: int) -> bool:
    arrivals_s = parse_arrivals("poisson").times(rho, seed=seed, count=count)
    draw = _draws(kind, count, seed)
    # Half of a full batch's time does not depend on how many requests are in it.
    half_s = 0.5 * policy.largest
    served = simulate(arrivals_s, policy, lambda size: draw() * (half_s + 0.5 * size))
    return load(served, policy.largest).overloaded


def _draws(kind: str, count: int, seed: int) -> Callable[[], float]:
    if kind == "constant":
        return lambda: 1.0
    rng = np.random.default_rng([seed, 1])
    factors: list[float] = rng.standard_exponential(count).tolist()
    return iter(factors).__next__


if __name__ == "__main__":
    main()
