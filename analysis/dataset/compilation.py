"""The journal compiled to a labelled dataset: dimensions, units and flags of DESIGN, section 4."""

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, NamedTuple, Self

from greenbatch.analysis.dataset.accuracies import fill_accuracies
from greenbatch.analysis.dataset.coordinates import backend_facts, counting, model_facts
from greenbatch.analysis.dataset.counted import codes_of, counted_by_backend, mask_of
from greenbatch.analysis.dataset.device_conditions import device_conditions
from greenbatch.analysis.dataset.labels import Labels, labels
from greenbatch.analysis.dataset.run_files import RunFiles
from greenbatch.analysis.dataset.totals import add_totals, provenance_of
from greenbatch.analysis.dataset.variables import (
    CACHES,
    COORDINATES,
    FLAGS,
    LOOP,
    SERVED,
    SERVER,
    SOURCES,
    STATUSES,
    STOPS,
    VARIABLES,
    table,
)
from greenbatch.errors import RunError
from greenbatch.privacy import masked_members
from greenbatch.records import (
    Capacity,
    Cell,
    EnergySource,
    Idle,
    IdleFigure,
    Pipeline,
    Queue,
    Repetition,
    Status,
)
from greenbatch.records.provenance import Provenance

if TYPE_CHECKING:
    import xarray as xr

    from greenbatch.analysis.dataset.variables import AnyArray, Arrays

DATASET_SCHEMA = 3
"""3: a cell of the closed loop is a model, a variant and a batch size, and servers are a group of
their own. 2: every setting was a dimension. 1: six factors were. A run's ``dataset.nc`` of an
earlier schema is compiled again; a file alone is turned into this one."""


def from_files(files: RunFiles) -> "xr.Dataset":
    """Compile a run that is read; see `greenbatch.analysis.dataset.store.compile_dataset`.

    Raises:
        RunError: A repetition was measured twice.
    """
    import numpy as np

    grid = labels(files)
    servers = "traffic" in grid.along
    arrays: Arrays = {
        name: np.full([len(grid.along[dim]) for dim in dims], variable.missing, variable.dtype)
        for name, (variable, dims) in table(servers=servers).items()
    }
    loop = _Group.of(arrays, "")
    groups = {"offline": loop, "server": _Group.of(arrays, SERVER) if servers else loop}
    loop.arrays["in_design"][grid.designed(*LOOP)] = 1
    if servers:
        groups["server"].arrays["in_design"][grid.designed(*SERVED)] = 1
    idle = _idle_power(files.journal.idles, grid)
    chosen = _once_each(files.journal.repetitions)
    counting_by = counted_by_backend((r.cell.backend, r.energy) for r in files.journal.repetitions)
    backends = [variant.backend for variant in grid.variants]
    devices = dict(zip(backends, backend_facts(files, backends)["device"], strict=True))
    domains = grid.texts("domain")
    for repetition, superseded in chosen:
        cell, group = grid.cell(repetition.cell), groups[repetition.cell.scenario]
        group.arrays["in_design"][cell] = 1
        place = group.place(cell, grid.place("repetition", repetition.block))
        rows = group.rows
        _fill(rows, place, repetition, grid, devices[repetition.cell.backend])
        rows["disturbed_attempts"][place] = superseded
        rows["energy_counted"][place] = codes_of(
            repetition.energy, counting_by[repetition.cell.backend], domains
        )
        block = (repetition.cell.backend, repetition.cell.settings, repetition.block)
        for domain, mean in idle.get(block, {}).items():
            rows["idle_power"][(*place, domain)] = mean.power_w
            rows["idle_power_uncertainty"][(*place, domain)] = mean.uncertainty_w
            rows["idle_power_common"][(*place, domain)] = mean.common_w
            rows["idle_power_source"][(*place, domain)] = mean.source
    _fill_stops(groups, (repetition for repetition, _ in chosen), grid)
    _fill_capacities(arrays, files.journal.capacities, grid)
    accuracies = fill_accuracies(arrays, files, grid)
    counts = np.array(counting(files, grid.texts("domain")), dtype=np.int8)
    for group in {id(group): group for group in groups.values()}.values():
        add_totals(group.arrays, mask_of(group.arrays["energy_counted"], counts))
    dataset = _labelled(files, grid, arrays, counts)
    dataset.attrs["accuracy"] = json.dumps([asdict(accuracy) for accuracy in accuracies])
    return dataset


