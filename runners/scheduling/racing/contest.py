"""The rule of a race: which of several candidates need not be measured any further.

A candidate leaves where another one is shown not to be worse than it by the indifference. The sum
of their differences, paired by block, is compared with a boundary that closes as blocks come in, so
that every question has an end: of candidates that are equal, the one of the lower mean is kept.

Source: S.-H. Kim and B. L. Nelson, A fully sequential procedure for indifference-zone selection in
simulation, ACM Transactions on Modeling and Computer Simulation 11(3), 2001, with c = 1. It allows
unequal variances and dependent systems ("common random numbers"), which effects that a block has on
all of its cells are. The chance that a candidate is chosen that is worse than the best by more than
the indifference is at most `ALPHA`, over all looks and all candidates. Two things are changed: the
variances are those of all cells, moderated, and are estimated anew after each block.
``benchmarks/racing.py`` measures the error that results.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greenbatch.confidence import CONFIDENCE
from greenbatch.estimates.block_adjustment import fit_blocks
from greenbatch.estimates.moderated_variance import moderate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Mask = NDArray[np.bool_]

ALPHA = 1 - CONFIDENCE
LEAST_SPREAD = 1e-4
"""The least standard deviation of a logarithm that is believed: a meter or a clock is coarse."""
_MOST_FREE = 1e6


@dataclass(frozen=True, slots=True)
class Spread:
    """How much the repetitions of candidates vary.

    Attributes:
        variances: Of a logarithm in one block, the effect of the block aside; shape (candidate,).
        degrees_of_freedom: Of each, shape (candidate,).
        free: Of all that was measured together.
    """

    variances: "Array"
    degrees_of_freedom: "Array"
    free: float


def spreads(groups: "Sequence[Array]") -> list[Spread | None]:
    """Estimate the spreads of several groups of candidates, each from all of them.

    Args:
        groups: Scores, each of shape (candidate, block); NaN where one is missing. Effects of a
            block are those of a group.

    Returns:
        One for each group; ``None`` where nothing was repeated.
    """
    import numpy as np

    fits = [fit_blocks(scores) for scores in groups]
    free_all = float(sum(fit.degrees_of_freedom for fit in fits))
    if free_all < 1:
        return [None] * len(groups)
    parts = [fit.rest for fit in fits]
    squares = np.concatenate([part[0] for part in parts])
    free = np.concatenate([part[1] for part in parts])
    with np.errstate(divide="ignore", invalid="ignore"):
        variances = np.where(free > 0, np.maximum(squares / free, LEAST_SPREAD**2), np.nan)
    found = moderate(variances, free, caution=0.0)
    # A cell without a repetition has no variance of its own where the others are a single one.
    common = float(np.nansum(squares) / free_all)
    known = np.isfinite(found.variances)
    values = np.where(known, found.variances, max(common, LEAST_SPREAD**2))
    worth = np.where(known & (found.degrees_of_freedom > 0), found.degrees_of_freedom, free_all)
    ends = np.cumsum([len(scores) for scores in groups])[:-1]
    each = zip(np.split(values, ends), np.split(worth, ends), strict=True)
    return [Spread(variance, of_it, free_all) for variance, of_it in each]


class Contest:
    """Candidates of which the one of the lowest score is sought.

    Attributes:
        means: Their scores, adjusted for blocks, shape (candidate,); NaN where nothing is known.
        blocks: How many blocks two candidates share, shape (candidate, candidate).
    """

    def __init__(
        self, scores: "Array", spread: Spread | None, indifference: float, comparisons: int
    ) -> None:
        """Take what was measured.

        Args:
            scores: Shape (candidate, block); NaN where one is missing.
            spread: Of the candidates; ``None``: nothing was repeated, and nothing is shown.
            indifference: A difference of scores that does not matter.
            comparisons: How many comparisons share the chance of an error.
        """
        import numpy as np

        self.means = fit_blocks(scores).means
        self._indifference, self._comparisons = indifference, max(1, comparisons)
        held = np.isfinite(scores)
        filled = np.where(held, scores, 0.0)
        both = held.astype(float)
        self.blocks = both @ both.T
        self._sums = filled @ both.T - both @ filled.T
        if spread is None:
            self._variance = np.full(self.blocks.shape, np.inf)
            self._free = np.ones(self.blocks.shape)
            return
        one, other = spread.variances[:, None], spread.variances[None, :]
        free_one = spread.degrees_of_freedom[:, None]
        free_other = spread.degrees_of_freedom[None, :]
        self._variance = one + other
        # Satterthwaite, Biometrics Bulletin 2, 1946
        with np.errstate(divide="ignore"):  # of infinitely many degrees of freedom
            free = (one + other) ** 2 / (one**2 / free_one + other**2 / free_other)
        self._free = np.clip(free, 1.0, min(spread.free, _MOST_FREE))

    @property
    def least(self) -> int:
        """The candidate of the lowest mean; -1 where nothing was measured."""
        import numpy as np

        known = np.isfinite(self.means)
        return int(np.where(known, self.means, np.inf).argmin()) if known.any() else -1

    def no_better(self) -> "Mask":
        """Mark pairs of which the first is shown not to be better by the indifference.

        Returns:
            Shape (candidate, candidate): the first may leave in favour of the second.
        """
        import numpy as np

        boundary = self._boundary()
        later = np.tri(len(boundary), k=-1, dtype=bool)  # of two that are equal, the first is kept
        even = later & (boundary == 0.0) & (self._sums == 0.0)
        found: Mask = (self.blocks > 0) & ((self._sums > boundary) | even)
        return found

    def higher(self) -> "Mask":
        """Mark pairs of which the first is shown to be higher at all, by a plain interval.

        Student's t on the differences in shared blocks, Bonferroni over the comparisons. It is for
        what is said of candidates when a race has ended; they do not leave by it.
        """
        import numpy as np
        from scipy.special import stdtrit

        quantile = stdtrit(self._free, 1 - ALPHA / self._comparisons)
        with np.errstate(divide="ignore", invalid="ignore"):
            means = self._sums / self.blocks
            found: Mask = means > quantile * np.sqrt(self._variance / self.blocks)
        return np.asarray(found & (self.blocks > 0))

    def needed(self) -> "Array":
        """Predict after how many shared blocks a pair is decided, if its mean stays as it is.

        Returns:
            Shape (candidate, candidate); infinite where nothing was repeated.
        """
        import numpy as np

        with np.errstate(divide="ignore", invalid="ignore"):
            means = np.abs(np.where(self.blocks > 0, self._sums / self.blocks, 0.0))
            half = self._indifference / 2
            found: Array = self._h2() * self._variance / (2 * self._indifference) / (means + half)
        return found

    def _h2(self) -> "Array":
        import numpy as np

        share = np.log(2 * ALPHA / self._comparisons)
        found: Array = self._free * np.expm1(-2 / self._free * share)
        return found

    def _boundary(self) -> "Array":
        import numpy as np

        delta = self._indifference
        open_until = self._h2() * self._variance / delta**2
        found: Array = np.maximum(0.0, delta / 2 * (open_until - self.blocks))
        return found
