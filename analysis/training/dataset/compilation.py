"""A training run's journal compiled to a labelled dataset."""

import json
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from greenbatch import units
from greenbatch.analysis.dataset.compilation import global_attributes
from greenbatch.analysis.dataset.coordinates import backend_facts, counting
from greenbatch.analysis.dataset.counted import codes_of, counted_by_backend
from greenbatch.analysis.dataset.device_conditions import device_conditions
from greenbatch.analysis.dataset.run_files import RunFiles
from greenbatch.analysis.dataset.totals import provenance_of
from greenbatch.analysis.dataset.training_variables import (
    COORDINATES,
    ENDS,
    EPOCH_PHASES,
    HYPERPARAMETER,
    KIND,
    VARIABLES,
    text,
)
from greenbatch.analysis.dataset.variables import FLAGS, SOURCES, STATUSES, Variable
from greenbatch.analysis.training.dataset.labels import TrainingLabels, training_labels
from greenbatch.analysis.training.dataset.totals import Total, add, total_of
from greenbatch.errors import RunError
from greenbatch.records import (
    Beat,
    EnergyFigure,
    Epoch,
    Phase,
    Status,
    Training,
    TrainingCell,
    holding,
)

if TYPE_CHECKING:
    import xarray as xr

    from greenbatch.arrays import Numbers

    Arrays = dict[str, Numbers]

TRAINING_SCHEMA = 1
_NAN = float("nan")


@dataclass(slots=True)
class _Records:
    """What the journal says of one repetition of a cell.

    Attributes:
        record: That counts; ``None`` where the training has not ended.
        epochs: That hold, in order.
        given_up: Epochs that were done again.
        heartbeats: Of all sessions, in order.
    """

    record: Training | None = None
    epochs: list[Epoch] = field(default_factory=list)
    given_up: list[Epoch] = field(default_factory=list)
    heartbeats: list[Beat] = field(default_factory=list)


def training_from_files(files: RunFiles) -> "xr.Dataset":
    """Compile a run that is read; see
    `greenbatch.analysis.training.dataset.store.compile_training`.

    Raises:
        RunError: A training was recorded twice, or the grid is too large.
    """
    import numpy as np

    grid = training_labels(files)
    counts = counting(files, grid.along["domain"])
    by_backend = counted_by_backend(_figures(files))
    variables = VARIABLES | {
        name: text(f"{searched} as proposed for the trial")
        for name, searched in grid.searched.items()
    }
    arrays: Arrays = {
        name: np.full(
            [len(grid.along[dim]) for dim in variable.along(grid.dims)],
            variable.missing,
            dtype=variable.dtype,
        )
        for name, variable in variables.items()
    }
    arrays["in_design"][grid.designed()] = 1
    for (cell, block), records in _records(files).items():
        place = grid.cell(cell)
        arrays["in_design"][place] = 1
        place = (*place, grid.place("repetition", block))
        known = by_backend.get(cell.backend, {})
        counted = [domain for domain in grid.along["domain"] if known.get(domain)]
        arrays["energy_counted"][place] = codes_of((), known, grid.along["domain"])
        _fill_cell(arrays, place, cell, grid)
        _fill_epochs(arrays, place, records.epochs, grid, counted)
        _fill_spent(arrays, place, records, counted)
        if records.record is not None:
            _fill(arrays, place, records.record, records.epochs, grid, counted)
        elif records.epochs or records.heartbeats:
            done = len(records.epochs)
            arrays["reason"][place] = (
                f"the training has not ended: {units.count(done, 'epoch')} of it "
                f"{'is' if done == 1 else 'are'} on record; resume the run"
            )
    return _labelled(files, grid, variables, arrays, counts)