class _Group(NamedTuple):
    """The arrays of one group, by the names of its variables.

    Attributes:
        rows: Those of repetitions, with the dimensions of a repetition as one: an index of one
            number is set in half the time.
        shape: Of these dimensions.
    """

    arrays: "Arrays"
    rows: "Arrays"
    shape: tuple[int, ...]

    @classmethod
    def of(cls, every: "Arrays", prefix: str) -> Self:
        """Take the arrays whose names begin so."""
        arrays = {
            name: every[prefix + name]
            for name, variable in VARIABLES.items()
            if variable.of_cells and prefix + name in every
        }
        shape = arrays["status"].shape
        rows = {
            name: array.reshape(math.prod(shape), *array.shape[len(shape) :])
            for name, array in arrays.items()
            if VARIABLES[name].over is None
        }
        return cls(arrays, rows, shape)

    def place(self, cell: tuple[int, int, int], repetition: int) -> tuple[int]:
        """Return where a repetition stands in `rows`."""
        first, second, third = cell
        _, seconds, thirds, repetitions = self.shape
        return (((first * seconds + second) * thirds + third) * repetitions + repetition,)


def _once_each(repetitions: Iterable[Repetition]) -> list[tuple[Repetition, int]]:
    """One record for each cell and block, and how many disturbed attempts it supersedes.

    A failure that was measured again gives way, and so does an attempt that was disturbed.

    Raises:
        RunError: Two records of one attempt are ok.
    """
    chosen: dict[tuple[Cell, int], Repetition] = {}
    disturbed: dict[tuple[Cell, int], int] = defaultdict(int)
    for record in repetitions:
        key = (record.cell, record.block)
        disturbed[key] += "disturbed" in record.flags
        other = chosen.setdefault(key, record)
        if other is record:
            continue
        if other.status is record.status is Status.OK and other.attempt == record.attempt:
            raise RunError(
                f"the journal holds {record.cell}, block {record.block}, twice; delete one of "
                "the two lines"
            )
        chosen[key] = max(
            other, record, key=lambda r: (r.status is Status.OK, r.attempt, r.started_at)
        )
    return [
        (record, disturbed[key] - ("disturbed" in record.flags)) for key, record in chosen.items()
    ]


class _IdleMean(NamedTuple):
    power_w: float
    uncertainty_w: float
    common_w: float
    source: int


_Block = tuple[str, tuple[tuple[str, str], ...], int]


def _idle_power(idles: Iterable[Idle], grid: Labels) -> dict[_Block, dict[int, _IdleMean]]:
    """Mean idle power, by block of a backend as it was set, then by domain's position.

    Every idle record of the block has the same weight; there are more than two when the run
    was resumed within the block. Ways that differ within a block make the mean missing: an
    estimate and a measurement have no common mean. Half the spread of the records is added to
    the meters' own uncertainty: idle power that moved within a block is known no better.
    """
    import numpy as np

    found: dict[_Block, dict[int, list[IdleFigure]]] = {}
    for idle in idles:
        by_domain = found.setdefault((idle.backend, idle.settings, idle.block), defaultdict(list))
        for figure in idle.figures:
            if figure.power_w is not None:
                place = grid.place("domain", figure.domain)
                by_domain[place].append(figure)
    means: dict[_Block, dict[int, _IdleMean]] = {}
    for key, by_domain in found.items():
        means[key] = {}
        for place, figures in by_domain.items():
            sources = {str(figure.source) for figure in figures}
            if "estimated" in sources and len(sources) > 1:
                continue
            # Sorted, so that the order of the lines does not reach the last digit.
            powers_w = sorted(figure.power_w for figure in figures if figure.power_w is not None)
            doubts_w = sorted(figure.uncertainty_w or 0.0 for figure in figures)
            means[key][place] = _IdleMean(
                float(np.mean(powers_w)),
                float(np.mean(doubts_w)) + (powers_w[-1] - powers_w[0]) / 2,
                float(np.mean(sorted(figure.common_w for figure in figures))),
                max(SOURCES.index(source) for source in sources),
            )
    return means


def _number(value: float | int | None) -> float:
    return float("nan") if value is None else float(value)


