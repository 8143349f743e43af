"""The ratio of two runs over all their cells, with the block as the unit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from greenbatch.analysis.statistics.interval_methods import welch_error
from greenbatch.analysis.statistics.intervals import LEAST, Interval
from greenbatch.confidence import student_quantile


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
