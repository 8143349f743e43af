"""Means of cells that were not all measured in the same blocks, as if they had been.

A cell that leaves a run early, or whose repetition failed, has a plain mean over other blocks than
the others. In an additive model of cell and block effects the least-squares means are free of that.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BlockFit:
    """Value = cell + block + rest, fitted by least squares.

    Attributes:
        means: Of each cell, as if measured in every block of its group, shape (cell,); NaN of a
            cell without a value.
        groups: Of each cell, shape (cell,): two cells are comparable where a chain of shared
            blocks connects them, and then have the same number; -1 of a cell without a value.
        residual_sd: Standard deviation of the rest; NaN where it has no degree of freedom.
        degrees_of_freedom: Of the rest.
        squares, counts: Sum of the squared rest of each cell, and its values, shape (cell,).
        balanced: Whether every cell was measured in the same blocks; then ``means`` are plain.
    """

    means: "Array"
    groups: "NDArray[np.int64]"
    residual_sd: float
    degrees_of_freedom: int
    squares: "Array"
    counts: "NDArray[np.int64]"
    balanced: bool

    @property
    def rest(self) -> "tuple[Array, Array]":
        """Each cell's share of the rest: sum of squares and degrees of freedom, shape (cell,)."""
        import numpy as np

        share = self.degrees_of_freedom / max(np.maximum(self.counts - 1, 0).sum(), 1)
        return self.squares, np.maximum(self.counts - 1, 0) * share


def fit_blocks(values: "Array") -> BlockFit:
    """Fit cell and block effects to values with gaps.

    Args:
        values: Shape (cell, block), on the scale on which effects add up (logarithms of figures
            that are positive); NaN where a cell has no value in a block.

    Source:
        Searle, Linear Models for Unbalanced Data, 1987: the two-way classification without
        interaction, connectedness, and least-squares means. The cells are eliminated, so that the
        equations have the size of the number of blocks.
    """
    import numpy as np

    held = np.isfinite(values)
    counts = held.sum(1)
    known, used = counts > 0, held.any(0)
    filled = np.where(held, values, 0.0)
    with np.errstate(invalid="ignore"):
        plain = filled.sum(1) / counts
    balanced = bool(held[known].all(0)[used].all())
    block_groups = _connected(held)
    groups = np.where(known, block_groups[held.argmax(1)], -1)
    shares = held[known] / counts[known, None]
    equations = np.diag(held.sum(0).astype(float)) - held[known].T.astype(float) @ shares
    left = (filled[known] - np.where(held[known], plain[known, None], 0.0)).sum(0)
    # The pseudo-inverse makes the effects of each group's blocks add up to zero.
    blocks = np.linalg.pinv(equations, hermitian=True) @ left
    means = plain.copy()
    if not balanced:
        means[known] = plain[known] - shares @ blocks
    rest = np.where(held, values - means[:, None] - blocks, 0.0)
    effects = int(known.sum()) + int(used.sum()) - len(np.unique(block_groups[used]))
    free = int(held.sum()) - effects
    spread = float(np.sqrt((rest**2).sum() / free)) if free > 0 else float("nan")
    return BlockFit(means, groups, spread, max(free, 0), (rest**2).sum(1), counts, balanced)


def _connected(held: "NDArray[np.bool_]") -> "NDArray[np.int64]":
    """Number the groups of blocks that chains of cells connect, shape (block,)."""
    import numpy as np

    numbers = np.arange(held.shape[1])
    for cell in held:  # every cell joins the groups of its blocks
        joined = np.unique(numbers[cell])
        if joined.size > 1:
            numbers[np.isin(numbers, joined)] = joined[0]
    return numbers
