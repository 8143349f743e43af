"""New against base, cell by cell: better, worse, equivalent, or too noisy to tell.

Tests and intervals are those of mean logarithms over repetitions, so that a ratio and its inverse
agree. Two runs share no block: the first block of one has nothing to do with the first of the
other, and their spread is taken apart (Welch). Within one run cells are paired by block.

What no test over repetitions can see is a shift of a whole run: another room temperature,
another allocation of a cloud machine. The threshold is there for that.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from greenbatch.analysis.dataset.energy_basis import Basis, unlike
from greenbatch.analysis.dataset.flagged import flags_text
from greenbatch.analysis.statistics.claims import LEAST_SPREAD
from greenbatch.analysis.statistics.interval_methods import welch_error
from greenbatch.analysis.statistics.intervals import LEAST, Interval, ratio, ratio_of_runs
from greenbatch.analysis.statistics.multiple_testing import holm
from greenbatch.analysis.statistics.overall_ratio import overall_ratio
from greenbatch.errors import UsageError
from greenbatch.records.provenance import Provenance

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

ALPHA = 0.05
"""Family-wise: the chance of any false 'better' or 'worse' over all cells of a comparison, and that
of any false 'equivalent'."""
POWER = 0.8
SPREAD_CONFIDENCE = 0.8
"""Of the upper bound of the spread that `CellVerdict.needed` counts on."""
MOST = 1000
ESTIMATE = "energy.estimate"
"""What an estimate assumes, as a fact that may differ."""
_ROUNDING = 1e-12


class Verdict(StrEnum):
    """What is known of a cell, or why nothing is.

    Attributes:
        EQUIVALENT: Any change is shown to be smaller than the threshold, by two one-sided tests
            (Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987): of one cell,
            the 90 % interval of the ratio lies within the threshold to both sides.
        TOO_NOISY: Neither a change nor its absence is shown.
        REFUSED: Not compared; see `CellVerdict.reason`.
    """

    BETTER = "better"
    WORSE = "worse"
    EQUIVALENT = "equivalent"
    TOO_NOISY = "too noisy to tell"
    REFUSED = "not compared"


@dataclass(frozen=True, slots=True)
class Side:
    """One cell in one run.

    Attributes:
        values: The metric by block; finite and positive.
        basis: What the values rest on.
        flags: How many of them carry each flag.
        facts: What must be equal for the two sides to be comparable, as text: ``artifact``,
            ``threads``, ...; a fact that is not known is left out.
    """

    values: Mapping[int, float]
    basis: Basis = Basis.of(Provenance.MEASURED)  # noqa: RUF009 - frozen
    flags: Mapping[str, int] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CellVerdict:
    """The verdict on one cell.

    Attributes:
        ratio: New over base with its interval, which is of this cell alone; ``None`` where
            refused.
        p: Two-sided, of no difference, as it is; ``p_holm`` corrected over the cells judged.
        p_equivalence: Of a change of the threshold's size or more, to either side, corrected over
            the cells judged.
        beyond: Whether a verdict of worse or better is of at least the threshold.
        repetitions: On the base's and the new side; of pairs, the same number twice.
        needed: Repetitions on each side that would find a change of the threshold's size, and
            show equivalence where nothing changed, with a chance of 80 % each, at the upper 80 %
            bound of the spread (Browne, Statistics in Medicine 14, 1995); ``None`` where that is
            not known or more than a thousand.
        reason: Why the cell was refused, or what is to be known of the verdict.
        differences: Names of the facts that differ, of a cell that was refused.
        flags: Of the base and of the new run, how many repetitions carry each flag.
    """

    name: str
    verdict: Verdict
    ratio: Interval | None = None
    p: float | None = None
    p_holm: float | None = None
    p_equivalence: float | None = None
    beyond: bool = False
    repetitions: tuple[int, int] = (0, 0)
    needed: int | None = None
    reason: str = ""
    differences: tuple[str, ...] = ()
    flags: tuple[Mapping[str, int], Mapping[str, int]] = ({}, {})


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

    @property
    def decided(self) -> bool:
        """Whether no cell is too noisy to tell; what is worse is decided in any case."""
        return self.worse or all(cell.verdict is not Verdict.TOO_NOISY for cell in self.cells)

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
    """Judge every cell; the chance of any false alarm over all of them is at most 5 % (Holm).

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
    change = math.log1p(threshold)
    reasons = {name: why_not(base, new) for name, (base, new) in cells.items()}
    samples = {
        name: _Sample(base, new, paired)
        for name, (base, new) in cells.items()
        if not reasons[name] and base and new
    }
    tested = [name for name, sample in samples.items() if sample.enough]
    p_holm, p_equivalence = (
        dict(zip(tested, holm(found), strict=True))
        for found in (
            [samples[name].p for name in tested],
            [samples[name].p_beyond(change) for name in tested],
        )
    )
    alpha = ALPHA / max(len(tested), 1)  # the strictest that Holm may ask
    verdicts = tuple(
        _refused(name, reasons[name], *cells[name])
        if name not in samples
        else _few(name, samples[name], change, alpha)
        if name not in p_holm
        else _verdict(
            _unsure(name, samples[name], change, alpha),
            samples[name].p,
            p_holm[name],
            p_equivalence[name],
            change,
            higher_is_worse,
        )
        for name in cells
    )
    overall = overall_ratio([sample.sides for sample in samples.values()], paired=paired)
    return Judgement(cells=verdicts, overall=overall, threshold=threshold, paired=paired)