def _figures(files: RunFiles) -> Iterator[tuple[str, tuple[EnergyFigure, ...]]]:
    """Yield every figure of the journal, with the backend of its training."""
    journal = files.journal
    for training in journal.trainings:
        for phase in (training.whole, training.lost):
            if phase is not None:
                yield training.cell.backend, phase.energy
    for epoch in journal.epochs:
        for phase in _phases(epoch):
            yield epoch.cell.backend, phase.energy
    for heartbeat in journal.beats:
        yield heartbeat.cell.backend, heartbeat.lost.energy


def _records(files: RunFiles) -> dict[tuple[TrainingCell, int], _Records]:
    """Gather the records by cell and block.

    A failure that was trained again gives way to the later record, as its epochs do.

    Raises:
        RunError: Two records of one training are ok.
    """
    records: dict[tuple[TrainingCell, int], _Records] = defaultdict(_Records)
    held = holding(files.journal.epochs)
    for epoch in held:
        records[epoch.cell, epoch.block].epochs.append(epoch)
    kept_epochs = {id(epoch) for epoch in held}
    for epoch in files.journal.epochs:
        if id(epoch) not in kept_epochs:
            records[epoch.cell, epoch.block].given_up.append(epoch)
    for heartbeat in files.journal.beats:
        records[heartbeat.cell, heartbeat.block].heartbeats.append(heartbeat)
    for record in files.journal.trainings:
        one = records[record.cell, record.block]
        other = one.record
        if other is None:
            one.record = record
            continue
        if other.status is record.status is Status.OK:
            raise RunError(
                f"the journal holds {record.cell}, block {record.block}, twice; delete one of "
                "the two lines"
            )
        one.record = other if other.status is Status.OK else record
    return records


def _fill_cell(
    arrays: "Arrays", place: tuple[int, ...], cell: TrainingCell, grid: TrainingLabels
) -> None:
    texts = dict(cell.settings) | {"batch_size": str(cell.batch_size)}
    for variable, name in grid.searched.items():
        arrays[variable][place] = texts.get(name, "")


def _classes(record: Training) -> int | None:
    found = record.settings.get("classes")
    return found if type(found) is int else None


def _fill(
    arrays: "Arrays",
    place: tuple[int, ...],
    record: Training,
    epochs: Sequence[Epoch],
    grid: TrainingLabels,
    counted: Sequence[str],
) -> None:
    warm_up, conditions, whole = record.warm_up, record.conditions, record.whole
    for name, value in (
        ("status", STATUSES.index(str(record.status))),
        ("flags", sum(FLAGS[name] for name in record.flags)),
        ("stopped", ENDS.index(record.stopped or "none")),
        ("best_epoch", record.best_epoch),
        ("sessions", record.sessions),
        ("parameters", record.parameters),
        ("classes", _classes(record)),
        ("macs", record.macs),
        ("memory_peak", record.memory_host_bytes),
        ("warm_up_steps", warm_up.iterations if warm_up else None),
        ("warm_up_duration", warm_up.duration_s if warm_up else None),
        ("rest", conditions.rest_s),
        ("foreign_load", conditions.foreign_load),
        ("order_position", record.position),
    ):
        arrays[name][place] = _NAN if value is None else value
    arrays["reason"][place] = record.reason or ""
    for dim, name, values in (
        ("sensor", "temperature", conditions.temperature_c),
        ("sensor", "temperature_mean", conditions.temperature_mean_c),
        ("sensor", "temperature_end", conditions.temperature_end_c),
        ("clock_domain", "clock", conditions.clock_hz),
        ("stage", "stage_duration", record.phases_s),
        ("domain", "idle_power", record.idle_w),
    ):
        for label, amount in values.items():
            arrays[name][(*place, grid.place(dim, label))] = _NAN if amount is None else amount
    for name, by_domain in device_conditions(conditions, whole.energy if whole else ()).items():
        for label, amount in by_domain.items():
            if label in grid.along["domain"]:
                arrays[name][(*place, grid.place("domain", label))] = amount
    if whole is not None:
        _fill_whole(arrays, place, whole, grid, counted)
    if record.status is Status.OK and epochs:
        for name, figure in (
            ("final_accuracy", epochs[-1].accuracy),
            ("final_f1", epochs[-1].f1),
            ("best_accuracy", max(epoch.accuracy for epoch in epochs)),
            ("best_f1", max(epoch.f1 for epoch in epochs)),
            ("best_loss", min(epoch.loss for epoch in epochs)),
            ("best_precision", _highest(epoch.macro_precision for epoch in epochs)),
            ("best_recall", _highest(epoch.macro_recall for epoch in epochs)),
            ("best_auc", _highest(epoch.auc for epoch in epochs)),
        ):
            arrays[name][place] = figure


