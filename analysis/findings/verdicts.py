"""New against base, cell by cell: better, worse, no difference shown, or too noisy to tell.

Tests and intervals are those of mean logarithms over repetitions, so that a ratio and its inverse
agree. Two runs share no block: the first block of one has nothing to do with the first of the
other, and their spread is taken apart (Welch). Within one run cells are paired by block.

What no test over repetitions can see is a shift of a whole run: another room temperature,
another allocation of a cloud machine. The threshold is there for that.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from greenbatch.analysis.statistics.interval_methods import welch_error
from greenbatch.analysis.statistics.intervals import LEAST, Interval, ratio, ratio_of_runs
from greenbatch.analysis.statistics.multiple_testing import holm
from greenbatch.confidence import student_quantile
from greenbatch.errors import UsageError
from greenbatch.records.provenance import Provenance, comparable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ALPHA = 0.05
"""Family-wise: the chance of any false 'better' or 'worse' over all cells of a comparison."""
POWER = 0.8
MOST = 1000
_ROUNDING = 1e-12


class Verdict(StrEnum):
    """What is known of a cell, or why nothing is.

    Attributes:
        NO_DIFFERENCE: Not shown, though a change of the threshold's size would have been found
            with a chance of 80 % or more. Not a proof that there is none.
        TOO_NOISY: Not shown, and such a change would more likely have been missed than that.
        REFUSED: Not compared; see `CellVerdict.reason`.
    """

    BETTER = "better"
    WORSE = "worse"
    NO_DIFFERENCE = "no difference shown"
    TOO_NOISY = "too noisy to tell"
    REFUSED = "not compared"


@dataclass(frozen=True, slots=True)
class Side:
    """One cell in one run.

    Attributes:
        values: The metric by block; finite and positive.
        source: What the values rest on.
        facts: What must be equal for the two sides to be comparable, as text: ``artifact``,
            ``threads``, ...; a fact that is not known is left out.
    """

    values: Mapping[int, float]
    source: Provenance = Provenance.MEASURED
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellVerdict:
    """The verdict on one cell.

    Attributes:
        ratio: New over base with its interval, which is of this cell alone; ``None`` where
            refused.
        p: Two-sided, of no difference, as it is; ``p_holm`` corrected over the cells judged.
        beyond: Whether a verdict of worse or better is of at least the threshold.
        repetitions: On the base's and the new side; of pairs, the same number twice.
        needed: Repetitions on each side that would find a change of the threshold's size with
            a chance of 80 %, at the spread that was seen; ``None`` where that is not known or
            more than a thousand.
        reason: Why the cell was refused, or what is to be known of the verdict.
    """

    name: str
    verdict: Verdict
    ratio: Interval | None = None
    p: float | None = None
    p_holm: float | None = None
    beyond: bool = False
    repetitions: tuple[int, int] = (0, 0)
    needed: int | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """All cells of a comparison.

    Attributes:
        cells: In the order given.
        overall: Geometric mean of the ratios of all cells that were compared, with its interval
            over blocks; ``None`` where none was.
        threshold: As a share: 0.03.
        paired: Whether blocks were paired.
    """

    cells: tuple[CellVerdict, ...]
    overall: Interval | None
    threshold: float
    paired: bool

    @property
    def worse(self) -> bool:
        """Whether any cell is worse by the threshold or more: what a gate fails on."""
        return any(cell.verdict is Verdict.WORSE and cell.beyond for cell in self.cells)

    def counts(self) -> dict[Verdict, int]:
        """How many cells have each verdict; only verdicts that occur."""
        found = [cell.verdict for cell in self.cells]
        return {verdict: found.count(verdict) for verdict in Verdict if verdict in found}


def judge(
    cells: Mapping[str, tuple[Side | None, Side | None]],
    *,
    threshold: float = 0.03,
    higher_is_worse: bool = True,
    paired: bool = False,
) -> Judgement:
    """Judge every cell; the chance of any false alarm over all of them is held at 5 % (Holm).

    A cell is worse (better) where its corrected p is 5 % or less; whether it is so by the
    threshold or more is decided by the ratio's centre. To ask more, that the whole interval is
    beyond the threshold, would miss a true change of 5 % more often than not at 10 repetitions.

    Args:
        cells: Base and new by the cell's name; ``None`` where a run does not have it.
        threshold: The smallest change that matters, as a share.
        higher_is_worse: As for energy and latency; not so for throughput.
        paired: Whether block numbers mean the same stretch of time on both sides. Never so for
            two separate runs.

    Raises:
        UsageError: The threshold is not between 0 and 1, or a value is not positive.
    """
    if not 0 < threshold < 1:
        raise UsageError(
            f"the threshold is {threshold:g}; it is a share between 0 and 1, such as 0.03 or 3%"
        )
    reasons = {name: unlike(base, new) for name, (base, new) in cells.items()}
    samples = {
        name: _Sample(base, new, paired)
        for name, (base, new) in cells.items()
        if not reasons[name] and base and new
    }
    tested = {name: sample.p for name, sample in samples.items() if sample.enough}
    corrected = dict(zip(tested, holm(list(tested.values())), strict=True))
    alpha = ALPHA / max(len(tested), 1)  # the strictest that Holm may ask
    verdicts = tuple(
        _verdict(name, samples[name], corrected.get(name), alpha, threshold, higher_is_worse)
        if name in samples
        else CellVerdict(name=name, verdict=Verdict.REFUSED, reason=reasons[name])
        for name in cells
    )
    overall = overall_ratio([sample.sides for sample in samples.values()], paired=paired)
    return Judgement(cells=verdicts, overall=overall, threshold=threshold, paired=paired)


def unlike(base: Side | None, new: Side | None) -> str:
    """Say why two sides must not be compared; empty where nothing speaks against it."""
    if base is None or new is None:
        return f"{'the base' if base is None else 'the new run'} does not have this cell"
    sides = (base, new)
    for side, name in zip(sides, ("base", "new run"), strict=True):
        if not side.values or side.source is Provenance.MISSING:
            return f"the {name} has no figure for this cell"
    if not comparable((base.source, new.source)):
        return f"{base.source} against {new.source}: an estimate is not compared with a measurement"
    return "; ".join(
        f"{name}: {base.facts[name]} against {new.facts[name]}"
        for name in base.facts
        if name in new.facts and base.facts[name] != new.facts[name]
    )


def unknown(base: Side, new: Side) -> str:
    """Say which facts only one side knows, so that nobody knows whether they differ."""
    names = sorted(base.facts.keys() ^ new.facts.keys())
    return f"known of one side only: {', '.join(names)}" if names else ""


def overall_ratio(
    cells: Sequence[tuple[Mapping[int, float], Mapping[int, float]]], *, paired: bool = False
) -> Interval | None:
    """Bound the geometric mean over cells of the ratios new over base.

    The cells are these and no sample of others; repetitions are what varies. Cells of one block
    move together, so the block is the unit: errors are clustered by block (Liang & Zeger,
    Biometrika 73, 1986, with the factor B / (B - 1) for B blocks).

    Args:
        cells: Base and new of each cell, by block; positive.
        paired: As for `judge`.

    Returns:
        ``None`` without cells, or where a side has no block.
    """
    import numpy as np

    logs = [tuple({b: float(np.log(v)) for b, v in s.items()} for s in sides) for sides in cells]
    if paired:
        shared = [{b: new[b] - base[b] for b in base.keys() & new.keys()} for base, new in logs]
        parts = [_clustered(shared)]
    else:
        parts = [_clustered([new for _, new in logs]), _clustered([base for base, _ in logs])]
    n = min(len(part.moves) for part in parts)
    if not n:
        return None
    over = parts[0]
    centre, error, free = over.mean, over.error, float(len(over.moves) - 1)
    low, high = min(over.moves), max(over.moves)
    if not paired:
        under = parts[1]
        centre -= under.mean
        low, high = low - max(under.moves), high - min(under.moves)
        found = welch_error(error, len(over.moves) - 1, under.error, len(under.moves) - 1)
        error, free = map(float, found)
    if n >= LEAST:
        high = student_quantile(free) * error
        low = -high
    low, middle, high = np.exp([centre + low, centre, centre + high]).tolist()
    method = "t of block means on logarithms"
    return Interval(low if n > 1 else None, middle, high if n > 1 else None, n, method)


@dataclass(frozen=True, slots=True)
class _Clustered:
    """The mean over cells of their means, its standard error, and how far each block is from it."""

    mean: float
    error: float
    moves: tuple[float, ...]


def _clustered(every: Sequence[Mapping[int, float]]) -> _Clustered:
    cells = [cell for cell in every if cell]
    means = [sum(cell.values()) / len(cell) for cell in cells]
    moves: dict[int, float] = {}
    for cell, mean in zip(cells, means, strict=True):
        for block, value in cell.items():
            moves[block] = moves.get(block, 0.0) + (value - mean) / (len(cell) * len(cells))
    blocks = len(moves)
    square = sum(move**2 for move in moves.values()) * blocks / max(blocks - 1, 1)
    mean = sum(means) / max(len(means), 1)
    return _Clustered(mean, square**0.5, tuple(move * blocks for move in moves.values()))


class _Sample:
    """Two sides that may be compared, and the test between them."""

    def __init__(self, base: Side, new: Side, paired: bool) -> None:
        shared = base.values.keys() & new.values.keys()
        self.paired = paired
        one, other = (
            {b: side.values[b] for b in sorted(shared if paired else side.values)}
            for side in (base, new)
        )
        self.sides = (one, other)
        self.repetitions = (len(self.sides[0]), len(self.sides[1]))
        self.doubt = unknown(base, new)
        apart = ratio_of_runs(other.values(), one.values())  # refuses what is not positive
        self.ratio = ratio(other, one) if paired else apart
        self.enough = min(self.repetitions) >= LEAST

    @cached_property
    def _logs(self) -> "list[NDArray[np.float64]]":
        import numpy as np

        return [np.log(list(side.values())) for side in self.sides]

    @cached_property
    def p(self) -> float:
        """Two-sided p of no difference of the mean logarithms: the test of `ratio`'s interval."""
        import numpy as np
        from scipy.special import stdtr

        moved = [self._logs[1] - self._logs[0]] if self.paired else self._logs
        errors = [float(np.std(logs, ddof=1)) / len(logs) ** 0.5 for logs in moved]
        free: float = len(moved[0]) - 1
        error = errors[0]
        if not self.paired:
            found = welch_error(error, len(moved[0]) - 1, errors[1], len(moved[1]) - 1)
            error, free = map(float, found)
        distance = abs(float(np.mean(self._logs[1]) - np.mean(self._logs[0])))
        if error < _ROUNDING:  # no spread at all: equal or not is all there is to say
            return float(distance < _ROUNDING)
        return float(2 * stdtr(free, -distance / error))

    def needed(self, change: float, alpha: float) -> int | None:
        """Repetitions on each side to find ``change`` (on the logarithm) with `POWER`."""
        import numpy as np
        from scipy.special import nctdtr, stdtrit

        moved = [self._logs[1] - self._logs[0]] if self.paired else self._logs
        variance = max(sum(float(np.var(logs, ddof=1)) for logs in moved), _ROUNDING**2)

        def power(n: int) -> float:
            free = (n - 1) * len(moved)
            least = stdtrit(free, 1 - alpha / 2)
            found = 1 - float(nctdtr(free, change / (variance / n) ** 0.5, least))
            return 1.0 if np.isnan(found) else found  # so far out that scipy gives up

        sizes = range(LEAST, MOST + 1)
        place = bisect_left(sizes, POWER, key=power)
        return sizes[place] if place < len(sizes) else None


def _verdict(
    name: str,
    sample: _Sample,
    p_holm: float | None,
    alpha: float,
    threshold: float,
    higher_is_worse: bool,
) -> CellVerdict:
    change = math.log1p(threshold)
    tested = CellVerdict(
        name=name,
        verdict=Verdict.TOO_NOISY,
        ratio=sample.ratio,
        repetitions=sample.repetitions,
        needed=sample.needed(change, alpha) if min(sample.repetitions) > 1 else None,
        reason=sample.doubt,
    )
    if p_holm is None or sample.ratio is None:
        few = f"a side has fewer than {LEAST} repetitions"
        return replace(tested, reason="; ".join(filter(None, (few, sample.doubt))))
    tested = replace(tested, p=sample.p, p_holm=p_holm)
    if p_holm <= ALPHA:
        log = math.log(sample.ratio.centre)
        worse = (log > 0) == higher_is_worse
        return replace(
            tested,
            verdict=Verdict.WORSE if worse else Verdict.BETTER,
            beyond=abs(log) >= change * (1 - 1e-9),
        )
    able = tested.needed is not None and tested.needed <= min(sample.repetitions)
    return replace(tested, verdict=Verdict.NO_DIFFERENCE) if able else tested
