"""The factors of a dataset's cells: coordinates by which cells are named, chosen and listed.

Everything here goes by the coordinates that a dataset has, so that it may be narrowed (``sel``).
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from greenbatch.analysis.dataset.groups import dims_of_cells
from greenbatch.analysis.dataset.labelled_cells import make_cell
from greenbatch.analysis.dataset.variables import SERVER, VARIANT, settings_of
from greenbatch.errors import UnknownNameError, UsageError
from greenbatch.queueing.policies import parse_policy
from greenbatch.records import TRAFFIC, Cell

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray

Labels: TypeAlias = Mapping[str, Hashable]
_NAMES = ("batch_size", *TRAFFIC, "machine", "run")
_INSIDE = frozenset(
    ("repetition", "domain", "quantile", "memory", "sensor", "clock_domain", "phase")
)
"""Dimensions inside a cell."""
EMPTY = '""'
"""The label of a setting that was set to an empty text; one that is not set has an empty label."""


def factors_of(dataset: "xr.Dataset") -> tuple[str, ...]:
    """List the factors of a group: coordinates that say what a cell is, as ``backend``."""
    known = ("model", *VARIANT, *settings_of(dataset), *_NAMES)
    coords, dims = dataset["status"].coords, map(str, dataset["status"].dims)
    more = (dim for dim in dims if dim not in (*known, "variant", "traffic", "repetition"))
    inside = {name for name in coords if "repetition" in coords[name].dims}
    return (*(name for name in known if name in coords and name not in inside), *more)


def factors_along(dataset: "xr.Dataset", dim: str) -> dict[str, list[Hashable]]:
    """Return the factors that go along a dimension: by name, one label for each place."""
    return {
        name: dataset[name].values.tolist()
        for name in factors_of(dataset)
        if dataset[name].dims == (dim,)
    }


class LabelsOfPlaces:
    """Gives the labels of all factors at a place, those that were selected included.

    Args:
        dataset: A group.
        dims: The dimensions that a place has a position along.
    """

    def __init__(self, dataset: "xr.Dataset", dims: Sequence[str]) -> None:
        self._along = [factors_along(dataset, dim) for dim in dims]
        scalars = (name for name in factors_of(dataset) if not dataset[name].dims)
        self._selected: dict[str, Hashable] = {name: dataset[name].item() for name in scalars}

    def __call__(self, place: Sequence[int]) -> dict[str, Hashable]:
        """Return the labels at these positions, by factor."""
        found = dict(self._selected)
        for some, at in zip(self._along, place, strict=True):
            found |= {name: labels[at] for name, labels in some.items()}
        return found


def select(dataset: "xr.Dataset", labels: Labels) -> "xr.Dataset":
    """Narrow a dataset to labels, each with a message of its own where it does not exist.

    Args:
        dataset: Of any group, or of several.
        labels: By dimension, as ``batch_size=8``, which is dropped as by ``sel``; or by any
            coordinate that goes along one, as ``backend="torch-cpu"`` or ``allow_spinning=0``: what
            has another label goes. A setting that is ``None`` is not set.

    Raises:
        UnknownNameError: There is no such dimension, coordinate or label.
        UsageError: The labels exist, but not together.
    """
    for name, label in labels.items():
        if name not in dataset.coords or name == "repetition":
            if name == "scenario":  # a dimension before schema 3
                raise UsageError(
                    "the dataset is of the closed loop, and ds.gb.servers has the servers; leave "
                    "out scenario=..."
                )
            known = [str(n) for n, coord in dataset.coords.items() if not {*coord.dims} & _INSIDE]
            raise UnknownNameError("dimension", name, known)
        if not _matching(dataset, name, label).any():
            every = dataset[name].values.reshape(-1).tolist()
            raise UnknownNameError(name, str(label), dict.fromkeys(map(str, every)))
    for name, label in labels.items():
        dims = dataset[name].dims
        if len(dims) > 1:
            raise UsageError(f"{name} differs along {dims[0]}; give {dims[0]}=... first")
        if not dims:
            continue
        places = _matching(dataset, name, label).nonzero()[0]
        if not places.size:
            given = ", ".join(f"{key}={text}" for key, text in labels.items())
            raise UsageError(f"no {dims[0]} has all of {given}; leave one of them out")
        dataset = dataset.isel({dims[0]: int(places[0]) if name in dataset.dims else places})
    return dataset


def _matching(dataset: "xr.Dataset", name: str, label: Hashable) -> "NDArray[np.bool_]":
    """Say which labels of a coordinate are meant; a number may stand for its text."""
    import numpy as np

    found = dataset[name].values
    if found.dtype.kind not in "OUT":
        return np.atleast_1d(found == label)
    texts = {"" if label is None else str(label)}
    if isinstance(label, int | float):
        texts.add(f"{label:g}")
    return np.atleast_1d(np.isin(found.astype(str), [*texts]))


def designed(dataset: "xr.Dataset") -> "xr.Dataset":
    """Drop the variants and the traffic that no cell of this part of a dataset has."""
    import numpy as np

    for dim in ("variant", "traffic"):
        groups = [dataset[name] for name in ("in_design", f"{SERVER}in_design") if name in dataset]
        held = [
            (one == 1).any([d for d in one.dims if d != dim]) for one in groups if dim in one.dims
        ]
        if held and not (kept := np.any([one.values for one in held], axis=0)).all():
            dataset = dataset.isel({dim: kept})
    return dataset


def cells_of(dataset: "xr.Dataset") -> Iterator[tuple[Cell, tuple[int, ...]]]:
    """List the cells of a group's design, with their places along the dimensions of a cell.

    Args:
        dataset: A group, not narrowed but to lists of labels.

    Raises:
        RunError: A label is unfit for a cell.
    """
    import numpy as np

    dims = dims_of_cells(dataset)
    if "in_design" in dataset:
        design = dataset["in_design"].transpose(*dims).values
    else:  # before there were settings, the grid was the design
        design = np.ones([dataset.sizes[dim] for dim in dims])
    labels_of, settings = LabelsOfPlaces(dataset, dims), settings_of(dataset)
    for place in map(tuple, np.argwhere(design).tolist()):
        yield cell_of(labels_of(place), settings), place


def cell_of(labels: Labels, settings: Mapping[str, str]) -> Cell:
    """Return the cell with these labels.

    Args:
        labels: By factor; a setting that is empty is not set.
        settings: Names of the settings by factor.

    Raises:
        RunError: A label is unfit for a cell.
    """
    traffic = tuple((name, labels[name]) for name in TRAFFIC if name in labels)
    pairs = ((name, str(labels[dim])) for dim, name in settings.items() if labels[dim])
    return make_cell(
        Cell,
        **{name: labels[name] for name in ("model", *VARIANT)},
        scenario="server" if traffic else "offline",
        batch_size=_largest(str(labels["policy"])) if traffic else labels["batch_size"],
        settings=tuple((name, "" if text == EMPTY else text) for name, text in pairs),
        traffic=traffic,
    )


def _largest(policy: str) -> int:
    """Return the largest batch of a policy; of a text that is none, 1."""
    try:
        return parse_policy(policy).largest
    except UsageError:
        return 1
