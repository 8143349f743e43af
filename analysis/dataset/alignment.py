"""Datasets made to fit side by side: the same dimensions and labels, holes where one has none."""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from greenbatch.analysis.dataset.counted import codes_by_domain
from greenbatch.analysis.dataset.variables import COORDINATES, settings_of, table
from greenbatch.errors import RunError
from greenbatch.records import TRAFFIC

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
        The datasets, and the names of the settings by coordinate.

    Raises:
        RunError: Two settings of different names would share a coordinate.
    """
    import numpy as np

    settings = _common_settings(parts)
    servers = any("traffic" in part.dims for part in parts.values())
    wide = [_completed(part, servers=servers) for part in parts.values()]
    wide = [_with_settings(part, settings, wide) for part in wide]
    labels = {
        str(dim): np.array(
            _union(part.variables[dim].values.tolist() for part in wide),
            dtype=np.result_type(*(part.variables[dim].dtype for part in wide)),
        )
        for dim in wide[0].dims
        if dim != but
    }
    attrs = {dim: wide[0].variables[dim].attrs for dim in wide[0].dims}
    found = []
    for part in wide:
        # A file's width of texts would cut longer ones.
        part = _with_labels(part, labels).drop_encoding()
        for dim, attributes in attrs.items():
            part.variables[dim].attrs.update(attributes)
        found.append(part)
    return found, settings


def _with_labels(part: "xr.Dataset", labels: "Mapping[str, np.ndarray]") -> "xr.Dataset":
    """Give a dataset these labels, holes where it has none; a copy of one that has them all."""
    import numpy as np

    own = {dim: part.variables[dim].values for dim in labels}
    if all(
        own[dim].dtype == wanted.dtype and np.array_equal(own[dim], wanted)
        for dim, wanted in labels.items()
    ):
        return part.copy()
    coords = {
        name: "" if coord.dtype.kind in "OUT" else _nothing(coord.dtype)
        for name, coord in part.coords.items()
        if name not in part.dims
    }
    typed = {
        name: "" if variable.kind == "text" else part[name].dtype.type(variable.missing)
        for name, (variable, _) in table(servers="traffic" in part.dims).items()
    }
    return part.reindex(labels, fill_value=typed | coords)


def _common_settings(parts: "Mapping[str, xr.Dataset]") -> dict[str, str]:
    """Return the settings of all datasets, by coordinate."""
    found: dict[str, str] = {}
    for part, dataset in parts.items():
        for coordinate, name in settings_of(dataset).items():
            if found.setdefault(coordinate, name) != name:
                raise RunError(
                    f"{part} has the setting {name}, and another run {found[coordinate]}, both "
                    f"under the coordinate {coordinate}; merge runs without one of them"
                )
    return found


def _completed(part: "xr.Dataset", *, servers: bool) -> "xr.Dataset":
    """Give a dataset the variables that it lacks: of servers, or of a later program.

    They are missing, but for whether a domain counts: in earlier files it did so in all cells
    alike.
    """
    import numpy as np

    if servers and "traffic" not in part.dims:
        none = {
            name: ("traffic", np.empty(0, "<U1"), COORDINATES[name].attributes())
            for name in ("traffic", *TRAFFIC)
        }
        part = part.assign_coords(none)
    variables, later = table(servers=servers), {}
    if [*variables] == [*part.data_vars]:
        return part
    for name in variables.keys() - part.keys():
        variable, dims = variables[name]
        shape = [part.sizes[dim] for dim in dims]
        values = np.full(shape, variable.missing, variable.dtype)
        if name.endswith("energy_counted"):
            values[...] = codes_by_domain(part)
        later[name] = (dims, values, variable.attributes())
    return part.assign(later)[[*variables]]


def _with_settings(
    part: "xr.Dataset", settings: Mapping[str, str], parts: "Sequence[xr.Dataset]"
) -> "xr.Dataset":
    """Give a dataset the coordinates of all settings: what it does not have is not set."""
    import numpy as np

    lacking = {}
    for name in settings:
        if name not in part.coords:
            attrs = next(one[name].attrs for one in parts if name in one.coords)
            lacking[name] = ("variant", np.full(part.sizes["variant"], ""), attrs)
    return part.assign_coords(lacking) if lacking else part


def _nothing(dtype: "np.dtype[np.generic]") -> float | int:
    return math.nan if dtype.kind == "f" else -1


def common_coordinates(
    parts: "Sequence[xr.Dataset]",
) -> "tuple[dict[Hashable, xr.DataArray], list[str]]":
    """Part the coordinates into those that the datasets agree about and the names of the rest."""
    kept, differing = {}, []
    for name in (name for name in parts[0].coords if name not in parts[0].dims):
        variables = [part.variables[name] for part in parts]
        if all(alike(variables[0], other) for other in variables[1:]):
            kept[name] = parts[0][name]
            continue
        arrays = [part[name] for part in parts]
        missing = "" if arrays[0].dtype.kind in "OUT" else _nothing(arrays[0].dtype)
        found, agreed = arrays[0], True
        for other in arrays[1:]:
            if alike(found.variable, other.variable):
                continue
            ours, theirs = known(found, missing), known(other, missing)
            agreed &= not bool((ours & theirs & (found != other)).any())
            found = first_known(found, other, missing)
        if agreed:
            kept[name] = found
        else:
            differing.append(str(name))
    return kept, differing


def alike(array: "xr.Variable", other: "xr.Variable") -> bool:
    """Say whether two variables have one type and equal values, as fast as can be."""
    import numpy as np

    if (array.dims, array.dtype) != (other.dims, other.dtype):
        return False
    return np.array_equal(array.values, other.values, equal_nan=array.dtype.kind == "f")


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
