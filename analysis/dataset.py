"""A run's dataset: compiled, written whole or not at all, opened, made again when out of date."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.analysis.compilation import DATASET_SCHEMA, from_files
from greenbatch.analysis.run_files import digest, read_run
from greenbatch.errors import RunError

if TYPE_CHECKING:
    import xarray as xr

DATASET = "dataset.nc"


def compile_dataset(run: Path) -> "xr.Dataset":
    """Compile a run's journal in memory.

    Args:
        run: The run directory.

    Returns:
        A dataset over the full grid of the study: a repetition without a record has status
        ``not_run`` and NaN in every number. The order of the journal's lines does not matter.

    Raises:
        RunError: The run cannot be read, or measured a repetition twice.
    """
    return from_files(read_run(run))


def write_dataset(run: Path) -> Path:
    """Compile a run and write ``dataset.nc`` (netCDF4, by h5netcdf) into it.

    Returns:
        The file's path; it opens with plain ``xarray.open_dataset``.

    Raises:
        RunError: The run cannot be read or written to.
    """
    return _store(compile_dataset(run), run / DATASET)


def open_run(run: Path | str) -> "xr.Dataset":
    """Open a run's dataset, compiled again where it is missing or not of this journal.

    Whether it is up to date is told by a hash of the run's files, not by modification times.
    A run that cannot be written to is compiled in memory.

    Returns:
        The dataset, loaded; no file stays open.

    Raises:
        RunError: The run cannot be read.
    """
    import xarray as xr

    import greenbatch.analysis.accessor  # noqa: F401  # registers ``ds.gb``

    run = Path(run)
    path = run / DATASET
    current = digest(run)
    if path.is_file():
        try:
            stored = xr.load_dataset(path, engine="h5netcdf")
        except (OSError, ValueError):  # damaged: it can be made again at any time
            stored = None
        if stored is not None and (
            (stored.attrs.get("run_digest"), int(stored.attrs.get("schema", 0)))
            == (current, DATASET_SCHEMA)
        ):
            return stored
    compiled = compile_dataset(run)
    if os.access(run, os.W_OK):
        _store(compiled, path)
    return compiled


def _store(dataset: "xr.Dataset", path: Path) -> Path:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # Deflate: most of a grid is NaN or repeated codes.
        numeric = [name for name in dataset.data_vars if dataset[name].dtype.kind in "fi"]
        encoding = {name: {"zlib": True, "complevel": 4} for name in numeric if dataset[name].size}
        dataset.to_netcdf(temporary, engine="h5netcdf", encoding=encoding)
        temporary.replace(path)
    except OSError as error:
        raise RunError(
            f"cannot write {path}: {(error.strerror or 'unknown cause').lower()}; "
            "make the run's directory writable or copy the run"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
    return path
