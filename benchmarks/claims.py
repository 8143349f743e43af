"""How often claims about many cells are false: 'best', 'dominated', 'knee', 'no difference', ...

Draws repetitions of cells whose truth is known, and prints the tables of docs/statistics.md.

    python benchmarks/claims.py [--samples 1000] [--only alike|gaps|unlike|one|power]
"""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from greenbatch.analysis.findings.verdicts import Side, Verdict, judge
from greenbatch.analysis.statistics.claims import (
    FRONT,
    front_codes,
    least,
    p_differ,
    picked_is_less,
)
from greenbatch.analysis.statistics.multiple_testing import holm
from greenbatch.analysis.tradeoffs.turning_points import is_knee, knee_at
from greenbatch.confidence import CONFIDENCE

Array = NDArray[np.float64]
Random = np.random.Generator
Claim = Callable[[Random, Array, Array], bool]

SIZES = (3, 5, 10)
CELLS = (4, 12, 60)
SPREAD, BLOCKS = 0.02, 0.05
THRESHOLD = 0.03
FALL = 0.5  # of a straight line over its batch sizes
NOISE: Mapping[str, str] = {
    "alike": "every cell varies by 2 %",
    "gaps": "the same, and a fifth of the repetitions is missing",
    "unlike": "the spreads of the cells differ: lognormal with a factor of 2 up or down",
    "one": "one cell varies by 10 %, the others by 2 %",
}


def drawn(random: Random, noise: str, cells: int, n: int) -> Array:
    """Draw figures of equal cells, shape (cell, block); blocks are 5 % apart for all of them."""
    spread = np.full((cells, 1), SPREAD)
    if noise == "unlike":
        spread *= random.lognormal(0, np.log(2), (cells, 1))
    if noise == "one":
        spread[0] *= 5
    values = np.exp(random.normal(0, 1, (cells, n)) * spread + random.normal(0, BLOCKS, n))
    if noise == "gaps":
        missing = random.random((cells, n)) < 0.2
        missing[:, 0] = False
        values[missing] = np.nan
    return np.asarray(values)


def dominated(random: Random, energy: Array, latency: Array) -> bool:
    """Whether any cell of a front is called dominated; energy is proportional to time."""
    return bool((front_codes([energy, energy]) == FRONT.index("dominated")).any())


def dominated_apart(random: Random, energy: Array, latency: Array) -> bool:
    """The same, energy and latency varying each by itself."""
    return bool((front_codes([energy, latency]) == FRONT.index("dominated")).any())


def best(random: Random, energy: Array, latency: Array) -> bool:
    """Whether a cell is called the best."""
    found = least(energy)
    return found is not None and found.shown


def best_of_two(random: Random, energy: Array, latency: Array) -> bool:
    """The same where two cells are least and the others far above: the worst case."""
    far = energy * np.where(np.arange(len(energy)) < 2, 1.0, 3.0)[:, None]
    return best(random, far, latency)


def saves(random: Random, energy: Array, latency: Array) -> bool:
    """Whether the best cell is claimed to save against the first one."""
    found = least(energy)
    return found is not None and found.best != 0 and picked_is_less(energy, found.best, 0)


def breaks_even(random: Random, energy: Array, latency: Array) -> bool:
    """Whether any cell is claimed to cost more or less per image than the first one."""
    first, *others = (_side(values).values for values in energy)
    return min(holm([p_differ(other, first) for other in others])) <= 1 - CONFIDENCE


def bends(random: Random, energy: Array, latency: Array) -> bool:
    """Whether any curve is claimed to have a knee: the cells are straight lines of 4 or 6 sizes."""
    sizes = min(6, len(energy))
    curves = len(energy) // sizes
    x = np.arange(sizes, dtype=float)
    line = 1 - FALL * x[:, None] / x[-1]
    for curve in energy[: curves * sizes].reshape(curves, sizes, -1):
        values = line * curve[:, np.isfinite(curve).all(0)]
        place = int(knee_at(x, values.mean(1))) if values.size else -1
        if place >= 0 and is_knee(x, values, place, curves):
            return True
    return False


