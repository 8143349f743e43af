"""The p-values of a family of tests, corrected."""

from collections.abc import Sequence


def holm(ps: Sequence[float]) -> list[float]:
    """Correct a family of p-values (Holm, Scandinavian Journal of Statistics 6, 1979)."""
    found, highest = [0.0] * len(ps), 0.0
    for left, place in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
        highest = max(highest, min((len(ps) - left) * ps[place], 1.0))
        found[place] = highest
    return found