def _highest(scores: Iterable[float | None]) -> float:
    return max((score for score in scores if score is not None), default=_NAN)


def _fill_whole(
    arrays: "Arrays",
    place: tuple[int, ...],
    whole: Phase,
    grid: TrainingLabels,
    counted: Sequence[str],
) -> None:
    arrays["duration"][place] = whole.duration_s
    arrays["images_seen"][place] = whole.images
    _fill_energy(arrays, "energy", place, whole.energy, grid)
    for figure in whole.energy:
        arrays["energy_reason"][(*place, grid.place("domain", figure.domain))] = figure.reason or ""
    if not whole.images:
        return
    total = total_of(whole, counted)
    arrays["energy_per_image_seen"][place] = total.energy_j / whole.images
    arrays["energy_per_image_seen_uncertainty"][place] = total.uncertainty_j / whole.images
    arrays["energy_per_image_seen_source"][place] = total.source
    idle_w = sum(arrays["idle_power"][(*place, grid.place("domain", d))] for d in counted)
    net_j = total.energy_j - idle_w * whole.duration_s
    arrays["energy_per_image_seen_net"][place] = net_j / whole.images


def _fill_energy(
    arrays: "Arrays",
    name: str,
    place: tuple[int, ...],
    figures: Iterable[EnergyFigure],
    grid: TrainingLabels,
) -> None:
    for figure in figures:
        spot = (*place, grid.place("domain", figure.domain))
        energy_j, doubt_j = figure.energy_j, figure.uncertainty_j
        arrays[name][spot] = _NAN if energy_j is None else energy_j
        arrays[f"{name}_uncertainty"][spot] = _NAN if doubt_j is None else doubt_j
        arrays[f"{name}_source"][spot] = SOURCES.index(str(figure.source))


def _fill_epochs(
    arrays: "Arrays",
    place: tuple[int, ...],
    epochs: Sequence[Epoch],
    grid: TrainingLabels,
    counted: Sequence[str],
) -> None:
    for epoch in epochs:
        at = (*place, grid.place("epoch", epoch.epoch))
        for name in ("train_loss", "loss", "accuracy", "f1"):
            arrays[name][at] = getattr(epoch, name)
        for name in ("macro_precision", "macro_recall", "auc"):
            if (score := getattr(epoch, name)) is not None:
                arrays[name][at] = score
        arrays["epoch_session"][at] = epoch.session
        for number, phase in enumerate(_phases(epoch)):
            spot = (*at, number)
            arrays["epoch_duration"][spot] = phase.duration_s
            arrays["epoch_images"][spot] = phase.images
            _fill_energy(arrays, "epoch_energy", spot, phase.energy, grid)
    for number, phases in enumerate(zip(*map(_phases, epochs), strict=True)):
        images = sum(phase.images for phase in phases)
        if images:
            total = add(total_of(phase, counted) for phase in phases)
            arrays["phase_energy_per_image"][(*place, number)] = total.energy_j / images


def _phases(epoch: Epoch) -> tuple[Phase, ...]:
    return tuple(getattr(epoch, name) for name in EPOCH_PHASES)