def why_not(base: Side | None, new: Side | None) -> str:
    """Say why two sides must not be compared: all that differs; empty where they may be."""
    if base is None or new is None:
        return f"{'the base' if base is None else 'the new run'} does not have this cell"
    sides = (base, new)
    for side, name in zip(sides, ("base", "new run"), strict=True):
        if not side.values or not side.basis.parts:
            return f"the {name} has no figure for this cell"
    texts = [f"{name}: {base.facts[name]} against {new.facts[name]}" for name in _differ(base, new)]
    return "; ".join(filter(None, (unlike(base.basis, new.basis), *texts)))


def _differ(base: Side, new: Side) -> list[str]:
    """List the facts that differ."""
    shared = (name for name in base.facts if name in new.facts)
    return [name for name in shared if base.facts[name] != new.facts[name]]


def _estimated_otherwise(base: Side, new: Side) -> bool:
    """Whether what their estimates assume is all that keeps two energies from being divided."""
    sides = (base.basis.without_models(), new.basis.without_models())
    return bool(unlike(base.basis, new.basis)) and not unlike(*sides)


def unknown(base: Side, new: Side) -> str:
    """Say which facts only one side knows, so that nobody knows whether they differ."""
    names = sorted(base.facts.keys() ^ new.facts.keys())
    return f"known of one side only: {', '.join(names)}" if names else ""


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
        self.flags = (base.flags, new.flags)
        named = zip(("base", "new run"), self.flags, self.repetitions, strict=True)
        flagged = [f"{name}: {text}" for name, f, n in named if (text := flags_text(f, n))]
        self.doubt = "; ".join(filter(None, (*flagged, unknown(base, new))))
        apart = ratio_of_runs(other.values(), one.values())  # refuses what is not positive
        self.ratio = ratio(other, one) if paired else apart
        self.enough = min(self.repetitions) >= LEAST

    @cached_property
    def _logs(self) -> "list[NDArray[np.float64]]":
        import numpy as np

        return [np.log(list(side.values())) for side in self.sides]

    @cached_property
    def _moved(self) -> "list[NDArray[np.float64]]":
        return [self._logs[1] - self._logs[0]] if self.paired else self._logs

    @cached_property
    def _moments(self) -> tuple[float, float, float]:
        """The difference of the mean logarithms, its standard error and degrees of freedom."""
        import numpy as np

        spreads = [max(float(np.std(logs, ddof=1)), LEAST_SPREAD) for logs in self._moved]
        errors = [s / len(logs) ** 0.5 for s, logs in zip(spreads, self._moved, strict=True)]
        error, free = errors[0], float(len(self._moved[0]) - 1)
        if not self.paired:
            found = welch_error(error, self.repetitions[0] - 1, errors[1], self.repetitions[1] - 1)
            error, free = map(float, found)
        return float(np.mean(self._logs[1]) - np.mean(self._logs[0])), error, free

    @cached_property
    def p(self) -> float:
        """Two-sided p of no difference of the mean logarithms: the test of `ratio`'s interval."""
        from scipy.special import stdtr

        distance, error, free = self._moments
        return float(2 * stdtr(free, -abs(distance) / error))

    def p_beyond(self, change: float) -> float:
        """Return the larger p of two one-sided tests that the difference is beyond ``change``."""
        from scipy.special import stdtr

        distance, error, free = self._moments
        return float(stdtr(free, (abs(distance) - change) / error))

    def needed(self, change: float, alpha: float) -> int | None:
        """Repetitions on each side that tell ``change`` (on the logarithm) from none."""
        import numpy as np
        from scipy.special import chdtri, nctdtr, stdtrit

        spreads = [(float(np.var(logs, ddof=1)), len(logs) - 1) for logs in self._moved]
        seen = max(sum(variance for variance, _ in spreads), _ROUNDING**2)
        free_seen = seen**2 / max(sum(v**2 / free for v, free in spreads), _ROUNDING**4)
        variance = seen * free_seen / float(chdtri(free_seen, SPREAD_CONFIDENCE))

        def power(n: int) -> float:
            free, shift = (n - 1) * len(spreads), change / (variance / n) ** 0.5
            least = (float(stdtrit(free, 1 - level)) for level in (alpha / 2, alpha))
            found = [1 - float(nctdtr(free, shift, bound)) for bound in least]
            finds, shows = (
                1.0 if np.isnan(one) else one for one in found
            )  # scipy gives up far out
            return min(finds, 2 * shows - 1)  # both one-sided tests of no change, at the least

        sizes = range(LEAST, MOST + 1)
        place = bisect_left(sizes, POWER, key=power)
        return sizes[place] if place < len(sizes) else None


