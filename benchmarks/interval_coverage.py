"""How often intervals hold a known truth, and how often ``gb compare`` is right and wrong.

Draws samples of a known distribution, as if repetitions had been measured, and prints the tables
of docs/statistics.md.

    python benchmarks/interval_coverage.py [--samples 1000] [--only intervals|verdicts]
"""

import argparse
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from greenbatch.analysis.findings.verdicts import Side, Verdict, judge
from greenbatch.analysis.statistics.interval_methods import MEANS, MEDIANS, PAIRED_RATIOS, RATIOS

Array = NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Array]

SIZES = (3, 5, 10)
CHUNK = 250  # samples at a time: 2000 resamples of ten are 40 MB
RATIO = 1.25
SKEW = 0.3
CELLS = 10
FAMILIES = (4, 12, 60)


def normal(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Spread of 2 %."""
    return np.asarray(1 + random.normal(0, 0.02, shape))


def skewed(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Lognormal: spread of 30 %, skewness 0.95; its median is 1."""
    return np.asarray(random.lognormal(0, SKEW, shape))


def tailed(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Exponential, 5 % above a floor of 1, skewness 2: a quiet machine, now and then disturbed."""
    return np.asarray(1 + random.exponential(0.05, shape))


def iterations(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Means of 100 iterations each, autocorrelated by 0.9, and 1 % of the repetition's own."""
    within = autoregressive(random, (*shape, 100), 0.9, 0.05).mean(-1)
    return np.asarray(1 + random.normal(0, 0.01, shape) + within)


def drift(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Spread of 2 %, each repetition correlated by 0.5 with the one before: drift within a run."""
    return 1 + autoregressive(random, shape, 0.5, 0.02)


def autoregressive(
    random: np.random.Generator, shape: tuple[int, ...], correlation: float, spread: float
) -> Array:
    """Draw stationary AR(1) series along the last axis."""
    series = random.normal(0, spread, shape)
    fresh = (1 - correlation**2) ** 0.5
    for i in range(1, shape[-1]):
        series[..., i] = correlation * series[..., i - 1] + fresh * series[..., i]
    return series


def blocks(random: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Spread of 2 % and another 5 % that all cells of a block share (first axis: samples)."""
    shared = random.lognormal(0, 0.05, (shape[0], *[1] * (len(shape) - 2), shape[-1]))
    return np.asarray(shared * random.lognormal(0, 0.02, shape))


DRAWS: Mapping[str, Draw] = {
    "normal": normal,
    "skewed": skewed,
    "tailed": tailed,
    "iterations": iterations,
    "drift": drift,
    "blocks": blocks,
}
MEDIAN = {**dict.fromkeys(DRAWS, 1.0), "tailed": 1 + 0.05 * np.log(2)}
MEAN = {
    **MEDIAN,
    "skewed": np.exp(SKEW**2 / 2),
    "tailed": 1.05,
    "blocks": np.exp((0.05**2 + 0.02**2) / 2),
}


def held(methods: Mapping[str, Any], *samples: Array, truth: float) -> Iterator[tuple[str, float]]:
    """Share of samples whose interval holds the truth, by method; no bounds is not holding."""
    total = samples[0].shape[0]
    for name, method in methods.items():
        count = 0
        for start in range(0, total, CHUNK):
            low, high = method(*(sample[start : start + CHUNK] for sample in samples))
            count += int(((low <= truth) & (truth <= high) & np.isfinite(high - low)).sum())
        yield name, count / total


def coverage(samples: int) -> None:
    """Print the share of intervals of nominal 95 % that hold the truth."""
    found: dict[tuple[str, str], dict[tuple[str, int], float]] = {}
    for case, draw in DRAWS.items():
        for n in SIZES:
            random = np.random.default_rng(n)
            both = draw(random, (samples, 2, n))
            one, over, under = both[:, 0], RATIO * both[:, 0], both[:, 1]
            for statistic, methods, given, truth in (
                ("mean", MEANS, (one,), MEAN[case]),
                ("median", MEDIANS, (one,), MEDIAN[case]),
                ("ratio", RATIOS, (over, under), RATIO),
                ("ratio, paired", PAIRED_RATIOS, (over, under), RATIO),
            ):
                for method, share in held(methods, *given, truth=truth):
                    found.setdefault((statistic, method), {})[case, n] = share
    print("| statistic | method | " + " | ".join(DRAWS) + " |")
    print("|:--|:--|" + ":-:|" * len(DRAWS))
    for (statistic, method), shares in found.items():
        cells = (" / ".join(f"{100 * shares[case, n]:.0f}" for n in SIZES) for case in DRAWS)
        print(f"| {statistic} | {method} | " + " | ".join(cells) + " |")


def rates(samples: int) -> None:
    """Print how often a comparison of two runs says 'worse', rightly and wrongly."""
    heads = ("'worse'", "beyond 3 % (exit 1)", "cells 'equivalent'", "cells too noisy")
    print("| truth | repetitions vary | cells | " + " | ".join(heads) + " |")
    print("|:--|:--|--:|" + ":-:|" * len(heads))
    for change in (0.0, 0.01, 0.03, 0.05):
        for case in DRAWS if not change else ("normal",):
            for cells in (1, CELLS):
                row = [_rates(DRAWS[case], change, cells, n, samples) for n in SIZES]
                texts = (
                    " / ".join(f"{100 * share:.1f}" for share in part)
                    for part in zip(*row, strict=True)
                )
                truth = f"one cell + {change:.0%}" if change else "identical"
                print(f"| {truth} | {case} | {cells} | " + " | ".join(texts) + " |", flush=True)


def _rates(draw: Draw, change: float, cells: int, n: int, samples: int) -> Array:
    """Share of comparisons that say worse, and worse beyond the threshold; then shares of cells.

    Of any cell where nothing changed; of the one that did otherwise.
    """
    random = np.random.default_rng([n, cells])
    base, new = (draw(random, (samples, cells, n)) for _ in range(2))
    new[:, 0] *= 1 + change
    counts = np.zeros(4)
    for sample in range(samples):
        given = {str(c): (_side(base[sample, c]), _side(new[sample, c])) for c in range(cells)}
        judged = judge(given).cells[: 1 if change else cells]
        counts += [
            any(cell.verdict is Verdict.WORSE for cell in judged),
            any(cell.verdict is Verdict.WORSE and cell.beyond for cell in judged),
            sum(cell.verdict is Verdict.EQUIVALENT for cell in judged) / len(judged),
            sum(cell.verdict is Verdict.TOO_NOISY for cell in judged) / len(judged),
        ]
    return counts / samples


def false_equivalence(samples: int) -> None:
    """Print how often any cell is called equivalent where all differ by the threshold."""
    print("| spread | " + " | ".join(f"{cells} cells" for cells in FAMILIES) + " |")
    print("|--:|" + ":-:|" * len(FAMILIES))
    for spread in (0.01, 0.02):
        shares = [
            " / ".join(f"{100 * _false_equivalence(spread, cells, n, samples):.1f}" for n in SIZES)
            for cells in FAMILIES
        ]
        print(f"| {spread:.0%} | " + " | ".join(shares) + " |", flush=True)


def _false_equivalence(spread: float, cells: int, n: int, samples: int) -> float:
    random = np.random.default_rng([n, cells])
    base, new = np.exp(random.normal(0, spread, (2, samples, cells, n)))
    new *= 1.03
    found = (
        judge({str(c): (_side(base[s, c]), _side(new[s, c])) for c in range(cells)}).cells
        for s in range(samples)
    )
    return sum(any(c.verdict is Verdict.EQUIVALENT for c in some) for some in found) / samples


def _side(values: Array) -> Side:
    return Side(dict(enumerate(values.tolist())))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--only", choices=("intervals", "verdicts"))
    options = parser.parse_args()
    started = time.monotonic()
    if options.only != "verdicts":
        coverage(options.samples)
        print()
    if options.only != "intervals":
        rates(options.samples)
        print()
        false_equivalence(options.samples)
    print(f"\n{options.samples} samples each, {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
