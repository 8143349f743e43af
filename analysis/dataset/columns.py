"""Figures of many repetitions, written into the arrays of a dataset a variable at a time.

A variable is gathered from all records and set at once: that takes a tenth of the time that
setting each value by itself takes.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

from greenbatch.analysis.dataset.counted import codes_of, counted_code
from greenbatch.analysis.dataset.device_conditions import CONDITIONS
from greenbatch.analysis.dataset.variables import CACHES, FLAGS
from greenbatch.records import (
    EnergyFigure,
    EnergySource,
    OneOff,
    Pipeline,
    Queue,
    Repetition,
    Status,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from greenbatch.analysis.dataset.labels import Labels
    from greenbatch.analysis.dataset.variables import AnyArray, Arrays

    Rows = NDArray[np.intp]

_Number: TypeAlias = float | int | None
_NOWHERE = -1
_STATUS = {status: code for code, status in enumerate(Status)}
_SOURCE = {source: code for code, source in enumerate(EnergySource)}
_CACHE = {cache: code for code, cache in enumerate(CACHES)}

_SCALARS: Mapping[str, Callable[[Repetition], _Number]] = {
    "status": lambda r: _STATUS[r.status],
    "flags": lambda r: sum(FLAGS[name] for name in r.flags) if r.flags else 0,
    "duration": lambda r: r.duration_s,
    "images": lambda r: r.images,
    "iterations": lambda r: r.iterations,
    "throughput": lambda r: r.images / r.duration_s if r.images and r.duration_s else None,
    "warm_up_iterations": lambda r: r.warm_up.iterations if r.warm_up else None,
    "warm_up_duration": lambda r: r.warm_up.duration_s if r.warm_up else None,
    "rest": lambda r: r.conditions.rest_s,
    "foreign_load": lambda r: r.conditions.foreign_load,
    "order_position": lambda r: r.position,
    "cache": lambda r: _CACHE[r.cache or "none"],
    "agreement_max_rel": lambda r: r.agreement.max_rel if r.agreement else None,
    "agreement_cosine": lambda r: r.agreement.cosine if r.agreement else None,
    "agreement_equal": lambda r: r.agreement.equal if r.agreement else None,
}
_PIPELINES: Mapping[str, Callable[[Pipeline, Repetition], _Number]] = {
    "preprocessing_time_share": lambda p, r: (p.decode_s + p.transform_s) / (r.duration_s or 1),
    "preprocessing_cpu_share": lambda p, _: p.cpu_s / p.process_cpu_s if p.process_cpu_s else None,
}
_QUEUES: Mapping[str, Callable[[Queue, Repetition], _Number]] = {
    "response_time_mean": lambda q, _: q.response_mean_s,
    "requests": lambda q, _: q.requests,
    "unserved": lambda q, _: q.unserved,
    "busy": lambda q, r: q.busy_s / (r.duration_s or 1),
    "batch_size_mean": lambda q, _: (
        sum(n * count for n, count in q.batch_sizes.items()) / sum(q.batch_sizes.values())
    ),
    "waiting_mean": lambda q, _: q.waiting_mean,
    "waiting_max": lambda q, _: q.waiting_max,
    "queue_growth": lambda q, _: q.growth_hz,
    "energy_per_request_as_published": lambda q, r: (
        q.as_published.energy_j / r.images if q.as_published and r.images else None
    ),
}
_QUANTILES: Mapping[str, Callable[[Repetition], Mapping[str, float]]] = {
    "latency": lambda r: r.latency_s,
    "response_time": lambda r: r.queue.response_s if r.queue else {},
    "lateness": lambda r: r.queue.lateness_s if r.queue else {},
}
_LABELLED: Mapping[str, tuple[str, Callable[[Repetition], Mapping[str, float]]]] = {
    "temperature": ("sensor", lambda r: r.conditions.temperature_c),
    "temperature_mean": ("sensor", lambda r: r.conditions.temperature_mean_c),
    "temperature_end": ("sensor", lambda r: r.conditions.temperature_end_c),
    "clock": ("clock_domain", lambda r: r.conditions.clock_hz),
    "phase_duration": ("phase", lambda r: r.phases_s),
}
_FIGURES: Mapping[str, Callable[[EnergyFigure], _Number]] = {
    "energy": lambda f: f.energy_j,
    "energy_uncertainty": lambda f: f.uncertainty_j,
    "energy_common": lambda f: f.common_j,
    "energy_source": lambda f: _SOURCE[f.source],
    "energy_other": lambda f: f.other_energy_j,
    "energy_other_source": lambda f: _SOURCE[f.other_source] if f.other_source else 0,
    "energy_disagreement": lambda f: f.disagreement,
    "power_mean": lambda f: f.power_mean_w,
    "power_max": lambda f: f.power_max_w,
    "energy_counted": lambda f: counted_code(f.counts),
}
_STARTS: Mapping[str, Callable[[EnergyFigure], _Number]] = {
    "one_off_energy_source": lambda f: _SOURCE[f.source],
    "one_off_energy": lambda f: f.energy_j,
    "one_off_energy_uncertainty": lambda f: f.uncertainty_j,
}


def fill(
    arrays: "Arrays",
    rows: "Rows",
    records: Sequence[Repetition],
    grid: "Labels",
    counting: Mapping[str, Mapping[str, bool]],
    devices: Mapping[str, str],
) -> None:
    """Write records into the arrays of their group.

    Args:
        arrays: By variable, the dimensions of a repetition as one; changed in place. What a group
            does not have is left out.
        rows: Where each record stands in them.
        records: Repetitions of one group.
        grid: The dataset's labels.
        counting: Which domains count, as `counted_by_backend` gives it.
        devices: By backend.
    """
    import numpy as np

    domains = grid.texts("domain")
    stated = {backend: codes_of((), known, domains) for backend, known in counting.items()}
    arrays["energy_counted"][rows] = [stated[record.cell.backend] for record in records]
    for name, scalar in _SCALARS.items():
        arrays[name][rows] = _numbers(scalar(record) for record in records)
    arrays["reason"][rows] = _texts(record.reason or "" for record in records)
    arrays["agreement_weak"][rows] = _texts(
        ", ".join(record.agreement.weak) if record.agreement else "" for record in records
    )
    whole = [(row, r) for row, r in zip(rows.tolist(), records, strict=True) if r.duration_s]
    piped = [(row, r.pipeline, r) for row, r in whole if r.pipeline]
    queued = [(row, r.queue, r) for row, r in whole if r.queue]
    for name, of_pipeline in _PIPELINES.items():
        arrays[name][[row for row, _, _ in piped]] = _numbers(
            of_pipeline(p, r) for _, p, r in piped
        )
    for name, of_queue in _QUEUES.items():
        if name in arrays:
            arrays[name][[row for row, _, _ in queued]] = _numbers(
                of_queue(q, r) for _, q, r in queued
            )
    quantiles = {quantile: place for place, quantile in enumerate(grid.along["quantile"])}
    for name, of_quantiles in _QUANTILES.items():
        if name in arrays:
            found = [of_quantiles(record) for record in records]
            _set(arrays[name], rows, found, lambda text: quantiles.get(float(text), _NOWHERE))
    for name, (dim, of_labels) in _LABELLED.items():
        found = [of_labels(record) for record in records]
        _set(arrays[name], rows, found, partial(grid.place, dim))
    places = {domain: place for place, domain in enumerate(domains)}
    for name, of_domains in CONDITIONS.items():
        found = [of_domains(record.conditions) for record in records]
        _set(arrays[name], rows, found, lambda domain: places.get(domain, _NOWHERE))
    used = [_device_bytes(record, devices[record.cell.backend]) for record in records]
    for place, peaks in enumerate(
        (
            [record.memory_host_bytes for record in records],
            used,
            [record.memory_children_bytes for record in records],
        )
    ):
        arrays["memory_peak"][rows, place] = _numbers(peaks)
    figures = [figure for record in records for figure in record.energy]
    each = np.repeat(rows, [len(record.energy) for record in records])
    spots = (each, np.array([places[figure.domain] for figure in figures], np.intp))
    for name, of_figure in _FIGURES.items():
        arrays[name][spots] = _numbers(map(of_figure, figures))
    arrays["energy_reason"][spots] = _texts(figure.reason or "" for figure in figures)
    limit_w = arrays["power_limit"][rows]
    share = np.divide(
        arrays["power_mean"][rows], limit_w, out=np.full(limit_w.shape, np.nan), where=limit_w > 0
    )
    arrays["power_of_limit"][rows] = share
    _fill_starts(arrays, rows, [record.one_off for record in records], grid)


def _fill_starts(
    arrays: "Arrays", rows: "Rows", starts: Sequence[Mapping[str, OneOff]], grid: "Labels"
) -> None:
    import numpy as np

    every = [start for by_phase in starts for start in by_phase.values()]
    at = np.repeat(rows, [len(by_phase) for by_phase in starts])
    labels = [grid.place("one_off_phase", phase) for by_phase in starts for phase in by_phase]
    phases = np.array(labels, np.intp)
    arrays["one_off_duration"][at, phases] = _numbers(start.duration_s for start in every)
    figures = [figure for start in every for figure in start.energy]
    counts = [len(start.energy) for start in every]
    domains = np.array([grid.place("domain", figure.domain) for figure in figures], np.intp)
    spots = (np.repeat(at, counts), np.repeat(phases, counts), domains)
    for name, of_figure in _STARTS.items():
        arrays[name][spots] = _numbers(map(of_figure, figures))


def _device_bytes(record: Repetition, device: str) -> int | None:
    """Memory in use on the backend's own device; other devices' memory is not the cell's."""
    used = record.conditions.memory_device_bytes
    if device in used:
        return used[device]
    return None if not used or device.startswith("cpu") else sum(used.values())


def _set(
    array: "AnyArray",
    rows: "Rows",
    found: Sequence[Mapping[str, float]],
    place: Callable[[str], int],
) -> None:
    """Set values that each record has by label.

    Args:
        array: Shape (row, label).
        rows: Of the records.
        found: What each has.
        place: Gives the position of a label; of one that is left out, `_NOWHERE`.
    """
    import numpy as np

    places = {label: place(label) for label in dict.fromkeys(chain.from_iterable(found))}
    at = np.repeat(rows, [len(one) for one in found])
    labels = np.array([places[label] for one in found for label in one], np.intp)
    values = _numbers(chain.from_iterable(one.values() for one in found))
    known = labels != _NOWHERE
    array[at[known], labels[known]] = values[known]


def _numbers(values: Iterable[float | None]) -> "NDArray[np.float64]":
    """Return numbers as an array, NaN where there is none."""
    import numpy as np

    found = [*values]
    if found and found[0] is None and found.count(None) == len(found):
        return np.full(len(found), np.nan)  # a quarter of the time
    return np.array(found, dtype=np.float64)


def _texts(values: Iterable[str]) -> "AnyArray":
    import numpy as np

    return np.array([*values], dtype=object)
