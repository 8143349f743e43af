"""Which domains count, of each repetition: those of the device that its cell uses, and the host."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from greenbatch.records import EnergyFigure

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray

    from greenbatch.analysis.dataset.variables import AnyArray

COUNTED = ("unstated", "no", "yes")
"""Meanings of ``energy_counted``; ``unstated``: as the coordinate ``counts`` has it."""
_UNSTATED, _NO, _YES = range(3)


def counted_by_backend(
    figures: Iterable[tuple[str, Iterable[EnergyFigure]]],
) -> dict[str, dict[str, bool]]:
    """Find which domains count in the cells of each backend, by its figures.

    Args:
        figures: The name of a backend, and figures of one of its cells.
    """
    found: dict[str, dict[str, bool]] = {}
    for backend, some in figures:
        own = found.setdefault(backend, {})
        for figure in some:
            own[figure.domain] = own.get(figure.domain, False) or figure.counts
    return found


def codes_of(
    figures: Iterable[EnergyFigure], by_backend: Mapping[str, bool], domains: Iterable[str]
) -> list[int]:
    """List the positions in `COUNTED` of each domain in one repetition.

    A domain that it has no figure of counts if it does in other repetitions of the backend: then a
    part is missing.

    Args:
        figures: Of the repetition.
        by_backend: See `counted_by_backend`; empty: nothing is known of the backend.
        domains: In the dataset's order.
    """
    own = {figure.domain: figure.counts for figure in figures}
    if not by_backend:
        return [_UNSTATED for _ in domains]
    return [_YES if own.get(name, by_backend.get(name, False)) else _NO for name in domains]


def counted_code(counts: bool) -> int:
    """Return the position in `COUNTED` of a domain that counts, or does not."""
    return _YES if counts else _NO


def mask_of(codes: "AnyArray", counts: "AnyArray") -> "NDArray[np.bool_]":
    """Return whether each domain counts.

    Args:
        codes: Positions in `COUNTED`, shape (..., domain).
        counts: Whether it does where that is not stated, shape (domain,).
    """
    mask: NDArray[np.bool_] = (codes == _YES) | ((codes == _UNSTATED) & (counts == 1))
    return mask


def codes_by_domain(dataset: "xr.Dataset") -> "AnyArray":
    """Return the positions in `COUNTED` of each domain of an earlier program's file."""
    import numpy as np

    return np.where(dataset["counts"].values == 1, _YES, _NO)


def counts_of(dataset: "xr.Dataset") -> "AnyArray":
    """Return the coordinate ``counts``; zeros where runs were merged that disagree about it."""
    import numpy as np

    if "counts" in dataset.coords:
        return dataset["counts"].values
    return np.zeros(dataset.sizes["domain"], dtype=np.int8)


def counted_domains(dataset: "xr.Dataset") -> "xr.DataArray":
    """Return whether each domain counts in each repetition; in older files, in all alike."""
    import xarray as xr

    if "counts" in dataset.coords:
        counts = dataset["counts"] == 1
    else:
        counts = xr.DataArray(counts_of(dataset) == 1, dims="domain")
    if "energy_counted" not in dataset:
        return counts
    codes = dataset["energy_counted"]
    return (codes == _YES) | ((codes == _UNSTATED) & counts)


def sum_counted(values: "AnyArray", mask: "NDArray[np.bool_]") -> "AnyArray":
    """Sum over the domains that count; NaN where one of them is, or where none counts.

    Args:
        values: Shape (..., domain).
        mask: Whether each domain counts, of a shape that broadcasts to that of ``values``.
    """
    import numpy as np

    mask = np.broadcast_to(mask, values.shape)
    used = mask.any(axis=tuple(range(mask.ndim - 1)))
    if not used.any():  # an empty sum would be a silent zero
        return np.full(values.shape[:-1], np.nan)
    picked, chosen = values[..., used], mask[..., used]
    total: AnyArray = np.where(chosen, picked, 0.0).sum(axis=-1)
    return np.where(chosen.any(axis=-1), total, np.nan)
