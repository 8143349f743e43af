"""Which differences between cells are shown: the least of many, and what is dominated.

Two conditions make a difference between two cells significant. Its own 95 % interval over the
blocks that both share (paired t) excludes zero; and its t by the moderated spread of the cells that
compete has a p that is at most 5 % after correction for the number of comparisons. The first needs
no assumption on the spread of other cells, and agrees with the interval that is printed beside. The
second has the degrees of freedom that a correction for many comparisons needs.

The error rates, from ``benchmarks/claims.py``, are in ``docs/statistics.md``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from greenbatch.analysis.statistics.dominance import dominating
from greenbatch.analysis.statistics.intervals import LEAST
from greenbatch.analysis.statistics.multiple_testing import holm
from greenbatch.confidence import CONFIDENCE
from greenbatch.estimates.block_adjustment import BlockFit, fit_blocks
from greenbatch.estimates.moderated_variance import moderate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
    Places = NDArray[np.int64] | int

ParetoStatus = Literal["missing", "dominated", "unsure", "front"]
ALPHA = 1 - CONFIDENCE
LEAST_SPREAD = 1e-4
"""Of the repetitions, as a share of their figure. Values that agree to all digits show that the
meter or the clock is coarse, not that a smaller difference is real."""


def p_above_zero(moved: "Array", floor: float = LEAST_SPREAD) -> "Array":
    """Return the one-sided p of Student's t that means are above zero.

    Args:
        moved: Values by block along the last axis, NaN where one is missing.
        floor: The least standard deviation that is believed.

    Returns:
        1 where there are fewer than three values.
    """
    import numpy as np
    from scipy.special import stdtr

    held = np.isfinite(moved)
    n = np.maximum(held.sum(-1), 2)
    moved = np.where(held, moved, 0.0)
    mean = moved.sum(-1) / n
    square = np.where(held, moved - mean[..., None], 0.0) ** 2
    error = np.maximum((square.sum(-1) / (n - 1)) ** 0.5, floor) / n**0.5
    p: Array = np.where(held.sum(-1) >= LEAST, stdtr(n - 1, -mean / error), 1.0)
    return p


class Competition:
    """Cells that compete in one quantity, of which less is better.

    Attributes:
        values: Shape (cell, block): logarithms where every figure is positive, else as given.
        fit: Their means, adjusted for blocks.
    """

    def __init__(self, figures: "Array") -> None:
        """Take figures.

        Args:
            figures: Shape (cell, block); NaN where a cell has none in a block.
        """
        import numpy as np

        known = figures[np.isfinite(figures)]
        positive = self._positive = bool((known > 0).all())
        self.values = np.log(figures) if positive else figures
        self.fit: BlockFit = fit_blocks(self.values)
        self._floor = LEAST_SPREAD * (1.0 if positive else float(np.abs(known).mean()))
        squares, free = self.fit.rest
        with np.errstate(divide="ignore", invalid="ignore"):
            variances = np.fmax(squares / free, self._floor**2 / 2)
        self._moderated = moderate(variances, free)

    def in_unit(self, values: "Array") -> "Array":
        """Return ``values``, or means of them, in the unit of the figures."""
        import numpy as np

        return np.exp(values) if self._positive else values

    def p_above(self, above: "Places", below: "Places") -> "Array":
        """Return one-sided p values that cells are above others, pair by pair.

        Args:
            above, below: Positions of cells, arrays or numbers that are broadcast.

        Returns:
            1 where the pair's own interval does not show it, and where the two share fewer than
            three blocks. Not corrected.
        """
        import numpy as np
        from scipy.special import stdtr

        above, below = np.broadcast_arrays(above, below)
        moved = self.values[above] - self.values[below]
        held = np.isfinite(moved)
        n = np.maximum(held.sum(-1), 1)
        moved = np.where(held, moved, 0.0)
        mean = moved.sum(-1) / n
        square = np.where(held, moved - mean[..., None], 0.0) ** 2
        own = np.maximum(square.sum(-1) / np.maximum(n - 1, 1), self._floor**2)
        variance, free = self._pair(above, below)
        shown = (n >= LEAST) & (stdtr(n - 1, -mean / (own / n) ** 0.5) <= ALPHA / 2)
        t = mean / (np.fmax(own, variance) / n) ** 0.5
        p: Array = np.where(shown, stdtr(np.fmax(free, n - 1), -t), 1.0)
        return p

    def _pair(self, above: "Places", below: "Places") -> "tuple[Array, Array]":
        """Variance of a difference of two cells, and its degrees of freedom."""
        import numpy as np

        a, b = (self._moderated.variances[at] for at in (above, below))
        free_a, free_b = (self._moderated.degrees_of_freedom[at] for at in (above, below))
        # Satterthwaite, Biometrics Bulletin 2, 1946
        with np.errstate(divide="ignore", invalid="ignore"):
            free = (a + b) ** 2 / (a**2 / free_a + b**2 / free_b)
        return a + b, np.fmin(free, self.fit.degrees_of_freedom)


@dataclass(frozen=True, slots=True)
class Least:
    """The cell that is least of several, and which may be so as well.

    Attributes:
        order: Cells by rising mean, adjusted for blocks; the first is the best.
        means: These means, in that order and in the unit of the figures (the geometric mean where
            all are positive).
        runner_up: The next one that is not below the best in the blocks that the two share.
        alike: Those with no significant difference from the best, in that order (Holm over the
            other cells).
        apart: Those that no chain of shared blocks connects with the best: not comparable.
        adjusted: Whether cells were measured in different blocks, so that means were adjusted.
    """

    order: tuple[int, ...]
    means: tuple[float, ...]
    runner_up: int | None
    alike: tuple[int, ...]
    apart: tuple[int, ...]
    adjusted: bool

    @property
    def best(self) -> int:
        """The least."""
        return self.order[0]

    @property
    def shown(self) -> bool:
        """Whether it is shown to be less than every other; at most 5 % of such claims are false."""
        return len(self.order) > 1 and not self.alike and not self.apart


def by_block(series: "Sequence[Mapping[int, float]]") -> "Array":
    """Lay out figures by block as an array of shape (cell, block); NaN where one is missing."""
    import numpy as np

    blocks = sorted({block for figures in series for block in figures})
    values = [[figures.get(block, np.nan) for block in blocks] for figures in series]
    return np.array(values, dtype=float).reshape(len(series), len(blocks))


def least(figures: "Array") -> Least | None:
    """Find the cell of least mean.

    Args:
        figures: Shape (cell, block); NaN where a cell has none in a block. Those of a quantity
            whose largest is sought are given as reciprocals.

    Returns:
        ``None`` where no cell has a figure. Of several groups of cells that no shared block
        connects the largest is ranked.
    """
    import numpy as np

    if not np.isfinite(figures).any():
        return None
    competition = Competition(figures)
    fit = competition.fit
    known = np.flatnonzero(fit.groups >= 0)
    groups, sizes = np.unique(fit.groups[known], return_counts=True)
    ranked = known[fit.groups[known] == groups[sizes.argmax()]]
    order = ranked[fit.means[ranked].argsort(kind="stable")].tolist()
    values = competition.values
    first = next((cell for cell in order if not _below(cell, order, values).any()), order[0])
    order.sort(key=lambda cell: cell != first)
    elsewhere = dict(zip(order, _below(first, order, values).tolist(), strict=True))
    above = competition.p_above(np.array(order[1:], dtype=int), order[0])
    corrected = holm((2 * above).tolist())
    return Least(
        order=tuple(order),
        means=tuple(competition.in_unit(fit.means[order]).tolist()),
        runner_up=next((cell for cell in order[1:] if not elsewhere[cell]), None),
        alike=tuple(c for c, p in zip(order[1:], corrected, strict=True) if p > ALPHA),
        apart=tuple(c for c in known.tolist() if c not in order),
        adjusted=not fit.balanced,
    )


def _below(one: int, cells: list[int], values: "Array") -> "NDArray[np.bool_]":
    """Mark which of several cells are below one in the blocks that the two share, shape (cell,).

    In designs with gaps the blocks of two cells alone may order them otherwise than all blocks do,
    by less than their spread. Such a cell is not presented as the best.
    """
    import numpy as np

    moved = values[cells] - values[one]
    held = np.isfinite(moved)
    found: NDArray[np.bool_] = np.where(held, moved, 0.0).sum(-1) < -1e-12 * held.sum(-1)
    return found


def p_differ(one: "Mapping[int, float]", other: "Mapping[int, float]") -> float:
    """Return the two-sided p that two cells differ in the blocks that both have.

    Args:
        one, other: Figures by block. Not positive ones are left out.
    """
    import numpy as np

    both = [b for b in one.keys() & other.keys() if one[b] > 0 and other[b] > 0]
    moved = np.array([np.log(one[b] / other[b]) for b in sorted(both)])
    return min(1.0, 2 * min(float(p_above_zero(moved)), float(p_above_zero(-moved))))


def picked_is_less(figures: "Array", picked: int, than: int) -> bool:
    """Whether the cell picked as the least is shown to be less than one that was fixed before.

    The correction is Bonferroni's over all other cells: each could have been picked.

    Args:
        figures: Of all cells that competed, shape (cell, block).
        picked, than: Positions of cells.
    """
    import numpy as np

    others = int(np.isfinite(figures).any(1).sum()) - 1
    return bool(2 * others * float(Competition(figures).p_above(than, picked)) <= ALPHA)


FRONT: tuple[ParetoStatus, ...] = ("missing", "dominated", "unsure", "front")
"""``dominated``: another cell is shown to be better in every measured objective; ``unsure``: only
of the means, or not comparable; see `front_codes`."""


def front_codes(objectives: "Sequence[Array]", fixed: "Sequence[Array]" = ()) -> "NDArray[np.int8]":
    """Say of cells that compete whether they are on the Pareto front.

    Holm over the cells, and Bonferroni over those that may dominate each: the chance that any cell
    is called dominated falsely is at most 5 %.

    Args:
        objectives: Figures of which less is better, each of shape (cell, block) and with a value
            of every cell.
        fixed: Further objectives that count by their value, shape (cell,); less is better.

    Returns:
        Positions in ``FRONT``, shape (cell,).
    """
    import numpy as np

    cells = len(objectives[0])
    if not cells:
        return np.full(0, FRONT.index("missing"), dtype=np.int8)
    measured = [Competition(figures) for figures in objectives]
    means = np.stack([*(one.fit.means for one in measured), *fixed], axis=-1)
    groups = np.stack([one.fit.groups for one in measured], axis=-1)
    p = np.ones(cells)
    codes = np.full(cells, FRONT.index("front"), dtype=np.int8)
    kinds, which, sizes = np.unique(groups, axis=0, return_inverse=True, return_counts=True)
    which = which.reshape(-1)
    for i in range(cells):
        better = dominating(means, means[i]) & (which == which[i])
        if better.any():
            others = np.flatnonzero(better)
            above = np.max([one.p_above(i, others) for one in measured], axis=0)
            p[i] = min(1.0, float(above.min()) * (cells - 1))
            codes[i] = FRONT.index("unsure")
    if len(kinds) > 1:  # a part of the cells was never measured together with the others
        codes[which != sizes.argmax()] = FRONT.index("unsure")
    codes[np.array(holm(p.tolist())) <= ALPHA] = FRONT.index("dominated")
    return codes
