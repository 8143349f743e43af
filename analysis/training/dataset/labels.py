"""The labels of a training run's dataset: the full grid of the design."""

import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING, Any

from greenbatch import units
from greenbatch.analysis.dataset.coordinates import (
    NOT_SET,
    check_values,
    domains,
    numbered,
    require_labels,
    union,
)
from greenbatch.analysis.dataset.device_conditions import sensors_of
from greenbatch.analysis.dataset.run_files import RunFiles
from greenbatch.analysis.dataset.training_variables import (
    COORDINATES,
    EPOCH_PHASES,
    FACTORS,
    HYPERPARAMETER,
    VARIABLES,
)
from greenbatch.analysis.dataset.variants import MOST_PLACES, setting_names
from greenbatch.design.recorded import RecordedTrainingStudy
from greenbatch.errors import RunError
from greenbatch.records import Beat, Epoch, Training, TrainingCell

if TYPE_CHECKING:
    from greenbatch.arrays import Numbers


@dataclass(frozen=True)
class TrainingLabels:
    """The labels along each dimension, in the study's order, and the positions they stand at.

    Attributes:
        along: Labels by dimension.
        dims: Dimensions of a cell, in order.
        settings: What is set, by its dimension.
        not_set: The label of cells in which that is not set, by dimension; only where there are
            such cells.
        searched: The hyperparameters that are searched, by the name of their variable.
        design: Labels of the design alone, by dimension of a cell.
    """

    along: Mapping[str, tuple[Any, ...]]
    dims: tuple[str, ...]
    settings: Mapping[str, str]
    not_set: Mapping[str, str]
    searched: Mapping[str, str]
    design: Mapping[str, tuple[Any, ...]]

    @cached_property
    def _places(self) -> dict[str, dict[Hashable, int]]:
        return {
            dim: {label: place for place, label in enumerate(values)}
            for dim, values in self.along.items()
        }

    def place(self, dim: str, label: Hashable) -> int:
        """Position of ``label`` along ``dim``."""
        return self._places[dim][label]

    def cell(self, cell: TrainingCell) -> tuple[int, ...]:
        """Index of a cell along its dimensions."""
        texts = dict(cell.settings)
        return tuple(
            self.place(
                dim,
                texts.get(self.settings[dim], self.not_set.get(dim))
                if dim in self.settings
                else getattr(cell, dim),
            )
            for dim in self.dims
        )

    def designed(self) -> "tuple[Numbers, ...]":
        """Index of all cells of the design."""
        import numpy as np

        return np.ix_(*([self.place(d, label) for label in self.design[d]] for d in self.dims))


def training_labels(files: RunFiles) -> TrainingLabels:
    """Lay out the full grid of the design; what was not trained stays a hole in it.

    Raises:
        RunError: The grid is too large.
    """
    study, journal = files.study, files.journal
    assert isinstance(study, RecordedTrainingStudy)  # whoever compiles has looked at the kind
    records: tuple[Training | Epoch | Beat, ...] = (
        *journal.trainings,
        *journal.epochs,
        *journal.beats,
    )
    cells = {record.cell for record in records}
    search = study.search
    space = search.space if search else {}
    design: dict[str, tuple[Any, ...]] = {
        "model": tuple(study.models),
        "data": tuple(study.data),
        "backend": tuple(study.backends),
        "precision": tuple(study.precisions),
        "batch_size": tuple(study.batch_sizes),
    }
    along = {dim: union(design[dim], (getattr(cell, dim) for cell in cells)) for dim in FACTORS}
    if "batch_size" in space:
        del along["batch_size"]
    fixed = {key: tuple(map(str, values)) for key, values in study.settings.items()}
    named = {name for cell in cells for name, _ in cell.settings} - {*space}
    settings = setting_names(union(fixed, named), {*VARIABLES, *COORDINATES})
    not_set: dict[str, str] = {}
    for dim, name in settings.items():
        found = {dict(cell.settings).get(name) for cell in cells}
        texts = union(fixed.get(name, ()), (text for text in found if text is not None))
        if None in found or name not in fixed:
            not_set[dim] = _free_label(texts)
            texts = (*texts, not_set[dim])
        design[dim] = fixed.get(name) or (not_set[dim],)
        along[dim] = texts
    if search:
        tried = {cell.trial for cell in cells if cell.trial is not None}
        design["strategy"] = tuple(search.strategies)
        design["trial"] = numbered(files, search.trials, "trials")
        along["strategy"] = union(design["strategy"], (c.strategy for c in cells if c.strategy))
        along["trial"] = union(design["trial"], tried)
    dims = tuple(along)
    blocks = max([study.repetitions or 0, *(record.block + 1 for record in records)])
    along["repetition"] = numbered(files, blocks, "repetitions")
    epochs = max([0, *(epoch.epoch + 1 for epoch in journal.epochs)])
    along["epoch"] = numbered(files, epochs, "epochs")
    along["phase"] = EPOCH_PHASES
    trainings = journal.trainings
    along["domain"] = domains(files, (domain for t in trainings for domain in t.idle_w))
    along["sensor"] = union((), (s for t in trainings for s in sensors_of(t.conditions)))
    along["clock_domain"] = union((), (c for t in trainings for c in t.conditions.clock_hz))
    along["stage"] = union((), (stage for t in trainings for stage in t.phases_s))
    require_labels(files, {dim: along[dim] for dim in (*dims, "repetition")})
    _check_size(files, along, dims)
    check_values(files, along, (variable.along(dims) for variable in VARIABLES.values()))
    searched = {HYPERPARAMETER + re.sub(r"\W", "_", str(name)): str(name) for name in space}
    return TrainingLabels(along, dims, settings, not_set, searched, design)


def _free_label(texts: Iterable[str]) -> str:
    label, taken = NOT_SET, set(texts)
    while label in taken:
        label = f"not {label}"
    return label


def _check_size(files: RunFiles, along: Mapping[str, tuple[Any, ...]], dims: Iterable[str]) -> None:
    places = prod(len(along[dim]) for dim in (*dims, "repetition", "epoch", "phase", "domain"))
    if places > 10 * MOST_PLACES:  # of six such arrays; the others are smaller by far
        raise RunError(
            f"the grid of {files.path} has {places:,} places for epochs of "
            f"{units.count(len(files.journal.trainings), 'training')}, and at most "
            f"{10 * MOST_PLACES:,} can be laid out; train what does not go together in runs of its "
            "own"
        )
