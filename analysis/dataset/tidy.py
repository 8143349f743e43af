"""The dataset as one tidy table: a row for each cell and repetition, codes written out."""

from collections.abc import Hashable, Mapping
from typing import TYPE_CHECKING

from greenbatch.analysis.dataset.variables import COORDINATES, VARIABLES

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
    import numpy as np
    import pandas as pd

    place = dataset["status"]
    dims = [str(dim) for dim in place.dims]
    columns: dict[str, AnyArray] = {}
    units: dict[str, str] = {}

    def add(name: str, array: "xr.DataArray") -> None:
        values = array.broadcast_like(place).transpose(*dims).values.reshape(-1)
        columns[name] = _words(values, array.attrs)
        units[name] = str(array.attrs.get("units", "1"))

    for name, coord in dataset.coords.items():
        if set(coord.dims) <= set(dims) and (name in COORDINATES or name in dataset.dims):
            add(str(name), coord)
    for name in VARIABLES:
        if name not in dataset or name == "in_design":
            continue
        array = dataset[name]
        extra = [dim for dim in array.dims if dim not in dims]
        if not extra:
            add(name, array)
        elif len(extra) == 1:
            for label in dataset[extra[0]].values.tolist():
                add(f"{name}_{label}", array.sel({extra[0]: label}))
    frame = pd.DataFrame(columns)
    if "in_design" in dataset:
        held = dataset["in_design"].broadcast_like(place).transpose(*dims)
        frame = frame[np.asarray(held.values.reshape(-1) == 1)].reset_index(drop=True)
    frame.attrs["units"] = units
    return frame


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