def _fill(
    arrays: "Arrays", place: tuple[int, ...], record: Repetition, grid: Labels, device: str
) -> None:
    warm_up, conditions = record.warm_up, record.conditions
    rate = record.images / record.duration_s if record.images and record.duration_s else None
    scalars: dict[str, float | int | None] = {
        "status": STATUSES.index(str(record.status)),
        "flags": sum(FLAGS[name] for name in record.flags),
        "duration": record.duration_s,
        "images": record.images,
        "iterations": record.iterations,
        "throughput": rate,
        "warm_up_iterations": warm_up.iterations if warm_up else None,
        "warm_up_duration": warm_up.duration_s if warm_up else None,
        "rest": conditions.rest_s,
        "foreign_load": conditions.foreign_load,
        "order_position": record.position,
        "cache": CACHES.index(record.cache or "none"),
        "agreement_max_rel": record.agreement.max_rel if record.agreement else None,
        "agreement_cosine": record.agreement.cosine if record.agreement else None,
        "agreement_equal": record.agreement.equal if record.agreement else None,
    }
    for name, value in scalars.items():
        arrays[name][place] = _number(value)
    arrays["reason"][place] = record.reason or ""
    arrays["agreement_weak"][place] = ", ".join(record.agreement.weak) if record.agreement else ""
    if record.pipeline and record.duration_s:
        _fill_pipeline(arrays, place, record.pipeline, record.duration_s)
    if record.queue and record.duration_s:
        _fill_queue(arrays, place, record.queue, record.duration_s, record.images)
    queue = record.queue
    for name, quantiles in (
        ("latency", record.latency_s),
        ("response_time", queue.response_s if queue else {}),
        ("lateness", queue.lateness_s if queue else {}),
    ):
        for quantile, seconds in quantiles.items():
            if float(quantile) in grid.along["quantile"]:
                arrays[name][(*place, grid.place("quantile", float(quantile)))] = seconds
    for dim, name, values in (
        ("sensor", "temperature", conditions.temperature_c),
        ("sensor", "temperature_mean", conditions.temperature_mean_c),
        ("sensor", "temperature_end", conditions.temperature_end_c),
        ("clock_domain", "clock", conditions.clock_hz),
        ("phase", "phase_duration", record.phases_s),
    ):
        for label, amount in values.items():
            arrays[name][(*place, grid.place(dim, label))] = amount
    arrays["memory_peak"][(*place, 0)] = _number(record.memory_host_bytes)
    arrays["memory_peak"][(*place, 1)] = _number(_device_bytes(record, device))
    arrays["memory_peak"][(*place, 2)] = _number(record.memory_children_bytes)
    for name, by_domain in device_conditions(conditions, record.energy).items():
        for label, amount in by_domain.items():
            if label in grid.along["domain"]:
                arrays[name][(*place, grid.place("domain", label))] = amount
    for figure in record.energy:
        spot = (*place, grid.place("domain", figure.domain))
        arrays["energy_source"][spot] = SOURCES.index(str(figure.source))
        arrays["energy_other_source"][spot] = SOURCES.index(
            str(figure.other_source or EnergySource.MISSING)
        )
        arrays["energy_reason"][spot] = figure.reason or ""
        arrays["energy"][spot] = _number(figure.energy_j)
        arrays["energy_uncertainty"][spot] = _number(figure.uncertainty_j)
        arrays["energy_common"][spot] = figure.common_j
        arrays["energy_other"][spot] = _number(figure.other_energy_j)
        arrays["energy_disagreement"][spot] = _number(figure.disagreement)
        arrays["power_mean"][spot] = _number(figure.power_mean_w)
        arrays["power_max"][spot] = _number(figure.power_max_w)
    for phase, start in record.one_off.items():
        at = (*place, grid.place("one_off_phase", phase))
        arrays["one_off_duration"][at] = start.duration_s
        for figure in start.energy:
            spot = (*at, grid.place("domain", figure.domain))
            arrays["one_off_energy_source"][spot] = SOURCES.index(str(figure.source))
            arrays["one_off_energy"][spot] = _number(figure.energy_j)
            arrays["one_off_energy_uncertainty"][spot] = _number(figure.uncertainty_j)


def _fill_pipeline(
    arrays: "Arrays", place: tuple[int, ...], pipeline: Pipeline, duration_s: float
) -> None:
    spent_s = pipeline.decode_s + pipeline.transform_s
    arrays["preprocessing_time_share"][place] = spent_s / duration_s
    if pipeline.process_cpu_s:
        arrays["preprocessing_cpu_share"][place] = pipeline.cpu_s / pipeline.process_cpu_s


def _fill_queue(
    arrays: "Arrays", place: tuple[int, ...], queue: Queue, duration_s: float, images: int | None
) -> None:
    batches = sum(queue.batch_sizes.values())
    published_j = queue.as_published.energy_j / images if queue.as_published and images else None
    for name, value in (
        ("response_time_mean", _number(queue.response_mean_s)),
        ("requests", queue.requests),
        ("unserved", queue.unserved),
        ("busy", queue.busy_s / duration_s),
        ("batch_size_mean", sum(n * count for n, count in queue.batch_sizes.items()) / batches),
        ("waiting_mean", queue.waiting_mean),
        ("waiting_max", queue.waiting_max),
        ("queue_growth", queue.growth_hz),
        ("energy_per_request_as_published", _number(published_j)),
    ):
        arrays[name][place] = value