def _fill_spent(
    arrays: "Arrays", place: tuple[int, ...], records: _Records, counted: Sequence[str]
) -> None:
    """Fill in what was lost, and what the training cost with it."""
    record = records.record
    lost = _lost(records, counted)
    if lost is not None:
        arrays["lost_duration"][place] = lost.duration_s
        arrays["lost_images"][place] = lost.images
        arrays["lost_energy"][place] = lost.energy_j
    if record is not None and record.whole is not None:
        parts = [total_of(record.whole, counted)]
    else:
        parts = [total_of(phase, counted) for epoch in records.epochs for phase in _phases(epoch)]
    if not parts and lost is None:
        return  # nothing is known of it
    spent = add([*parts, lost or Total()])
    arrays["spent_duration"][place] = spent.duration_s
    arrays["spent_energy"][place] = spent.energy_j
    arrays["spent_energy_source"][place] = spent.source


def _lost(records: _Records, counted: Sequence[str]) -> Total | None:
    """Return what was lost behind checkpoints or done again; ``None`` where nobody knows."""
    record = records.record
    if record is not None and record.lost is not None:
        return total_of(record.lost, counted)
    done = {(epoch.session, epoch.epoch) for epoch in (*records.given_up, *records.epochs)}
    last = {heartbeat.session: heartbeat for heartbeat in records.heartbeats}
    behind = [
        heartbeat.lost
        for heartbeat in last.values()
        if (heartbeat.session, heartbeat.epoch) not in done
    ]
    behind += [phase for epoch in records.given_up for phase in _phases(epoch)]
    if behind:
        return add(total_of(phase, counted) for phase in behind)
    whole = record is not None and record.status is Status.OK and record.sessions == 1
    return Total() if whole else None


def _labelled(
    files: RunFiles,
    grid: TrainingLabels,
    variables: Mapping[str, Variable],
    arrays: "Arrays",
    counts: Sequence[int],
) -> "xr.Dataset":
    import numpy as np
    import xarray as xr

    along = grid.along
    coords: dict[str, tuple[str, Numbers, Mapping[str, object]]] = {}
    for dim, values in along.items():
        attrs = dict(COORDINATES[dim].attributes()) if dim in COORDINATES else _set_on(grid, dim)
        coords[dim] = (dim, np.array(values, dtype=_dtype(values)), attrs)
    coords["counts"] = (
        "domain",
        np.array(counts, dtype=np.int8),
        COORDINATES["counts"].attributes(),
    )
    for name, texts in backend_facts(files, along["backend"]).items():
        coords[name] = (
            "backend",
            np.array(texts, dtype=_dtype(texts)),
            COORDINATES[name].attributes(),
        )
    data = {}
    for name, variable in variables.items():
        array = arrays[name]
        if variable.kind == "text" and not array.size:
            array = array.astype(str)  # an empty array of objects is a text to nobody
        attrs = variable.attributes()
        if name in grid.searched:
            attrs["hyperparameter"] = grid.searched[name]
        data[name] = (variable.along(grid.dims), array, attrs)
    attributes = global_attributes(
        files,
        TRAINING_SCHEMA,
        grid.settings,
        provenance_of(arrays["energy_per_image_seen_source"]),
    )
    search = json.dumps(files.study.members.get("search"), default=str)
    return xr.Dataset(data, coords, attributes | {"kind": KIND, "search": search})


def _set_on(grid: TrainingLabels, dim: str) -> dict[str, str]:
    name = grid.settings[dim]
    attributes = {"units": "1", "long_name": f"what {name} was set to", "setting": name}
    return attributes | ({"not_set": grid.not_set[dim]} if dim in grid.not_set else {})


def _dtype(values: Sequence[Hashable]) -> str:
    if values and not isinstance(values[0], str):
        return "i8"
    return f"<U{max([1, *(len(str(value)) for value in values)])}"


def hyperparameters_of(dataset: "xr.Dataset") -> dict[str, str]:
    """Return the names of the hyperparameters that are searched, by their variable."""
    return {
        str(name): str(dataset[name].attrs["hyperparameter"])
        for name in dataset.data_vars
        if str(name).startswith(HYPERPARAMETER)
    }
