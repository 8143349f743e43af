"""The dataset's labels: the grid of the design, with what the journal has besides."""

from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

from greenbatch.analysis.dataset.coordinates import (
    Label,
    check_values,
    domains,
    numbered,
    require_labels,
    union,
)
from greenbatch.analysis.dataset.device_conditions import sensors_of
from greenbatch.analysis.dataset.factors import EMPTY
from greenbatch.analysis.dataset.run_files import RunFiles
from greenbatch.analysis.dataset.variables import ONE_OFF_PHASES, QUANTILES, VARIANT, table
from greenbatch.analysis.dataset.variants import (
    MOST_PLACES,
    Variant,
    setting_names,
    traffic_label,
    traffic_of,
    variants_of,
)
from greenbatch.design.recorded import RecordedStudy
from greenbatch.errors import RunError, StudyError
from greenbatch.records import TRAFFIC, Cell, Traffic

PHASES = ("start", "load", "first", "warm_up", "window", "wall")
MEMORIES = ("host", "device", "children")
_APART = "measure its factors in several runs"


@dataclass(frozen=True)
class Labels:
    """The labels along each dimension, in the study's order, and the positions they stand at.

    Attributes:
        along: Labels by dimension; ``traffic`` only where there are servers.
        variants: What the labels along ``variant`` stand for.
        traffic: What those along ``traffic`` stand for.
        settings: Names of the settings, by the coordinate that has what they were set to.
        design: How many labels of each dimension are of the design: they come first.
    """

    along: Mapping[str, tuple[Label, ...]]
    variants: Sequence[Variant]
    traffic: Sequence[Traffic]
    settings: Mapping[str, str]
    design: Mapping[str, int]

    @cached_property
    def _places(self) -> dict[str, dict[Hashable, int]]:
        labels: dict[str, Sequence[Hashable]] = {
            **self.along,
            "variant": self.variants,
            "traffic": self.traffic,
        }
        return {
            dim: {label: place for place, label in enumerate(values)}
            for dim, values in labels.items()
        }

    def texts(self, dim: str) -> tuple[str, ...]:
        """The labels of a dimension whose labels are texts."""
        return tuple(map(str, self.along[dim]))

    def place(self, dim: str, label: Hashable) -> int:
        """Position of ``label`` along ``dim``; of a variant or traffic, of what it stands for."""
        return self._places[dim][label]

    def cell(self, cell: Cell) -> tuple[int, int, int]:
        """Index of a cell along the dimensions of its group."""
        last = (
            self.place("traffic", cell.served)
            if cell.is_server
            else self.place("batch_size", cell.batch_size)
        )
        return (*self.variant(cell), last)

    def variant(self, cell: Cell) -> tuple[int, int]:
        """Index of a cell along ``model`` and ``variant``."""
        return self.place("model", cell.model), self.place("variant", Variant.of(cell))

    def designed(self, *dims: str) -> tuple[slice, ...]:
        """Index of what the design has."""
        return tuple(slice(self.design[dim]) for dim in dims)

    def factors(self) -> dict[str, tuple[str, list[str]]]:
        """Return the coordinates along ``variant`` and ``traffic``: the dimension, the labels."""
        found = {name: ("variant", [getattr(v, name) for v in self.variants]) for name in VARIANT}
        set_on = [dict(variant.settings) for variant in self.variants]
        for dim, name in self.settings.items():
            found[dim] = ("variant", [one[name] or EMPTY if name in one else "" for one in set_on])
        if "traffic" in self.along:
            for name in TRAFFIC:
                found[name] = ("traffic", [getattr(traffic, name) for traffic in self.traffic])
        return found


