"""The p-values of a family of tests, corrected."""

from collections.abc import Sequence


def holm(ps: Sequence[float]) -> list[float]:
    """Correct a family of p-values (Holm, Scandinavian Journal of Statistics 6, 1979)."""
    from statsmodels.stats.multitest import multipletests

    return [float(p) for p in multipletests(ps, method="holm")[1]] if ps else []
