"""Datasets made to fit side by side: the same dimensions and labels, holes where one has none."""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from greenbatch.analysis.dataset.coordinates import NOT_SET
from greenbatch.analysis.dataset.counted import codes_by_domain
from greenbatch.analysis.dataset.variables import VARIABLES, settings_of

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr

_Label = TypeVar("_Label", str, int, float)


def widened(
    parts: "Mapping[str, xr.Dataset]", but: str = ""
) -> "tuple[list[xr.Dataset], dict[str, str]]":
    """Give all datasets the same dimensions and labels, holes where one has none.

    Args:
        parts: By name.
        but: A dimension whose labels stay each dataset's own.

    Returns:
        The datasets, and the names of the settings by dimension.
    """
    import numpy as np

    settings = {d: name for part in parts.values() for d, name in settings_of(part).items()}
    wide = _with_settings([_completed(part) for part in parts.values()], settings)
    labels = {
        dim: np.array(
            _union(part[dim].values.tolist() for part in wide),
            dtype=np.result_type(*(part[dim].dtype for part in wide)),
        )
        for dim in wide[0].dims
        if dim != but
    }
    attrs = {dim: wide[0][dim].attrs for dim in wide[0].dims}
    fills = {name: variable.missing for name, variable in VARIABLES.items()}
    found = []
    for part in wide:
        coords = {
            name: "" if coord.dtype.kind in "OUT" else _nothing(coord.dtype)
            for name, coord in part.coords.items()
            if name not in part.dims
        }
        typed = {
            name: "" if isinstance(fill, str) else part[name].dtype.type(fill)
            for name, fill in fills.items()
            if name in part
        }
        part = part.reindex(labels, fill_value=typed | coords)
        for dim, attributes in attrs.items():
            part[dim].attrs.update(attributes)
        found.append(part.drop_encoding())  # a file's width of texts would cut longer ones
    return found, settings


def _completed(part: "xr.Dataset") -> "xr.Dataset":
    """Give a dataset file of an earlier program the variables that came later.

    They are missing, but for whether a domain counts: there it did so in all cells alike.
    """
    import numpy as np

    later = {}
    for name in VARIABLES.keys() - part.keys():
        dims = VARIABLES[name].along([*settings_of(part)])
        shape = [part.sizes[dim] for dim in dims]
        values = np.full(shape, VARIABLES[name].missing, VARIABLES[name].dtype)
        if name == "energy_counted":
            values[...] = codes_by_domain(part)
        later[name] = (dims, values, VARIABLES[name].attributes())
    return part.assign(later)[[*VARIABLES]]


def _nothing(dtype: "np.dtype[np.generic]") -> float | int:
    return math.nan if dtype.kind == "f" else -1


def _with_settings(
    parts: "Sequence[xr.Dataset]", settings: Mapping[str, str]
) -> "list[xr.Dataset]":
    """Give every dataset the dimensions of all settings, with one label for 'not set'."""
    found = list(parts)
    for dim in settings:
        own = [part[dim].attrs.get("not_set") if dim in part.dims else None for part in parts]
        real = {
            text
            for part, not_set in zip(parts, own, strict=True)
            if dim in part.dims
            for text in part[dim].values.tolist()
            if text != not_set
        }
        if not any(own) and all(dim in part.dims for part in parts):
            continue
        label = next((text for text in own if text), NOT_SET)
        while label in real:
            label = f"not {label}"
        attrs = next(part[dim].attrs for part in parts if dim in part.dims) | {"not_set": label}
        for number, (part, not_set) in enumerate(zip(found, own, strict=True)):
            if dim in part.dims:
                texts = [label if text == not_set else text for text in part[dim].values.tolist()]
                found[number] = part.assign_coords({dim: (dim, texts, attrs)})
                continue
            spread = {
                name: array.expand_dims({dim: [label]})
                for name, array in part.data_vars.items()
                if "settings" in (VARIABLES[str(name)].over or ("settings",))
            }
            found[number] = part.assign(spread).assign_coords({dim: (dim, [label], attrs)})
    return [
        part.assign(
            {
                name: part[name].transpose(*VARIABLES[str(name)].along([*settings]))
                for name in part.data_vars
            }
        )
        for part in found
    ]


def common_coordinates(
    parts: "Sequence[xr.Dataset]",
) -> "tuple[dict[Hashable, xr.DataArray], list[str]]":
    """Part the coordinates into those that the datasets agree about and the names of the rest."""
    kept, differing = {}, []
    for name in (name for name in parts[0].coords if name not in parts[0].dims):
        arrays = [part[name] for part in parts]
        missing = "" if arrays[0].dtype.kind in "OUT" else _nothing(arrays[0].dtype)
        found, agreed = arrays[0], True
        for other in arrays[1:]:
            ours, theirs = known(found, missing), known(other, missing)
            agreed &= not bool((ours & theirs & (found != other)).any())
            found = first_known(found, other, missing)
        if agreed:
            kept[name] = found
        else:
            differing.append(str(name))
    return kept, differing


def first_known(
    array: "xr.DataArray", other: "xr.DataArray", missing: str | float
) -> "xr.DataArray":
    """Take the values of the first array, and where it has none those of the other."""
    import numpy as np

    found = array.where(known(array, missing), other)
    return found.astype(np.result_type(array, other)).assign_attrs(array.attrs)


def known(array: "xr.DataArray", missing: str | float) -> "xr.DataArray":
    """Say where an array has a value."""
    return array.notnull() if missing != missing else array != missing


def _union(labels: Iterable[Sequence[_Label]]) -> list[_Label]:
    """Join labels, each once; numbers rise."""
    found = list(dict.fromkeys(label for some in labels for label in some))
    return found if any(isinstance(label, str) for label in found) else sorted(found)
