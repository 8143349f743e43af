"""Which nodes lose accuracy in a lower precision: measured, and the fewest of them kept in float32.

The loss of some nodes is what the network loses where they alone compute in the lower precision.
Groups of neighbours are measured first, and the worst are halved until single nodes are found.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

Loss: TypeAlias = Callable[[frozenset[str]], float]
"""From the nodes that are kept in float32 to the loss: above 1 is outside the bound, and infinite
where an output is not finite."""

MULTIPLYING = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators that multiply by weights: what a lower precision is for."""

_GROUPS = 16  # that are measured first
_MOST_RUNS = 96  # in which the worst groups are halved
_NEGLIGIBLE = 0.02  # loss of a group that is not looked into
_MOST_SPARED = 24  # parts that are tried to be left out again
_MOST_KEPT = 0.5  # share of the nodes, and of those that multiply: else little is gained
_STEPS = 3  # larger choices that are tried where the artifact itself needs more than was measured


@dataclass(frozen=True, slots=True)
class Node:
    """A node that could be kept, and whether it multiplies by weights."""

    name: str
    multiplies: bool


@dataclass(slots=True)
class _Part:
    nodes: tuple[Node, ...]
    loss: float = field(default=0.0)


def choices(nodes: Sequence[Node], loss: Loss) -> Iterator[frozenset[str]]:
    """Yield nodes to keep in float32, the fewest first; each choice holds the one before.

    A choice that would keep more than half of the nodes, or of those that multiply, is not made.

    Args:
        nodes: All that could be kept, in the order in which they run.
        loss: See `Loss`.
    """
    ranked = _ranked(nodes, loss)
    count = _fewest(ranked, nodes, loss)
    if count is None:
        return
    kept = _spared(ranked[:count], loss)
    yield _names(kept)
    rest = [part for part in ranked if part not in kept]
    for step in range(_STEPS):
        kept = [*kept, *rest[: max(1, len(kept)) << step]]
        rest = [part for part in rest if part not in kept]
        if not _affordable(kept, nodes):
            return
        yield _names(kept)


def _ranked(nodes: Sequence[Node], loss: Loss) -> list[_Part]:
    """Return parts of the network, the one that loses most first."""
    every = _names([_Part(tuple(nodes))])

    def measured(part: Sequence[Node]) -> _Part:
        return _Part(tuple(part), loss(every - {node.name for node in part}))

    size = max(1, -(-len(nodes) // _GROUPS))
    parts = [measured(nodes[at : at + size]) for at in range(0, len(nodes), size)]
    for _ in range(_MOST_RUNS // 2):
        large = [part for part in parts if len(part.nodes) > 1 and part.loss > _NEGLIGIBLE]
        if not large:
            break
        worst = max(large, key=lambda part: part.loss)
        parts.remove(worst)
        half = len(worst.nodes) // 2
        parts.extend((measured(worst.nodes[:half]), measured(worst.nodes[half:])))
    return sorted(parts, key=lambda part: -part.loss)


def _fewest(ranked: Sequence[_Part], nodes: Sequence[Node], loss: Loss) -> int | None:
    """Return how many of the worst parts have to be kept; ``None``: too many."""
    most = max((n for n in range(1, len(ranked) + 1) if _affordable(ranked[:n], nodes)), default=0)
    if not most or loss(_names(ranked[:most])) > 1:
        return None
    low, high = 0, most  # the first is not enough, or nothing would have been measured
    while high - low > 1:
        middle = (low + high) // 2
        if loss(_names(ranked[:middle])) > 1:
            low = middle
        else:
            high = middle
    return high


def _spared(kept: Sequence[_Part], loss: Loss) -> list[_Part]:
    """Leave out again what is not needed, of the parts that lose least."""
    needed = list(kept)
    for part in reversed(kept[-_MOST_SPARED:]):
        others = [one for one in needed if one is not part]
        if others and loss(_names(others)) <= 1:
            needed = others
    return needed


def _affordable(kept: Sequence[_Part], nodes: Sequence[Node]) -> bool:
    multiply = sum(node.multiplies for node in nodes)
    chosen = [node for part in kept for node in part.nodes]
    return len(chosen) <= max(1, _MOST_KEPT * len(nodes)) and (
        not multiply or sum(n.multiplies for n in chosen) <= max(1, _MOST_KEPT * multiply)
    )


def _names(parts: Collection[_Part]) -> frozenset[str]:
    return frozenset(node.name for part in parts for node in part.nodes)