def labels(files: RunFiles) -> Labels:
    """Lay out the full grid of the design; what was not run stays a hole in it, not an absence.

    Raises:
        RunError: The grid is too large.
    """
    study, journal = files.study, files.journal
    assert isinstance(study, RecordedStudy)  # whoever compiles has looked at the kind
    repetitions = journal.repetitions
    cells = {*{id(r.cell): r.cell for r in repetitions}.values()}
    try:
        found = _designed(study, cells, {capacity.cell for capacity in journal.capacities})
    except ValueError as error:
        raise RunError(f"{files.path} states {error}; restore its study.yaml") from error
    along = dict(found.along)
    blocks = max([study.repetitions or 0, *(r.block + 1 for r in repetitions)])
    along["repetition"] = numbered(files, blocks, "repetitions")
    require_labels(files, _needed(study, cells, along))
    if (places := _places(along)) > MOST_PLACES:
        raise RunError(
            f"the dataset of {files.path} has {places:,} places for {len(repetitions):,} "
            f"repetitions, and at most {MOST_PLACES:,} can be laid out; {_APART}"
        )
    along["domain"] = domains(
        files, (figure.domain for idle in journal.idles for figure in idle.figures)
    )
    along["quantile"] = QUANTILES
    along["memory"] = MEMORIES
    along["phase"] = union(PHASES, (phase for r in repetitions for phase in r.phases_s))
    along["one_off_phase"] = union(ONE_OFF_PHASES, (p for r in repetitions for p in r.one_off))
    along["sensor"] = union((), (s for r in repetitions for s in sensors_of(r.conditions)))
    along["clock_domain"] = union((), (c for r in repetitions for c in r.conditions.clock_hz))
    check_values(files, along, (dims for _, dims in table(servers="traffic" in along).values()))
    return replace(found, along=along)


def require_room(study: RecordedStudy) -> None:
    """Refuse a design whose dataset could not be laid out, before it is measured.

    Raises:
        StudyError: It has too many places.
    """
    try:
        along = dict(_designed(study, set(), set()).along)
    except ValueError as error:
        raise StudyError(f"the study states {error}; {_APART}") from error
    along["repetition"] = tuple(range(max(study.repetitions or 0, 1)))
    if (places := _places(along)) > MOST_PLACES:
        raise StudyError(
            f"the dataset of this design would have {places:,} places, and at most "
            f"{MOST_PLACES:,} can be laid out; {_APART}"
        )


def _needed(
    study: RecordedStudy, cells: Collection[Cell], along: Mapping[str, Sequence[Label]]
) -> dict[str, Sequence[Label]]:
    """Return the labels of what every run has: with no label, nothing can be laid out."""
    needed: dict[str, Sequence[Label]] = {dim: along[dim] for dim in ("model", "repetition")}
    needed["backend"] = (*study.backends, *(cell.backend for cell in cells))
    needed["precision"] = (*study.precisions, *(cell.precision for cell in cells))
    needed["io"] = (*study.io, *(cell.io for cell in cells))
    scenarios = {*study.scenarios, *(cell.scenario for cell in cells)}
    needed["scenario"] = (*scenarios,)
    if "offline" in scenarios:
        needed["batch_size"] = along["batch_size"]
    if "server" in scenarios:
        needed["traffic"] = along.get("traffic", ())
    return needed


def _places(along: Mapping[str, Sequence[Label]]) -> int:
    """Count the repetitions that there is room for, of the closed loop and of servers."""
    cells = len(along["batch_size"]) + len(along.get("traffic", ()))
    return cells * prod(len(along[dim]) for dim in ("model", "variant", "repetition"))


def _designed(study: RecordedStudy, cells: Collection[Cell], probed: Collection[Cell]) -> Labels:
    """Return the labels of a design along the dimensions of its cells, and those of the journal.

    Args:
        study: The design.
        cells: That were measured.
        probed: Whose capacity was.

    Raises:
        ValueError: It states more variants or traffic than can be laid out; the message is a
            phrase.
    """
    every = {*cells, *probed}
    sizes = study.batch_sizes if "offline" in study.scenarios else ()
    loads = traffic_of(study) if "server" in study.scenarios else ()
    stated = variants_of(study)
    variants = union(stated, map(Variant.of, every))
    traffic = union(loads, (cell.served for cell in cells if cell.is_server))
    along: dict[str, tuple[Label, ...]] = {
        "model": union(study.models, (cell.model for cell in every)),
        "variant": tuple(variant.label for variant in variants),
        # The batch size of a capacity is an answer, not a factor.
        "batch_size": union(sizes, (c.batch_size for c in cells if not c.is_server)),
    }
    if traffic:
        along["traffic"] = tuple(map(traffic_label, traffic))
    names = dict.fromkeys(key.partition(".")[2] for key in study.settings)
    set_on = {name for variant in variants for name, _ in variant.settings}
    design = {
        dim: len(dict.fromkeys(some))
        for dim, some in (
            ("model", study.models),
            ("variant", stated),
            ("batch_size", sizes),
            ("traffic", loads),
        )
    }
    return Labels(along, variants, traffic, setting_names(union(names, set_on)), design)