def _fill_stops(
    groups: Mapping[str, _Group], repetitions: Iterable[Repetition], grid: Labels
) -> None:
    """Fill in why each cell was left out, as its latest block says."""
    quantities = VARIABLES["stopped_quantity"].meanings
    for repetition in sorted(repetitions, key=lambda r: r.block):
        if stop := repetition.stop:
            place = grid.cell(repetition.cell)
            arrays = groups[repetition.cell.scenario].arrays
            arrays["stopped"][place] = STOPS.index(stop.why)
            arrays["stopped_quantity"][place] = quantities.index(stop.quantity or "none")
            arrays["stopped_half_width"][place] = _number(stop.half_width)


def _fill_capacities(arrays: "Arrays", capacities: Iterable[Capacity], grid: Labels) -> None:
    """Fill in the largest batches; of several probes of a cell, the latest."""
    for capacity in sorted(capacities, key=lambda c: (c.started_at, c.cell.batch_size)):
        if capacity.ended and not capacity.fits:
            continue  # nothing is known
        cell = capacity.cell
        place = grid.variant(cell)
        arrays["max_batch_size"][place] = cell.batch_size if capacity.fits else 0
        arrays["min_failing_batch_size"][place] = _number(capacity.smallest_failing)


def _device_bytes(record: Repetition, device: str) -> int | None:
    """Memory in use on the backend's own device; other devices' memory is not the cell's."""
    used = record.conditions.memory_device_bytes
    if device in used:
        return used[device]
    return None if not used or device.startswith("cpu") else sum(used.values())


def _labelled(files: RunFiles, grid: Labels, arrays: "Arrays", counts: "AnyArray") -> "xr.Dataset":
    import numpy as np
    import xarray as xr

    along, factors = grid.along, grid.factors()
    coords: dict[str, tuple[str, AnyArray, dict[str, str | AnyArray]]] = {}
    for dim, values in along.items():
        coords[dim] = (dim, np.array(values, dtype=_dtype(dim, values)), _attrs(dim))
    for name, (dim, texts) in factors.items():
        attrs = _setting_attrs(grid.settings[name]) if name in grid.settings else _attrs(name)
        coords[name] = (dim, np.array(texts, dtype=_dtype(name, texts)), attrs)
    coords["counts"] = ("domain", counts, _attrs("counts"))
    for name, texts in backend_facts(files, factors["backend"][1]).items():
        coords[name] = ("variant", np.array(texts, dtype=_dtype(name, texts)), _attrs(name))
    for name, facts in model_facts(files, grid.texts("model")).items():
        coords[name] = ("model", np.array(facts, dtype=_dtype(name, facts)), _attrs(name))
    data = {}
    for name, (variable, dims) in table(servers="traffic" in along).items():
        array = arrays[name]
        if variable.kind == "text" and not array.size:
            array = array.astype(str)  # an empty array of objects is a text to nobody
        data[name] = (dims, array, variable.attributes())
    sources = [name for name in arrays if name.endswith("energy_per_image_source")]
    energies = provenance_of(np.concatenate([arrays[name].ravel() for name in sources]))
    attributes = global_attributes(files, DATASET_SCHEMA, grid.settings, energies)
    return xr.Dataset(data, coords, attributes)


def _attrs(name: str) -> "dict[str, str | AnyArray]":
    return dict(COORDINATES[name].attributes())


def _setting_attrs(name: str) -> "dict[str, str | AnyArray]":
    return {"units": "1", "long_name": f"what {name} was set to", "setting": name}


def _dtype(name: str, values: Iterable[object]) -> str:
    if name not in COORDINATES or COORDINATES[name].kind == "text":
        return f"<U{max([1, *(len(str(value)) for value in values)])}"
    return "i8" if name in ("batch_size", "repetition") else "f8"


def global_attributes(
    files: RunFiles, schema: int, settings: Mapping[str, str], energy_provenance: Provenance
) -> dict[str, str | int]:
    """Gather what a dataset says of its run: design, environment, and its digest.

    They are published with it: home folders and secrets are masked, see `greenbatch.privacy`.

    Args:
        files: The run.
        schema: Of the dataset.
        settings: What is set, by its dimension.
        energy_provenance: What its energies rest on.
    """
    try:
        source = f"greenbatch {version('greenbatch')}"
    except PackageNotFoundError:  # used from a source tree that is not installed
        source = "greenbatch"
    # netCDF attributes hold neither None nor mappings: structured metadata travels as JSON.
    return {
        "Conventions": "CF-1.11",
        "title": str(files.study.name or files.path.resolve().name),
        "source": source,
        "schema": schema,
        "settings": json.dumps(dict(settings)),
        "energy_provenance": energy_provenance.value,
        "study": json.dumps(masked_members(files.study.members), default=str),
        "environment": json.dumps(masked_members(files.environment.members), default=str),
        "journal_torn": files.journal.torn or "",
        "run_digest": files.digest,
    }
