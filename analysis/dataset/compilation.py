"""The journal compiled to a labelled dataset: dimensions, units and flags of DESIGN, section 4."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, NamedTuple, Self

from greenbatch.analysis.dataset.accuracies import fill_accuracies
from greenbatch.analysis.dataset.columns import fill
from greenbatch.analysis.dataset.coordinates import backend_facts, counting, model_facts
from greenbatch.analysis.dataset.counted import counted_by_backend, mask_of
from greenbatch.analysis.dataset.labels import Labels, labels
from greenbatch.analysis.dataset.raced import ATTRIBUTE as DECISIONS
from greenbatch.analysis.dataset.raced import decisions_text
from greenbatch.analysis.dataset.run_files import RunFiles
from greenbatch.analysis.dataset.totals import add_totals, provenance_of
from greenbatch.analysis.dataset.variables import (
    COORDINATES,
    LOOP,
    SERVED,
    SERVER,
    SOURCES,
    STOPS,
    VARIABLES,
    table,
)
from greenbatch.errors import RunError
from greenbatch.privacy import masked_members
from greenbatch.records import (
    Capacity,
    Cell,
    Idle,
    IdleFigure,
    Left,
    Repetition,
    Status,
)
from greenbatch.records.provenance import Provenance

if TYPE_CHECKING:
    import numpy as np
    import xarray as xr
    from numpy.typing import NDArray

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
    groups = {"offline": loop}
    loop.arrays["in_design"][grid.designed(*LOOP)] = 1
    if servers:
        groups["server"] = _Group.of(arrays, SERVER)
        groups["server"].arrays["in_design"][grid.designed(*SERVED)] = 1
    idle = _idle_power(files.journal.idles, grid)
    chosen = _once_each(files.journal.repetitions)
    counting_by = counted_by_backend((r.cell.backend, r.energy) for r in files.journal.repetitions)
    backends = [variant.backend for variant in grid.variants]
    devices = dict(zip(backends, backend_facts(files, backends)["device"], strict=True))
    superseded = _superseded(chosen, files.journal.repetitions)
    for name, group in groups.items():
        records = [record for record in chosen if record.cell.scenario == name]
        if records:
            rows = group.rows_of(records, grid)
            fill(group.rows, rows, records, grid, counting_by, devices)
            group.rows["disturbed_attempts"][rows] = [
                superseded.get((record.cell, record.block), 0) if superseded else 0
                for record in records
            ]
            _fill_idle(group.rows, rows, [idle.get(_block_of(r), {}) for r in records])
    _fill_stops(groups, chosen, grid)
    _fill_lefts(groups, files.journal.lefts, grid)
    _fill_capacities(arrays, files.journal.capacities, grid)
    accuracies = fill_accuracies(arrays, files, grid)
    counts = np.array(counting(files, grid.texts("domain")), dtype=np.int8)
    for group in groups.values():
        add_totals(group.arrays, mask_of(group.arrays["energy_counted"], counts))
    dataset = _labelled(files, grid, arrays, counts)
    if files.journal.decisions:
        dataset.attrs[DECISIONS] = decisions_text(files.journal.decisions)
    dataset.attrs["accuracy"] = json.dumps([asdict(accuracy) for accuracy in accuracies])
    return dataset


class _Group(NamedTuple):
    """The arrays of one group, by the names of its variables.

    Attributes:
        rows: Those of repetitions, with the dimensions of a repetition as one.
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

    def rows_of(self, records: Sequence[Repetition], grid: Labels) -> "NDArray[np.intp]":
        """Return where repetitions stand in `rows`; their cells are in the design then."""
        import numpy as np

        # By identity: records share their cells, whose hashes take as long as decoding a figure.
        cells = {id(record.cell): record.cell for record in records}
        places = {key: grid.cell(cell) for key, cell in cells.items()}
        for place in places.values():
            self.arrays["in_design"][place] = 1
        blocks = [grid.place("repetition", record.block) for record in records]
        along = (*np.array([places[id(record.cell)] for record in records]).T, blocks)
        rows: NDArray[np.intp] = np.ravel_multi_index(along, self.shape)
        return rows


def _once_each(repetitions: Iterable[Repetition]) -> list[Repetition]:
    """One record for each cell and block.

    A failure that was measured again gives way, and so does an attempt that was disturbed.

    Raises:
        RunError: Two records of one attempt are ok.
    """
    chosen: dict[Cell, dict[int, Repetition]] = defaultdict(dict)
    for record in repetitions:
        blocks = chosen[record.cell]
        other = blocks.setdefault(record.block, record)
        if other is record:
            continue
        if other.status is record.status is Status.OK and other.attempt == record.attempt:
            raise RunError(
                f"the journal holds {record.cell}, block {record.block}, twice; delete one of "
                "the two lines"
            )
        blocks[record.block] = max(
            other, record, key=lambda r: (r.status is Status.OK, r.attempt, r.started_at)
        )
    return [record for blocks in chosen.values() for record in blocks.values()]


def _superseded(
    chosen: Iterable[Repetition], repetitions: Iterable[Repetition]
) -> dict[tuple[Cell, int], int]:
    """Return how many disturbed attempts other than the chosen one there are, where there are."""
    counts = Counter((r.cell, r.block) for r in repetitions if "disturbed" in r.flags)
    counts.subtract((r.cell, r.block) for r in chosen if "disturbed" in r.flags)
    return dict(counts)


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


def _block_of(record: Repetition) -> _Block:
    return (record.cell.backend, record.cell.settings, record.block)


def _fill_idle(
    arrays: "Arrays", rows: "NDArray[np.intp]", found: Sequence[Mapping[int, _IdleMean]]
) -> None:
    """Fill in the idle power of each repetition's block, by domain."""
    import numpy as np

    at = np.repeat(rows, [len(means) for means in found])
    domains = [domain for means in found for domain in means]
    figures = [mean for means in found for mean in means.values()]
    for name, values in (
        ("idle_power", [mean.power_w for mean in figures]),
        ("idle_power_uncertainty", [mean.uncertainty_w for mean in figures]),
        ("idle_power_common", [mean.common_w for mean in figures]),
        ("idle_power_source", [mean.source for mean in figures]),
    ):
        arrays[name][at, np.array(domains, np.intp)] = values


def _number(value: float | int | None) -> float:
    return float("nan") if value is None else float(value)


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


def _fill_lefts(groups: Mapping[str, _Group], lefts: Iterable[Left], grid: Labels) -> None:
    """Fill in why a run with a budget left cells."""
    for left in lefts:
        place = grid.cell(left.cell)
        arrays = groups[left.cell.scenario].arrays
        arrays["stopped"][place] = STOPS.index(left.why)
        arrays["stopped_block"][place] = left.block
        arrays["stopped_reason"][place] = left.reason


def _fill_capacities(arrays: "Arrays", capacities: Iterable[Capacity], grid: Labels) -> None:
    """Fill in the largest batches; of several probes of a cell, the latest."""
    for capacity in sorted(capacities, key=lambda c: (c.started_at, c.cell.batch_size)):
        if capacity.ended and not capacity.fits:
            continue  # nothing is known
        cell = capacity.cell
        place = grid.variant(cell)
        arrays["max_batch_size"][place] = cell.batch_size if capacity.fits else 0
        arrays["min_failing_batch_size"][place] = _number(capacity.smallest_failing)


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
