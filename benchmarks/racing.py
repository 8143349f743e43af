"""What a budget saves, and how often it errs: races over designs whose truth is known.

Draws designs of 5 to 60 cells, has `greenbatch.runners.scheduling.racing` choose what is measured,
and prints the tables of docs/budget.md.

    python benchmarks/racing.py [--designs 1000] [--unlike 0.7]
    python benchmarks/racing.py --short 0.25

With ``--short`` the budget is that share of the time of a full design with three repetitions, and
what is printed is how many questions are answered in it, and how well the time is predicted that
the others would take.
"""

import argparse
import time
from collections.abc import Collection, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from math import ceil
from statistics import NormalDist, median

import numpy as np
from numpy.typing import NDArray

from greenbatch.design.study import Study, make_study
from greenbatch.records import Cell, Decision, EnergyFigure, EnergySource, Left, Repetition, Status
from greenbatch.records.repetition import Conditions
from greenbatch.runners.scheduling.order import Slot
from greenbatch.runners.scheduling.racing.race import Race

Array = NDArray[np.float64]
Random = np.random.Generator

SPREADS = (0.01, 0.02, 0.05)
BLOCKS = 0.05
WITHIN = 0.03
ERROR = 0.05
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)
POWER_W, START_S, REST_S, IDLE_S, WARM_UP_S, WINDOW_S = 50.0, 4.0, 1.0, 2.0, 2.0, 2.0
WARM_UPS, ITERATIONS = 4, 5
SHAPES = ("smooth", "stepped")
MOST = 400


@dataclass(frozen=True)
class Truth:
    """A design whose costs are known.

    Attributes:
        study: With a budget that no race spends.
        cost_s: True time per image of each cell; energy is proportional to it.
        spread: Of each cell, in the logarithm.
        shape: Of its curves.
        tie: Whether the variants differ by less than the indifference.
    """

    study: Study
    cost_s: dict[Cell, float]
    spread: dict[Cell, float]
    shape: str
    tie: bool

    def models(self) -> Iterator[list[Cell]]:
        """Yield the cells of each network."""
        for model in self.study.models:
            yield [cell for cell in self.cost_s if cell.model == model]

    def excess(self, model: str, chosen: Cell, left_out: Collection[Cell] = ()) -> float:
        """Return by how much a choice costs more than the best of its network, a share.

        ``left_out`` are cells that a run names as too slow for its budget.
        """
        costs_s = {cell: s for cell, s in self.cost_s.items() if cell not in left_out}
        least = min(cost_s for cell, cost_s in costs_s.items() if cell.model == model)
        return self.cost_s[chosen] / least - 1

    def wall_s(self, cell: Cell, idles: int = 0) -> float:
        """Return what a repetition takes, with its start and its rest."""
        batch_s = self.cost_s[cell] * cell.batch_size
        busy_s = max(WARM_UP_S, WARM_UPS * batch_s) + max(WINDOW_S, ITERATIONS * batch_s)
        return START_S + REST_S + busy_s + IDLE_S * idles


