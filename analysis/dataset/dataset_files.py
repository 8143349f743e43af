"""A dataset's file, opened safely: no data from elsewhere, known variables alone, edits named.

Each file carries a digest of its contents. It shows what was changed by accident or by hand, as
with xarray, and no more: who changes a file on purpose can compute the digest anew.
"""

import hashlib
import json
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.analysis.dataset.dataset_form import known_names, require_attributes, require_form
from greenbatch.analysis.dataset.hdf5_files import require_plain_hdf5
from greenbatch.analysis.dataset.schema_2 import is_earlier, upgraded
from greenbatch.errors import RunError, first_line
from greenbatch.files import followed

if TYPE_CHECKING:
    import xarray as xr

    from greenbatch.analysis.dataset.variables import AnyArray

CONTENTS = "contents_digest"
"""The attribute with the digest; only in files."""
NOTE = "contents_note"
"""The attribute that says in a phrase that a dataset was edited, or may have been."""
EDITED = "was edited after greenbatch wrote it"

_CURE = "give a directory that 'gb bench' wrote, or a dataset.nc"


def read_dataset_file(path: Path) -> "xr.Dataset":
    """Load a dataset file; variables that greenbatch does not know are left out.

    What was edited is read where all that is needed is still there; it has the attribute `NOTE`.

    Args:
        path: As the user named it.

    Raises:
        RunError: It cannot be read, is none of greenbatch, holds links or data from elsewhere, or
            lacks what is needed.
        FileError: It is no regular file.
    """
    source = followed(path)
    require_plain_hdf5(source)
    try:
        dataset = _loaded(source)
    except RunError:
        raise
    except Exception as error:  # xarray and h5py raise many types for a file that is damaged
        raise RunError(f"cannot read {path} as a dataset: {first_line(error)}; {_CURE}") from error
    if "run_digest" not in dataset.attrs:
        raise RunError(f"{path} is no dataset of greenbatch; {_CURE}")
    dataset.encoding["source"] = str(path)
    stated = dataset.attrs.pop(CONTENTS, None)
    try:
        require_attributes(dataset.attrs)
        known = known_names(dataset)
        kept = dataset[[name for name in dataset.variables if name in known]]
        found = upgraded(kept) if is_earlier(kept.attrs) else kept
        require_form(found)
    except ValueError as error:
        raise RunError(
            f"cannot read {path} as a dataset: {error}; give a dataset that has it, or the run's "
            "directory"
        ) from error
    found.encoding = dataset.encoding
    if stated is None:
        _add_note(found, f"{path.name} has no digest of its contents, so edits cannot be noticed")
    elif stated != contents_digest(kept):
        _add_note(found, f"{path.name} {EDITED}")
    return found


def _loaded(path: Path) -> "xr.Dataset":
    import xarray as xr

    with xr.open_dataset(path, engine="netcdf4") as lazy:
        known = known_names(lazy)
        return lazy[[name for name in lazy.variables if name in known]].load()


def _add_note(dataset: "xr.Dataset", note: str) -> None:
    before = dataset.attrs.get(NOTE)
    dataset.attrs[NOTE] = note if before in (None, "", note) else f"{before}; {note}"


def sealed(dataset: "xr.Dataset") -> "xr.Dataset":
    """Return a dataset with the digest of its contents, to be written to a file."""
    return dataset.assign_attrs({CONTENTS: contents_digest(dataset)})


def contents_digest(dataset: "xr.Dataset") -> str:
    """Return the SHA-256 of a dataset's variables, coordinates and attributes.

    It is that of the values, not of a file: opening a dataset and writing it again, with another
    compression or order of variables, does not change it.
    """
    total = hashlib.sha256(_attributes(dataset.attrs))
    for name in sorted(map(str, dataset.variables)):
        variable = dataset.variables[name]
        values = variable.values
        head = [name, list(map(str, variable.dims)), list(values.shape)]
        total.update(json.dumps(head).encode() + _attributes(variable.attrs))
        total.update(_canonical(values))
    return total.hexdigest()


def _canonical(values: "AnyArray") -> "bytes | memoryview":
    """Return an array's values as bytes that do not depend on how they were stored."""
    import numpy as np

    if values.dtype.kind in "OUST":
        return json.dumps([str(text) for text in values.ravel().tolist()]).encode()
    if values.dtype.kind in "biu":
        return np.ascontiguousarray(values, "<i8").data
    numbers = np.array(values, "<f8", order="C")
    numbers[np.isnan(numbers)] = np.nan  # which has many bit patterns
    return numbers.data


def _attributes(attrs: Mapping[Hashable, object]) -> bytes:
    plain = {str(name): _plain(value) for name, value in attrs.items() if name != CONTENTS}
    return json.dumps(plain, sort_keys=True, default=str).encode()


def _plain(value: object) -> object:
    """Return an attribute as JSON has it; one number is the same alone and in an array."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return value[0] if isinstance(value, list) and len(value) == 1 else value
