"""The dataset as one tidy table: a row for each cell and repetition, codes written out."""

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING

from greenbatch.analysis.dataset.groups import groups_of
from greenbatch.analysis.dataset.variables import COORDINATES, VARIABLES, settings_of

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

    from greenbatch.analysis.dataset.variables import AnyArray


def tidy(dataset: "xr.Dataset") -> "pd.DataFrame":
    """Lay out one row for each cell and repetition of the design, measured or not.

    Variables with one dimension more are a column for each of its labels (``latency_0.99``,
    ``energy_package-0``); those with two more (of starts) are left out. Codes are words, masks
    words with blanks between; missing numbers are NaN, and ``status``, ``reason`` and
    ``energy_reason_DOMAIN`` say why.

    Args:
        dataset: As `greenbatch.analysis.open_run` gives it, or a part of it.

    Returns:
        A frame whose ``attrs["units"]`` has the unit of every column.
    """
    import pandas as pd

    units: dict[str, str] = {}
    frames = [pd.DataFrame(_columns(group, units)) for group in groups_of(dataset)]
    # Concatenated with an empty frame, columns would lose their types.
    frame = pd.concat([f for f in frames if len(f)] or frames[:1], ignore_index=True)
    frame.attrs["units"] = {name: units[name] for name in frame.columns}
    return frame


def _columns(group: "xr.Dataset", units: dict[str, str]) -> "dict[str, AnyArray]":
    """Return the columns of a group's repetitions; only places of the design are ever gathered.

    Args:
        group: Of a dataset.
        units: Of the columns, filled in.
    """
    import numpy as np

    status = group["status"]
    dims = [str(dim) for dim in status.dims]
    held = np.ones(status.shape, dtype=bool)
    if "in_design" in group:
        held &= (group["in_design"] == 1).broadcast_like(status).transpose(*dims).values
    places = dict(zip(dims, held.nonzero(), strict=True))
    count = int(held.sum())
    columns: dict[str, AnyArray] = {}

    def add(name: str, array: "xr.DataArray") -> None:
        at = tuple(places[str(dim)] for dim in array.dims)
        values = array.values[at] if at else np.full(count, array.values)
        columns[name] = _words(values, array.attrs)
        units[name] = str(array.attrs.get("units", "1"))

    for name, coord in group.coords.items():
        known = name in (*COORDINATES, *settings_of(group)) or name in group.dims
        if set(coord.dims) <= set(dims) and known:
            add(str(name), coord)
    for name in VARIABLES:
        if name not in group or name == "in_design":
            continue
        array = group[name]
        extra = [dim for dim in array.dims if dim not in dims]
        if not extra:
            add(name, array)
        elif len(extra) == 1:
            for place, label in enumerate(group[extra[0]].values.tolist()):
                add(f"{name}_{label}", array[{extra[0]: place}])
    return columns


def _words(values: "AnyArray", attrs: Mapping[Hashable, str]) -> "AnyArray":
    """Write codes and masks out."""
    import numpy as np

    if "flag_meanings" not in attrs:
        return values
    meanings = attrs["flag_meanings"].split()
    if "flag_values" in attrs:
        words: AnyArray = np.array(meanings, dtype=object)[values.astype(int)]
        return words
    bits = dict(zip(np.atleast_1d(attrs["flag_masks"]).tolist(), meanings, strict=True))
    return np.array(
        [" ".join(word for bit, word in bits.items() if int(value) & bit) for value in values],
        dtype=object,
    )
