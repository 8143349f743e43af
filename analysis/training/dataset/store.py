"""A training run's dataset: compiled, written, opened, made again when out of date."""

from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.analysis.dataset.run_files import RunFiles, digest, read_run
from greenbatch.analysis.dataset.store import (
    DATASET,
    compiled,
    compiling,
    load_dataset,
    store,
    stored,
)
from greenbatch.analysis.dataset.training_variables import KIND, VARIABLES
from greenbatch.analysis.training.dataset.compilation import TRAINING_SCHEMA, training_from_files
from greenbatch.errors import RunError

if TYPE_CHECKING:
    import xarray as xr


def compile_training(run: Path) -> "xr.Dataset":
    """Compile a training run's journal in memory.

    Args:
        run: The run directory.

    Returns:
        A dataset over the full grid of the study, see
        `greenbatch.analysis.dataset.training_variables`. A training that has not ended has status
        ``not_run``, with the epochs that are on record.

    Raises:
        RunError: The run cannot be read, is none of trainings, or holds a training twice.
    """
    files = _read(run)
    with compiling(run):
        return training_from_files(files)


def write_training_dataset(run: Path) -> Path:
    """Compile a training run and write ``dataset.nc`` (netCDF4) into it.

    Returns:
        The file's path; it opens with plain ``xarray.open_dataset``.

    Raises:
        RunError: The run cannot be read or written to.
    """
    return store(compile_training(run), run / DATASET)


def open_training(run: Path | str) -> "xr.Dataset":
    """Open a training run's dataset, compiled again where it is missing or not of this journal.

    Args:
        run: The run directory; or a dataset file alone, of which a warning says if it was edited.

    Returns:
        The dataset, loaded; no file stays open.

    Raises:
        RunError: The run cannot be read, or is none of trainings.
    """
    run = Path(run)
    if run.is_file():
        dataset = load_dataset(run)
        _require_training(dataset.attrs.get("kind"), run)
        return dataset
    found = stored(run, digest(run), VARIABLES, TRAINING_SCHEMA)
    return _compiled(run, _read(run)) if found is None else found


def open_training_with_files(run: Path) -> "tuple[xr.Dataset, RunFiles]":
    """Compile a training run's dataset from its journal, and return its files too.

    Raises:
        RunError: The run cannot be read, or is none of trainings.
    """
    files = _read(run)
    stored(run, files.digest, VARIABLES, TRAINING_SCHEMA)  # for its warning, as of inference
    return _compiled(run, files), files


def _read(run: Path) -> RunFiles:
    files = read_run(run)
    _require_training(files.study.kind, run)
    return files


def _compiled(run: Path, files: RunFiles) -> "xr.Dataset":
    with compiling(run):
        dataset = training_from_files(files)
    return compiled(run, dataset)


def _require_training(kind: object, run: Path) -> None:
    if kind != KIND:
        raise RunError(f"{run} is no run of trainings; give one that 'gb train' or 'gb tune' wrote")
