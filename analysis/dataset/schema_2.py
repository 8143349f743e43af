"""Datasets of schemas 1 and 2 laid out as those of today.

There every factor was a dimension, every setting one more, and in studies with servers so was each
member of their traffic; ``in_design`` said which places of that grid were cells. Of schema 1, all
were.
"""

import json
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from greenbatch.analysis.dataset.factors import EMPTY
from greenbatch.analysis.dataset.training_variables import KIND
from greenbatch.analysis.dataset.variables import (
    CELL_FACTORS,
    COORDINATES,
    LOOP,
    OF_SERVERS,
    SERVED,
    SERVER,
    VARIABLES,
    VARIANT,
    settings_of,
)
from greenbatch.analysis.dataset.variants import Variant, traffic_label
from greenbatch.records import TRAFFIC, Traffic

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray

    Places = NDArray[np.intp]

LAST_SCHEMA = 2
_Spot: TypeAlias = Mapping[str, int]
"""Positions along the old dimensions."""
_Hashed = TypeVar("_Hashed", Variant, Traffic)


def is_earlier(attrs: Mapping[Hashable, object]) -> bool:
    """Whether the attributes are those of an earlier dataset of inference."""
    return attrs.get("kind") != KIND and int(str(attrs.get("schema", 0))) <= LAST_SCHEMA


def upgraded(dataset: "xr.Dataset") -> "xr.Dataset":
    """Lay out a dataset of an earlier schema as one of today.

    Args:
        dataset: Of inference; one that is merged along ``machine`` or ``run`` keeps that dimension.

    Raises:
        ValueError: It lacks a dimension or its labels; the message is a phrase.
    """
    import xarray as xr

    dims = (*CELL_FACTORS, *settings_of(dataset))
    for dim in dims:
        if dim not in dataset.dims or dim not in dataset.coords:
            raise ValueError(f"it lacks the dimension {dim}, one of whose labels was chosen")
    cells = [dict(zip(dims, place, strict=True)) for place in _design(dataset, dims).tolist()]
    is_server = [_label(dataset, "scenario", cell) == "server" for cell in cells]
    loop = [cell for cell, server in zip(cells, is_server, strict=True) if not server]
    served = [cell for cell, server in zip(cells, is_server, strict=True) if server]
    variants = _numbered(_variant(dataset, cell) for cell in cells)
    traffic = _numbered(_traffic(dataset, cell) for cell in served)
    sizes = sorted({cell["batch_size"] for cell in loop})
    size_of = {size: place for place, size in enumerate(sizes)}
    backends = {variants[_variant(dataset, cell)]: cell["backend"] for cell in cells}
    coords = _coordinates(dataset, variants, [backends[at] for at in range(len(variants))], traffic)
    coords["batch_size"] = dataset["batch_size"].variable[sizes]
    found = xr.Dataset(coords=coords, attrs=dataset.attrs)

    def moved(name: str, own: Sequence[_Spot], prefix: str = "") -> None:
        """Take a variable's values of these cells over."""
        to = {"": LOOP, SERVER: SERVED}[prefix] if VARIABLES[name].of_cells else LOOP[:2]
        places = [
            (
                cell["model"],
                variants[_variant(dataset, cell)],
                traffic[_traffic(dataset, cell)] if prefix else size_of.get(cell["batch_size"], 0),
            )[: len(to)]
            for cell in own
        ]
        found[prefix + name] = _moved(
            dataset[name], name, own, places, [found.sizes[d] for d in to], to
        )

    for name in (name for name in VARIABLES if name in dataset):
        if not VARIABLES[name].of_cells:
            moved(name, [*served, *loop])
            continue
        if name not in OF_SERVERS:
            moved(name, loop)
        if traffic:
            moved(name, served, SERVER)
    found.attrs |= {"schema": LAST_SCHEMA + 1, "settings": _settings(dataset.attrs)}
    if found.attrs.get("merged_along") in ("machine", "run"):
        found.attrs["parts"] = json.dumps(list(_parts(found)))
    return found


def _design(dataset: "xr.Dataset", dims: Sequence[str]) -> "Places":
    """List the places of the design, variants in the order in which a reader meets them."""
    import numpy as np
    import xarray as xr

    if "in_design" in dataset:
        held = dataset["in_design"]
        held = held.any([dim for dim in held.dims if dim not in dims])
    else:
        held = xr.DataArray(np.ones([dataset.sizes[dim] for dim in dims]), dims=dims)
    order = ("model", "backend", *dims[len(CELL_FACTORS) :], *CELL_FACTORS[2:])
    found = np.argwhere(held.transpose(*order).values)
    return found[:, [order.index(dim) for dim in dims]]


def _label(dataset: "xr.Dataset", dim: str, cell: _Spot) -> str:
    return str(dataset.coords[dim].values[cell[dim]])


def _variant(dataset: "xr.Dataset", cell: _Spot) -> Variant:
    pairs = []
    for dim, name in settings_of(dataset).items():
        text = _label(dataset, dim, cell)
        if name not in TRAFFIC and text != dataset[dim].attrs.get("not_set"):
            pairs.append((name, text))
    backend, precision, io = (_label(dataset, dim, cell) for dim in VARIANT)
    return Variant(backend, precision, io, tuple(sorted(pairs)))


