"""One curve or one choice out of a dataset: labels that narrow it, and what to call the rest."""

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greenbatch.analysis.dataset.energy_basis import Basis, bases_of
from greenbatch.analysis.dataset.flagged import flags_in
from greenbatch.analysis.dataset.variables import CELL_FACTORS, COORDINATES, settings_of
from greenbatch.analysis.statistics.by_dimension import designed, figure_of, select
from greenbatch.errors import UsageError
from greenbatch.records import TRAFFIC

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray

    Array = NDArray[np.float64]

Labels = Mapping[str, Hashable]


@dataclass(frozen=True)
class Curve:
    """A figure over the batch size.

    Attributes:
        name: What it is a curve of: ``alexnet on torch-cpu``.
        batch_sizes: Rising; only those with a figure.
        values: Shape (batch size, block); NaN where a block has none.
        blocks: Their numbers.
        estimated: Whether the energy, or a part of it, is an estimate.
        bases: What the energies of its points rest on, each once; empty of other metrics.
        flagged: How many of its repetitions carry each flag, in words.
    """

    name: str
    batch_sizes: "NDArray[np.int64]"
    values: "Array"
    blocks: "NDArray[np.int64]"
    estimated: bool
    bases: tuple[Basis, ...] = ()
    flagged: str = ""

    @property
    def whole(self) -> "Array":
        """The values of the blocks that have every batch size, shape (batch size, block)."""
        import numpy as np

        return self.values[:, np.isfinite(self.values).all(0)]


def free_dims(dataset: "xr.Dataset") -> tuple[str, ...]:
    """List the dimensions that a user chooses along; others say what is to be done."""
    settings = (dim for dim in settings_of(dataset) if dim not in TRAFFIC)
    known = ("backend", "precision", "batch_size", "policy", *settings)
    return tuple(dim for dim in known if dim in dataset["energy_per_image"].dims)


def narrowed(
    dataset: "xr.Dataset", labels: Labels, free: tuple[str, ...], what: str
) -> "xr.Dataset":
    """Narrow a dataset so that only ``free`` dimensions (and the repetition) are left.

    Raises:
        UnknownNameError: There is no such dimension or label.
        UsageError: Another dimension has several labels left.
    """
    found = designed(select(dataset, labels))
    for dim in found["energy_per_image"].dims:
        if dim in (*free, "repetition"):
            continue
        known = [str(label) for label in found[dim].values]
        if len(known) != 1:
            raise UsageError(
                f"{what} is of one {dim}, and there are {', '.join(known) or 'none'}; "
                f"give {dim}=..."
            )
        found = found.isel({dim: 0})
    return found


def curve_of(dataset: "xr.Dataset", labels: Labels, metric: str, what: str) -> Curve:
    """Take one curve over the batch size out of a dataset.

    Raises:
        UnknownNameError: There is no such dimension, label or metric.
        UsageError: The labels leave several curves; or the energies of the curve's points rest on
            different things.
    """
    import numpy as np

    found = narrowed(dataset, labels, ("batch_size",), what)
    if "batch_size" not in found.dims:
        raise UsageError(f"{what} needs several batch sizes; select none")
    figure = figure_of(found.sortby("batch_size"), metric)
    values = figure.values.transpose("batch_size", "repetition").values
    known = np.isfinite(values).any(1)
    estimated = False
    found_bases: tuple[Basis, ...] = ()
    if figure.source is not None:
        bases = bases_of(found.sortby("batch_size"))
        codes = bases.codes.values[known]
        bases.refuse_unlike(codes, what)
        found_bases = tuple(bases.of(codes))
        estimated = any(basis.source.in_part_estimated for basis in found_bases)
    return Curve(
        named(dataset, scalars(found)),
        figure.values["batch_size"].values[known],
        values[known],
        figure.values["repetition"].values,
        estimated,
        found_bases,
        flags_in(found),
    )


def curves(dataset: "xr.Dataset") -> Iterator[dict[str, Hashable]]:
    """List the labels of every curve over the batch size that the study has."""
    import numpy as np

    held = dataset["in_design"] if "in_design" in dataset else dataset["energy_per_image"].notnull()
    held = held.any([dim for dim in ("batch_size", "repetition") if dim in held.dims])
    for place in np.argwhere(held.values).tolist():
        yield {
            str(dim): held[dim].values[i].item() for dim, i in zip(held.dims, place, strict=True)
        }


def curve_count(dataset: "xr.Dataset", labels: Labels, metric: str, points: int) -> int:
    """Count the curves over the batch size that have so many points, at least 1.

    Args:
        dataset: Whose curves are a family of claims.
        labels: Of one of them; those of another scenario are no part of the family.
        metric: Of the points.
        points: Fewest.
    """
    if "scenario" in dataset.dims:
        scenario = labels.get("scenario", dataset["scenario"].values[0])
        dataset = dataset.sel(scenario=[scenario])
    known = figure_of(dataset, metric).values.notnull().any("repetition")
    return max(1, int((known.sum("batch_size") >= points).sum()))


def named(dataset: "xr.Dataset", labels: Labels) -> str:
    """Call a cell or a curve by its labels; what the whole study has in common is left out."""
    settings = settings_of(dataset)
    name = f"{labels.get('model', 'a model')} on {labels.get('backend', 'a backend')}"
    more = []
    for dim, label in labels.items():
        if dim in ("model", "backend", "batch_size") or dataset[dim].size == 1:
            continue
        if dim not in settings:
            more.append(str(label))
        elif label != dataset[dim].attrs.get("not_set"):
            more.append(f"{settings[dim]}={label}")
    name = f"{name} ({', '.join(more)})" if more else name
    return f"{name} at batch {labels['batch_size']}" if "batch_size" in labels else name


def scalars(dataset: "xr.Dataset") -> dict[str, Hashable]:
    """Return the labels that were selected, not the facts that go along with them."""
    return {
        str(name): coord.item()
        for name, coord in dataset.coords.items()
        if not coord.dims and (name in CELL_FACTORS or name not in COORDINATES)
    }
