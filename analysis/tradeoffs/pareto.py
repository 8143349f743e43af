"""Energy against latency and accuracy: the front, and the energy-delay product."""

from collections.abc import Collection
from typing import TYPE_CHECKING

from greenbatch.analysis.dataset.energy_basis import bases_of
from greenbatch.analysis.dataset.factors import factors_of
from greenbatch.analysis.statistics.by_dimension import (
    Figure,
    figure_of,
    intervals_of,
)
from greenbatch.analysis.statistics.claims import FRONT, front_codes
from greenbatch.analysis.tradeoffs.curve_selection import free_factors
from greenbatch.errors import UsageError

if TYPE_CHECKING:
    import xarray as xr

    from greenbatch.analysis.dataset.variables import AnyArray


def energy_metric(net: bool) -> str:
    """Name the energy per image, gross or net."""
    return "energy_per_image_net" if net else "energy_per_image"


def energy_delay_product(
    dataset: "xr.Dataset", *, net: bool = False, quantile: float = 0.5, exponent: int = 1
) -> "xr.Dataset":
    """Multiply energy per image by the latency of its batch, each repetition by itself.

    Args:
        dataset: As `greenbatch.analysis.open_run` gives it, or a part of it.
        net: Less idle power.
        quantile: Of the latency.
        exponent: Of the latency: 2 weighs delay more.

    Returns:
        As `greenbatch.analysis.statistics.by_dimension.intervals_of`, in J s (J s2, ...).

    Source:
        Gonzalez & Horowitz, IEEE JSSC 31(9), 1996; with an exponent, Penzes & Martin, GLSVLSI 2002.
    """
    if exponent < 1:
        raise UsageError(f"the exponent of the delay is {exponent}; give 1 or more")
    energy = figure_of(dataset, energy_metric(net))
    delay = figure_of(dataset, "latency", quantile)
    raised = "" if exponent == 1 else str(exponent)
    attrs = {
        "units": f"J s{raised}",
        "long_name": f"{energy.values.attrs['long_name']} times {delay.values.attrs['long_name']}",
    }
    values = (energy.values * delay.values**exponent).assign_attrs(attrs)

    def why() -> "xr.DataArray":
        return energy.why.where(energy.values.isnull().all("repetition"), "latency is missing")

    return intervals_of(Figure("energy_delay_product", values, energy.source, why, energy.flags))


def pareto(
    dataset: "xr.Dataset", *, accuracy: bool = False, net: bool = False, quantile: float = 0.5
) -> "xr.Dataset":
    """Mark the cells that no other cell dominates in energy per image and latency (and accuracy).

    Means are adjusted for blocks where cells do not share them. The chance that any cell of a front
    is called dominated falsely is at most 5 %; see
    `greenbatch.analysis.statistics.claims.front_codes`.

    Backends, precisions, batch sizes and settings of one model compete; with ``accuracy`` models
    compete as well. Scenarios and what else a dataset has are kept apart.

    Args:
        dataset: As `greenbatch.analysis.open_run` gives it, or a part of it.
        accuracy: Take top-1 accuracy as the third objective, by its value.
        net: Less idle power.
        quantile: Of the latency of a batch.

    Returns:
        ``front``, a code with the meanings of ``FRONT``, with energy and latency and their
        intervals.

    Raises:
        UsageError: Energies that compete rest on different things.
    """
    metric = energy_metric(net)
    energy, latency = figure_of(dataset, metric), figure_of(dataset, "latency", quantile)
    front = front_of(dataset, energy, latency, accuracy=accuracy)
    parts = [intervals_of(figure) for figure in (energy, latency)]
    result = parts[0].merge(parts[1].drop_vars([name for name in parts[1] if name in parts[0]]))
    result["front"] = front
    lacking = parts[1]["reason"].where(parts[1]["latency"].isnull(), "accuracy is missing")
    explained = (result["front"] != FRONT.index("missing")) | result[metric].isnull()
    result["reason"] = (
        result["reason"].where(explained, lacking).assign_attrs(parts[0]["reason"].attrs)
    )
    if accuracy:
        result["accuracy_top1"] = dataset["accuracy_top1"]
        result["accuracy_source"] = dataset["accuracy_source"]
    result.attrs = parts[0].attrs
    return result


def front_of(
    dataset: "xr.Dataset", energy: Figure, latency: Figure, *, accuracy: bool = False
) -> "xr.DataArray":
    """Give the codes of `pareto` alone.

    Args:
        dataset: What the figures are of; has ``accuracy_top1`` where ``accuracy`` counts.
        energy, latency: As `figure_of` gives them.
        accuracy: As for `pareto`.

    Raises:
        UsageError: Energies that compete rest on different things.
    """
    import numpy as np
    import xarray as xr

    dims = (*energy.cells.dims, "repetition")
    e, t = (
        figure.values.transpose(*dims).values.reshape(-1, figure.values.sizes["repetition"])
        for figure in (energy, latency)
    )
    top1 = np.zeros(len(e))
    if accuracy:
        top1 = _flat(dataset["accuracy_top1"], energy)
    bases = bases_of(dataset)
    basis = _flat(bases.codes, energy)
    known = np.isfinite(e).any(-1) & np.isfinite(t).any(-1) & np.isfinite(top1)
    codes = np.zeros(known.shape, dtype=np.int8)
    groups = _groups(dataset, energy, [*free_factors(dataset), *(["model"] if accuracy else [])])
    for group in np.unique(groups[known]):
        at = known & (groups == group)
        bases.refuse_unlike(basis[at], "the front")
        codes[at] = front_codes((e[at], t[at]), (-top1[at],))
    attrs = {
        "units": "1",
        "long_name": "standing against the Pareto front of energy per image and latency"
        + (" and accuracy" if accuracy else ""),
        "flag_values": np.arange(len(FRONT), dtype=np.int8),
        "flag_meanings": " ".join(FRONT),
    }
    cells = energy.cells
    return xr.DataArray(codes.reshape(cells.shape), cells.coords, cells.dims, attrs=attrs)


def _flat(array: "xr.DataArray", energy: Figure) -> "AnyArray":
    """Return an array's values for each cell of a figure, as one dimension."""
    cells = energy.cells
    values: AnyArray = array.broadcast_like(cells).transpose(*cells.dims).values.reshape(-1)
    return values


def _groups(dataset: "xr.Dataset", energy: Figure, compared: Collection[str]) -> "AnyArray":
    """Number the groups of cells that compete: those alike in all factors but the compared."""
    import numpy as np

    found = np.zeros(energy.cells.size, dtype=np.int64)
    for name in factors_of(dataset):
        if name not in compared:
            labels = np.unique(_flat(dataset[name].astype(str), energy), return_inverse=True)[1]
            found = np.unique(found * (labels.max(initial=0) + 1) + labels, return_inverse=True)[1]
    return found