def no_difference(random: Random, energy: Array, latency: Array) -> bool:
    """Whether any cell is called equivalent that differs by the threshold between two runs."""
    new = latency * (1 + THRESHOLD)
    sides = zip(map(_side, energy), map(_side, new), strict=False)
    verdicts = judge({str(i): pair for i, pair in enumerate(sides)}, threshold=THRESHOLD)
    return any(cell.verdict is Verdict.EQUIVALENT for cell in verdicts.cells)


CLAIMS: Mapping[str, Claim] = {
    "'dominated', energy proportional to time": dominated,
    "'dominated', each by itself": dominated_apart,
    "'best'": best,
    "'best', two cells far below the others": best_of_two,
    "'saves against batch 1'": saves,
    "'break-even' or 'never'": breaks_even,
    "'knee' of a straight line": bends,
    "'equivalent' within 3 % of a true 3 %": no_difference,
}


POOLED = [name for name, claim in CLAIMS.items() if claim in (dominated, best_of_two, saves)]
"""Claims that rest on the spread of all cells, and so on its being alike."""


def rate(claim: Claim, noise: str, cells: int, n: int, samples: int) -> float:
    """Share of runs in which a claim is made, of cells that do not differ."""
    random = np.random.default_rng([n, cells])
    made = (
        claim(random, drawn(random, noise, cells, n), drawn(random, noise, cells, n))
        for _ in range(samples)
    )
    return sum(made) / samples


def error_rates(noise: str, samples: int) -> Iterator[str]:
    """Write the table of false claims, line by line; larger runs are drawn less often."""
    yield f"| false claim | {' | '.join(f'{cells} cells' for cells in CELLS)} |"
    yield "|:--|" + ":-:|" * len(CELLS)
    for name in CLAIMS if noise == "alike" else POOLED:
        entries = []
        for cells in CELLS:
            share = (
                rate(CLAIMS[name], noise, cells, n, max(samples * 4 // cells, 100)) for n in SIZES
            )
            entries.append(" / ".join(f"{100 * one:.1f}" for one in share))
        yield f"| {name} | {' | '.join(entries)} |"


def power(samples: int) -> Iterator[str]:
    """Write how large a difference has to be to be found: of one cell, to every other."""
    yield "| true difference | " + " | ".join(f"{cells} cells" for cells in CELLS) + " |"
    yield "|:--|" + ":-:|" * len(CELLS)
    for change in (0.03, 0.05, 0.1, 0.2):
        entries = []
        for cells in CELLS:
            shares = []
            for n in SIZES:
                random = np.random.default_rng([n, cells])
                times = max(samples * 4 // cells, 100)
                found = [_found(random, cells, n, change) for _ in range(times)]
                shares.append(f"{100 * sum(found) / times:.0f}")
            entries.append(" / ".join(shares))
        yield f"| {change:.0%} | {' | '.join(entries)} |"


def _found(random: Random, cells: int, n: int, change: float) -> bool:
    energy = drawn(random, "alike", cells, n)
    energy[0] /= 1 + change
    return best(random, energy, energy)


def _side(values: Array) -> Side:
    return Side({i: float(v) for i, v in enumerate(values) if np.isfinite(v)})


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--samples", type=int, default=1000, help="Of runs with four cells.")
    parser.add_argument("--only", choices=(*NOISE, "power"))
    options = parser.parse_args()
    started = time.monotonic()
    for noise, words in NOISE.items():
        if options.only in (None, noise):
            print(f"\n{words}\n", flush=True)
            for line in error_rates(noise, options.samples):
                print(line, flush=True)
    if options.only in (None, "power"):
        print("\n'best' that is true\n")
        for line in power(options.samples):
            print(line, flush=True)
    print(f"\n{time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
