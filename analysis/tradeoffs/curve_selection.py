"""One curve or one choice out of a dataset: labels that narrow it, and what to call the rest."""

from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from greenbatch.analysis.dataset.energy_basis import Basis, bases_of
from greenbatch.analysis.dataset.factors import Labels, LabelsOfPlaces, designed, factors_of, select
from greenbatch.analysis.dataset.flagged import flags_in
from greenbatch.analysis.dataset.variables import settings_of
from greenbatch.analysis.statistics.by_dimension import figure_of
from greenbatch.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray

    Array = NDArray[np.float64]


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


def free_factors(dataset: "xr.Dataset") -> tuple[str, ...]:
    """List the factors that a user chooses among; others say what is to be done."""
    return ("backend", "precision", *settings_of(dataset), "batch_size", "policy")


def narrowed(
    dataset: "xr.Dataset", labels: Labels, free: tuple[str, ...], what: str
) -> "xr.Dataset":
    """Narrow a dataset so that only ``free`` factors (and the repetition) are left.

    A dimension along which nothing is left to choose is dropped.

    Raises:
        UnknownNameError: There is no such dimension, factor or label.
        UsageError: Another factor has several labels left.
    """
    found = designed(select(dataset, labels))
    for name in factors_of(found):
        known = dict.fromkeys(found[name].values.reshape(-1).tolist())
        if name not in free and len(known) != 1:
            shown = ", ".join(str(label) or "not set" for label in known) or "none"
            raise UsageError(f"{what} is of one {name}, and there are {shown}; give {name}=...")
    dims = [dim for dim in found["energy_per_image"].dims if dim not in (*free, "repetition")]
    return found.isel({dim: 0 for dim in dims if found.sizes[dim] == 1})


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
        named(dataset, LabelsOfPlaces(found, ())(())),
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
    labels_of = LabelsOfPlaces(dataset, [str(dim) for dim in held.dims])
    for place in np.argwhere(held.values).tolist():
        yield {name: label for name, label in labels_of(place).items() if name != "batch_size"}


def curve_count(dataset: "xr.Dataset", metric: str, points: int) -> int:
    """Count the curves over the batch size that have so many points, at least 1.

    Args:
        dataset: Whose curves are a family of claims.
        metric: Of the points.
        points: Fewest.
    """
    known = figure_of(dataset, metric).values.notnull().any("repetition")
    return max(1, int((known.sum("batch_size") >= points).sum()))


def named(dataset: "xr.Dataset", labels: Labels) -> str:
    """Call a cell or a curve by its labels; what the whole study has in common is left out."""
    settings = settings_of(dataset)
    name = f"{labels.get('model', 'a model')} on {labels.get('backend', 'a backend')}"
    more = []
    for factor, label in labels.items():
        common = len({*dataset[factor].values.reshape(-1).tolist()}) == 1
        if factor in ("model", "backend", "batch_size") or common:
            continue
        if factor not in settings:
            more.append(str(label))
        elif label:
            more.append(f"{settings[factor]}={label}")
    name = f"{name} ({', '.join(more)})" if more else name
    return f"{name} at batch {labels['batch_size']}" if "batch_size" in labels else name