def _refused(name: str, reason: str, base: Side | None, new: Side | None) -> CellVerdict:
    names: list[str] = []
    if base and new:
        names = [ESTIMATE] * _estimated_otherwise(base, new) + _differ(base, new)
    return CellVerdict(name=name, verdict=Verdict.REFUSED, reason=reason, differences=tuple(names))


def _unsure(name: str, sample: _Sample, change: float, alpha: float) -> CellVerdict:
    """Say what is known of a cell before its tests."""
    return CellVerdict(
        name=name,
        verdict=Verdict.TOO_NOISY,
        ratio=sample.ratio,
        repetitions=sample.repetitions,
        needed=sample.needed(change, alpha) if min(sample.repetitions) > 1 else None,
        reason=sample.doubt,
        flags=sample.flags,
    )


def _few(name: str, sample: _Sample, change: float, alpha: float) -> CellVerdict:
    found = _unsure(name, sample, change, alpha)
    few = f"a side has fewer than {LEAST} repetitions"
    return replace(found, reason="; ".join(filter(None, (few, sample.doubt))))


def _verdict(
    cell: CellVerdict,
    p: float,
    p_holm: float,
    p_equivalence: float,
    change: float,
    higher_is_worse: bool,
) -> CellVerdict:
    tested = replace(cell, p=p, p_holm=p_holm, p_equivalence=p_equivalence)
    if p_holm <= ALPHA and cell.ratio is not None:
        log = math.log(cell.ratio.centre)
        worse = (log > 0) == higher_is_worse
        return replace(
            tested,
            verdict=Verdict.WORSE if worse else Verdict.BETTER,
            beyond=abs(log) >= change * (1 - 1e-9),
        )
    return replace(tested, verdict=Verdict.EQUIVALENT) if p_equivalence <= ALPHA else tested
