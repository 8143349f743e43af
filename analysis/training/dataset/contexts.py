"""The parts of a training run's dataset that are compared among themselves."""

import json
from collections.abc import Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Literal, TypedDict

from greenbatch.analysis.dataset.training_variables import FACTORS, TRIAL, cell_dims

if TYPE_CHECKING:
    import xarray as xr

_ENDS = (*TRIAL, "machine")


@dataclass(frozen=True, slots=True)
class Context:
    """What is the same in all that is compared.

    Attributes:
        labels: Pairs of dimension and label.
        name: Of those that differ within the run: ``simple-cnn on digits``; empty where none does.
    """

    labels: tuple[tuple[str, Hashable], ...]
    name: str

    def __str__(self) -> str:
        return self.name


def contexts(
    dataset: "xr.Dataset", apart: Collection[str]
) -> "Iterator[tuple[Context, xr.Dataset]]":
    """Take a dataset apart along all dimensions of a cell (and machine) but some.

    Args:
        dataset: As `greenbatch.analysis.training.open_training` gives it.
        apart: Dimensions that stay.

    Yields:
        What is the same, and the part with the dimensions that stayed; parts without a cell of
        the design are left out.
    """
    dims = [
        dim for dim in ("machine", *cell_dims(dataset)) if dim in dataset.dims and dim not in apart
    ]
    labels = [dataset[dim].values.tolist() for dim in dims]
    varying = {dim for dim, found in zip(dims, labels, strict=True) if len(found) > 1}
    for places in product(*labels):
        at = dict(zip(dims, places, strict=True))
        part = dataset.sel(at, drop=True)
        if not bool((part["in_design"] == 1).any()):
            continue
        yield Context(tuple(at.items()), name_of(at, varying)), part


def name_of(labels: Mapping[str, Hashable], varying: Collection[str]) -> str:
    """Name a cell by the labels that differ within the run; settings in the order of their names.

    >>> name_of({"model": "cnn", "data": "digits", "batch_size": 32}, {"model", "batch_size"})
    'cnn, batch 32'
    """
    words = {"batch_size": "batch", "data": "on", "machine": "on"}
    found = [(dim, label) for dim, label in labels.items() if dim in varying]
    settings = [pair for pair in found if pair[0] not in (*FACTORS, *_ENDS)]
    ends = [pair for end in _ENDS for pair in found if pair[0] == end]
    others = [pair for pair in found if pair[0] in FACTORS]
    parts = [
        str(label)
        if dim in ("model", "backend", "precision", "strategy")
        else f"{words.get(dim, dim.replace('_', ' '))} {label}"
        for dim, label in (*others, *sorted(settings), *ends)
    ]
    return ", ".join(parts)


class SearchDesign(TypedDict):
    """What analysis reads of the design of a search."""

    objective: Literal["accuracy", "energy", "both"]
    within: float


def search_of(dataset: "xr.Dataset") -> SearchDesign | None:
    """Return the design of the search, as in the study; ``None`` where the run was none."""
    found = json.loads(dataset.attrs.get("search", "null"))
    if not found:
        return None
    return SearchDesign(
        objective=found.get("objective", "accuracy"), within=found.get("within", 0.01)
    )