def _traffic(dataset: "xr.Dataset", cell: _Spot) -> Traffic:
    dims = {name: dim for dim, name in settings_of(dataset).items() if name in TRAFFIC}
    if lacking := [name for name in TRAFFIC if name not in dims]:
        raise ValueError(f"it has servers and no {lacking[0]} among its settings")
    return Traffic(*(_label(dataset, dims[name], cell) for name in TRAFFIC))


def _numbered(labels: Iterable[_Hashed]) -> dict[_Hashed, int]:
    return {label: place for place, label in enumerate(dict.fromkeys(labels))}


def _moved(
    array: "xr.DataArray",
    name: str,
    cells: Sequence[_Spot],
    places: Sequence[tuple[int, ...]],
    shape: Sequence[int],
    dims: Sequence[str],
) -> "xr.Variable":
    """Return a variable's values of some cells at their places in the new grid.

    Args:
        array: As it was.
        name: Of the variable.
        cells: By positions along the old dimensions.
        places: Along the new ones.
        shape, dims: Of the new grid.
    """
    import numpy as np
    import xarray as xr

    old = [str(dim) for dim in array.dims if cells and dim in cells[0]]
    rest = [dim for dim in array.dims if dim not in (*CELL_FACTORS, *old)]
    apart = [dim for dim in rest if dim in ("machine", "run")]
    values = array.transpose(*old, *rest, ...).values
    sizes = [array.sizes[dim] for dim in rest]
    found = np.full([*shape, *sizes], VARIABLES[name].missing, VARIABLES[name].dtype)
    if cells:
        picked = values[tuple(np.array([cell[dim] for cell in cells]) for dim in old)]
        found[tuple(np.array(places).T)] = picked
    variable = xr.Variable((*dims, *rest), found, array.attrs)
    return variable.transpose(*apart, *dims, ...)


def _coordinates(
    dataset: "xr.Dataset",
    variants: Mapping[Variant, int],
    backends: Sequence[int],
    traffic: Mapping[Traffic, int],
) -> "dict[str, xr.Variable]":
    """Return the coordinates of today, but the batch size."""
    import numpy as np
    import xarray as xr

    gone = {*CELL_FACTORS[1:], *settings_of(dataset)}
    found = {
        str(name): coord.variable
        for name, coord in dataset.coords.items()
        if not gone & {*coord.dims}
    }
    for name, coord in dataset.coords.items():
        if "backend" in coord.dims and name != "backend":
            along = coord.variable.isel(backend=backends)
            found[str(name)] = xr.Variable(
                ["variant" if dim == "backend" else dim for dim in along.dims],
                along.values,
                along.attrs,
            )

    def add(name: str, dim: str, texts: Sequence[str], attrs: Mapping[str, object]) -> None:
        found[name] = xr.Variable(dim, np.array(texts, dtype=str), attrs)

    add("variant", "variant", [v.label for v in variants], COORDINATES["variant"].attributes())
    for name in VARIANT:
        add(name, "variant", [getattr(v, name) for v in variants], COORDINATES[name].attributes())
    for dim, name in settings_of(dataset).items():
        if name not in TRAFFIC:
            set_on = [dict(variant.settings) for variant in variants]
            texts = [one[name] or EMPTY if name in one else "" for one in set_on]
            attrs = {key: v for key, v in dataset[dim].attrs.items() if key != "not_set"}
            add(dim, "variant", texts, attrs)
    if traffic:
        add(
            "traffic",
            "traffic",
            [traffic_label(t) for t in traffic],
            COORDINATES["traffic"].attributes(),
        )
        for name in TRAFFIC:
            add(
                name, "traffic", [getattr(t, name) for t in traffic], COORDINATES[name].attributes()
            )
    return found


def _settings(attrs: Mapping[Hashable, object]) -> str:
    settings = json.loads(str(attrs.get("settings", "{}")))
    return json.dumps({dim: name for dim, name in settings.items() if name not in TRAFFIC})


def _parts(dataset: "xr.Dataset") -> Iterator[dict[str, object]]:
    """Describe the runs of a merged dataset by the labels that they have of its dimensions."""
    import numpy as np

    along = str(dataset.attrs["merged_along"])
    groups = [dataset[n] for n in ("in_design", f"{SERVER}in_design") if n in dataset]
    for part in json.loads(dataset.attrs["parts"]):
        labels = {dim: own for dim, own in part["labels"].items() if dim in dataset.dims}
        for dim in ("variant", "batch_size", "traffic"):
            own = [one.sel({along: part["label"]}) for one in groups if dim in one.dims]
            held = [(one == 1).any([d for d in one.dims if d != dim]).values for one in own]
            if held and (np.any(held, axis=0).any() or dim != "traffic"):
                labels[dim] = dataset[dim].values[np.any(held, axis=0)].tolist()
        set_on = json.loads(_settings(part["attributes"]))
        known = {*part["coordinates"], *labels, *(TRAFFIC if "traffic" in labels else ())}
        attributes = part["attributes"] | {
            "schema": LAST_SCHEMA + 1,
            "settings": json.dumps(set_on),
        }
        yield {
            "label": part["label"],
            "attributes": attributes,
            "labels": labels,
            "coordinates": sorted(known - {"scenario"}),
        }