def drawn(random: Random, number: int, unlike: float) -> Truth:
    """Draw a design: the number chooses its spread and its shape."""
    spread, shape = SPREADS[number % 3], SHAPES[number // 3 % 2]
    while True:
        models, variants = (int(n) for n in random.integers(1, 6, 2))
        sizes = SIZES[: random.integers(5, 9)]
        if 5 <= models * variants * len(sizes) <= 60:
            break
    backends = [f"backend-{i}" for i in range(variants)]
    study = make_study(
        {
            "models": [f"net{i}" for i in range(models)],
            "backends": backends,
            "batch_sizes": sizes,
            "budget": 1e7,
            "max_repetitions": MOST,
            "seed": number,
        }
    )
    tie = bool(random.random() < 0.25)
    cost_s: dict[Cell, float] = {}
    for model in study.models:
        image_s = float(np.exp(random.uniform(np.log(0.001), np.log(0.1))))
        for backend in backends:
            of_it = image_s * (random.uniform(1, 1 + WITHIN) if tie else random.uniform(1, 2))
            shared, growing = random.uniform(0.1, 3), random.choice([0.0, random.uniform(0, 0.5)])
            for size in sizes:
                factor = 1 + shared / size + growing * size / sizes[-1]
                cost_s[Cell(model, backend, batch_size=size)] = of_it * factor
            if shape == "stepped":
                _step(random, cost_s, [Cell(model, backend, batch_size=size) for size in sizes])
    own = {cell: spread * float(np.exp(random.normal(0, unlike))) for cell in cost_s}
    return Truth(study, cost_s, own, shape, tie)


def _step(random: Random, cost_s: dict[Cell, float], curve: Sequence[Cell]) -> None:
    """Put a step into a curve, up or down by 5 to 40 %, and a jitter of 1 % on each size."""
    at = int(random.integers(1, len(curve)))
    factor = (1 + random.uniform(0.05, 0.4)) ** random.choice([-1, 1])
    for place, cell in enumerate(curve):
        step = 1.0 if place < at else factor
        cost_s[cell] *= step * float(np.exp(random.normal(0, 0.01)))


class Machine:
    """Measures cells of a design: noise of each, and of each block for all of them."""

    def __init__(self, truth: Truth, random: Random) -> None:
        self._truth, self._random = truth, random
        self._blocks: dict[int, float] = {}

    def __call__(self, slot: Slot) -> Repetition:
        block = self._blocks.setdefault(slot.block, float(self._random.normal(0, BLOCKS)))
        noise = self._random.normal(0, self._truth.spread[slot.cell])
        image_s = self._truth.cost_s[slot.cell] * float(np.exp(block + noise))
        batch_s = image_s * slot.cell.batch_size
        iterations = max(ITERATIONS, ceil(WINDOW_S / batch_s))
        images = iterations * slot.cell.batch_size
        energy_j = images * image_s * POWER_W
        wall_s = self._truth.wall_s(slot.cell, slot.idle_before + slot.idle_after)
        return Repetition(
            cell=slot.cell,
            block=slot.block,
            position=slot.position,
            status=Status.OK,
            started_at="2026-01-01T00:00:00Z",
            duration_s=iterations * batch_s,
            images=images,
            iterations=iterations,
            latency_s={"0.5": batch_s},
            energy=(
                EnergyFigure(
                    domain="package-0",
                    source=EnergySource.COUNTER,
                    energy_j=energy_j,
                    uncertainty_j=0.0,
                ),
            ),
            conditions=Conditions(rest_s=REST_S),
            phases_s={"wall": wall_s - REST_S},
        )


@dataclass(frozen=True)
class Outcome:
    """What came of a race.

    Attributes:
        truth: Of its design.
        excesses: Of the choice, or of the best cell so far, for each network.
        outcomes: How each question ended.
        spent_s: Measuring time.
        visited: Share of the cells that were measured at all.
        further_s: Predicted for each question that was not decided.
        predicted: That of a single question over what it took, when the race went on.
    """

    truth: Truth
    excesses: tuple[float, ...]
    outcomes: tuple[str, ...]
    spent_s: float
    visited: float
    further_s: tuple[float | None, ...]
    predicted: float | None = None

    @property
    def errors(self) -> tuple[bool, ...]:
        """Whether a choice is worse than the best by more than the indifference."""
        return tuple(excess > WITHIN for excess in self.excesses)


def race(truth: Truth, random: Random) -> Outcome:
    """Have the scheduler measure a design until it is done."""
    schedule, machine = Race(truth.study), Machine(truth, random)
    seen = set()
    spent_s = 0.0
    for slot in schedule.slots():
        record = schedule.add(machine(slot), slot.attempt)
        spent_s += record.phases_s["wall"] + record.conditions.rest_s
        seen.add(slot.cell)
    news = schedule.decided()
    decisions = [record for record in news if isinstance(record, Decision)]
    slow = {record.cell for record in news if isinstance(record, Left) and record.why == "slow"}
    return Outcome(
        truth,
        tuple(truth.excess(one.model, one.best[0], slow) for one in decisions),
        tuple(one.outcome for one in decisions),
        spent_s,
        len(seen) / len(truth.cost_s),
        tuple(one.further_s for one in decisions),
    )


def raced(number: int, unlike: float, short: float | None) -> Outcome:
    """Draw a design and have it raced; its number is the seed."""
    random = np.random.default_rng([18, number])
    truth = drawn(random, number, unlike)
    if short is None:
        return race(truth, random)
    study = truth.study.model_copy(update={"budget": short * full_s(truth, 3)})
    outcome = race(replace(truth, study=study), random)
    further_s = outcome.further_s[0]
    if further_s is None or len(outcome.further_s) > 1:
        return outcome
    whole = raced(number, unlike, None)  # the same draws, without a limit
    left_s = whole.spent_s - outcome.spent_s
    return replace(outcome, predicted=further_s / left_s if left_s > 0 else None)


def full_s(truth: Truth, repetitions: int) -> float:
    """Return the measuring time of the full design; idle power is taken as in a run."""
    idles = 2 * len(truth.study.backends) * IDLE_S
    return repetitions * (sum(map(truth.wall_s, truth.cost_s)) + idles)


def full_errors(outcomes: Sequence[Outcome], repetitions: int, random: Random) -> float:
    """Share of networks in which the least mean of a full design is a wrong choice."""
    wrong = total = 0
    for outcome in outcomes:
        truth = outcome.truth
        for cells in truth.models():
            costs = np.array([truth.cost_s[cell] for cell in cells])
            spread = np.array([truth.spread[cell] for cell in cells]) / repetitions**0.5
            means = np.log(costs) + random.normal(0, 1, (20, len(cells))) * spread
            wrong += int((costs[means.argmin(1)] > costs.min() * (1 + WITHIN)).sum())
            total += 20
    return wrong / total


def repetitions_for(cells: int, spread: float) -> int:
    """Repetitions at which the least mean is within the indifference of the best in 95 %.

    Bonferroni over the other cells, each worse by just the indifference, the spread known before.
    """
    quantile = NormalDist().inv_cdf(1 - ERROR / max(1, cells - 1))
    return max(1, ceil(2 * float(quantile * spread / np.log1p(WITHIN)) ** 2))


def rows(outcomes: Sequence[Outcome], random: Random) -> Iterator[str]:
    """Write a table: a line for each spread and shape."""
    yield (
        "| spread | curves | networks | wrong | cells visited | 3 repetitions: wrong | time "
        "| as right: repetitions | time | sure: repetitions | time |"
    )
    yield "|:--|:--|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
    for spread in (*SPREADS, None):
        for shape in (*SHAPES, "ties", "all"):
            of_it = [
                one
                for one in outcomes
                if spread in (None, SPREADS[one.truth.study.seed % 3])
                and (shape in ("all", one.truth.shape) or (shape == "ties" and one.truth.tie))
            ]
            if of_it and (spread is not None or shape == "all"):
                yield _row(of_it, spread, shape, random)


def _row(found: Sequence[Outcome], spread: float | None, shape: str, random: Random) -> str:
    errors = [error for one in found for error in one.errors]
    wrong = sum(errors) / len(errors)
    at_three = full_errors(found, 3, random)
    to_three = median(one.spent_s / full_s(one.truth, 3) for one in found)
    start = f"| {'all' if spread is None else f'{spread:.0%}'} | {shape} | {len(errors)} "
    visited = median(one.visited for one in found)
    line = f"{start}| {wrong:.1%} | {visited:.0%} | {at_three:.1%} | {to_three:.2f} "
    equal = next(
        (n for n in range(1, 60) if full_errors(found, n, random) <= max(wrong, 0.005)), 60
    )
    to_equal = median(one.spent_s / full_s(one.truth, equal) for one in found)
    sure, ratios = [], []
    for one in found:
        cells = len(one.truth.cost_s) // len(one.truth.study.models)
        of_it = SPREADS[one.truth.study.seed % 3]
        sure.append(repetitions_for(cells, of_it))
        ratios.append(one.spent_s / full_s(one.truth, sure[-1]))
    return f"{line}| {equal} | {to_equal:.2f} | {median(sure):g} | {median(ratios):.2f} |"


def answered(outcomes: Sequence[Outcome]) -> Iterator[str]:
    """Write how many questions were answered, by the number of networks of a design."""
    yield (
        "| networks of a design | designs | questions | answered | wrong, of those | time spent "
        "| best so far of the others, above the best: median | 90 % |"
    )
    yield "|--:|--:|--:|--:|--:|--:|--:|--:|"
    for count in sorted({len(one.truth.study.models) for one in outcomes}):
        of_it = [one for one in outcomes if len(one.truth.study.models) == count]
        ends = [pair for one in of_it for pair in zip(one.outcomes, one.excesses, strict=True)]
        wrong = [excess > WITHIN for end, excess in ends if end in ("answered", "tie")]
        open_ones = [excess for end, excess in ends if end not in ("answered", "tie")] or [0.0]
        middle, high = np.quantile(open_ones, (0.5, 0.9))
        spent = median(one.spent_s / (one.truth.study.budget or 0.0) for one in of_it)
        yield (
            f"| {count} | {len(of_it)} | {len(ends)} | {len(wrong) / len(ends):.0%} "
            f"| {sum(wrong) / max(1, len(wrong)):.1%} | {spent:.0%} "
            f"| {middle:.1%} | {high:.0%} |"
        )
    if found := [one.predicted for one in outcomes if one.predicted is not None]:
        low, middle, high = np.quantile(found, (0.25, 0.5, 0.75))
        yield (
            f"\nPredicted time over what it took, of {len(found)} designs of one network: median "
            f"{middle:.2f}, quartiles {low:.2f} and {high:.2f}"
        )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--designs", type=int, default=1000)
    parser.add_argument("--unlike", type=float, default=0.0, help="Spread of the log spreads.")
    parser.add_argument("--short", type=float, help="Budget as a share of a full design's time.")
    options = parser.parse_args()
    began_s = time.monotonic()
    with ProcessPoolExecutor() as workers:
        one = partial(raced, unlike=options.unlike, short=options.short)
        outcomes = list(workers.map(one, range(options.designs), chunksize=10))
    table = rows(outcomes, np.random.default_rng(18))
    for line in table if options.short is None else answered(outcomes):
        print(line, flush=True)
    ends = [end for one in outcomes for end in one.outcomes]
    print({end: ends.count(end) for end in sorted(set(ends))})
    print(f"\n{time.monotonic() - began_s:.0f} s")


if __name__ == "__main__":
    main()
