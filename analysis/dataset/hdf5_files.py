"""Whether an HDF5 file is a plain one, before netCDF readers open it.

An HDF5 file may have its data in other files of the machine, link to them, name filters that are
loaded as native code, or state sizes that no memory has.
"""

import math
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.errors import RunError, first_line
from greenbatch.files import open_regular

if TYPE_CHECKING:
    import h5py

MOST_BYTES = 4_000_000_000
"""Of all variables as they are in memory: what the largest grid needs."""
MOST_VARIABLES = 2000

_FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32"}
_CURE = "use a file that greenbatch or xarray wrote"


def require_plain_hdf5(path: Path) -> None:
    """Check that a file has all its data inside, in the forms that a dataset of ours has.

    Args:
        path: A regular file.

    Raises:
        RunError: It is no HDF5 file, or has a link, data in another file, a group, a filter that
            is not built in, or more data than any dataset of greenbatch.
        FileError: It is no regular file.
        FileNotFoundError: It does not exist.
    """
    import h5py

    open_regular(path).close()
    try:
        with h5py.File(path, "r") as file:
            fault = _fault(file)
    except Exception as error:  # h5py raises many types for a file that is damaged
        raise RunError(
            f"cannot read {path} as a dataset: {first_line(error)}; give a directory that "
            "'gb bench' wrote, or a dataset.nc"
        ) from error
    if fault:
        raise RunError(f"cannot read {path} as a dataset: {fault}; {_CURE}")


def _fault(file: "h5py.File") -> str | None:
    """Return what is not plain in a file, as a phrase; ``None`` where all is."""
    import h5py

    if len(file) > MOST_VARIABLES:
        return f"it has {len(file)} variables, and a dataset has at most {MOST_VARIABLES}"
    total = 0
    for name in file:
        # h5py's objects of a higher level cost twice the time, and a collection has many files.
        link = file.id.links.get_info(name.encode())  # reads the link and does not follow it
        if link.type != h5py.h5l.TYPE_HARD:
            return f"{name!r} is a link, which may lead to another file"
        variable = h5py.h5o.open(file.id, name.encode())
        if not isinstance(variable, h5py.h5d.DatasetID):
            kind = "group" if isinstance(variable, h5py.h5g.GroupID) else "datatype"
            return f"{name!r} is a {kind} and not a variable"
        plan = variable.get_create_plist()
        if fault := _storage_fault(variable, plan):
            return f"the variable {name!r} {fault}"
        total += _bytes(variable, plan)
        if total > MOST_BYTES:
            return f"its variables have more than {MOST_BYTES / 1e9:g} GB"
    return None


def _storage_fault(variable: "h5py.h5d.DatasetID", plan: "h5py.h5p.PropDCID") -> str | None:
    import h5py

    if plan.get_layout() == h5py.h5d.VIRTUAL:
        return "is a view of other variables, which may be in another file"
    if plan.get_external_count():
        return f"has its data in another file, {plan.get_external(0)[0].decode(errors='replace')!r}"
    filters = {plan.get_filter(place)[0] for place in range(plan.get_nfilters())}
    if unknown := sorted(filters - _FILTERS.keys()):
        return (
            f"is stored by the filter {unknown[0]}, which is none of {', '.join(_FILTERS.values())}"
        )
    dtype = variable.dtype
    if dtype.kind not in "iufS" and h5py.check_string_dtype(dtype) is None:
        return f"has the type {dtype}, which is neither a number nor text"
    if variable.get_space().get_simple_extent_type() == h5py.h5s.NULL:
        return "has no values"
    return None


def _bytes(variable: "h5py.h5d.DatasetID", plan: "h5py.h5p.PropDCID") -> int:
    """Return a variable's size in memory, or that of a chunk, which is read whole."""
    import h5py

    chunk = plan.get_chunk() if plan.get_layout() == h5py.h5d.CHUNKED else ()
    return max(map(math.prod, (variable.shape, chunk))) * int(variable.dtype.itemsize)
