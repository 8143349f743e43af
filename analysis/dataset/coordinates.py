"""The dataset's labels: the full grid of the design, and what is known of models and backends."""

import re
from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from math import prod
from typing import TypeAlias, TypeVar

from greenbatch.analysis.dataset.device_conditions import sensors_of
from greenbatch.analysis.dataset.run_files import RunFiles
from greenbatch.analysis.dataset.variables import (
    CELL_FACTORS,
    COORDINATES,
    ONE_OFF_PHASES,
    QUANTILES,
    VARIABLES,
)
from greenbatch.design.recorded import RecordedArtifact, RecordedDesign, RecordedStudy
from greenbatch.errors import RunError, StudyError, UnknownNameError
from greenbatch.queueing.policies import parse_policy
from greenbatch.records import PRECISIONS, TRAFFIC, Cell, EnergyFigure, Phase, artifact_key

PHASES = ("start", "load", "first", "warm_up", "window", "wall")
MEMORIES = ("host", "device", "children")
NOT_SET = "default"
NO_TRAFFIC = "none"
"""The label of an offline cell along the dimensions of a server's traffic."""
MOST_PLACES = 3_000_000
"""Places in the grid of repetitions; a dataset needs about a kilobyte for each."""
MOST_VALUES = 500_000_000
"""Of all variables of a dataset together: 4 GB."""
_APART = "measure the settings of each backend in a run of its own"


Label: TypeAlias = str | int | float
_Label = TypeVar("_Label", str, int, Label)


@dataclass(frozen=True)
class Labels:
    """The labels along each dimension, in the study's order, and the positions they stand at.

    Attributes:
        along: Labels by dimension.
        settings: What is set, by its dimension, in the order of the dimensions; what makes up a
            server's traffic comes last.
        not_set: The label of cells in which that is not set, by dimension; only where there are
            such cells.
        variants: What the design sets on each backend: a list of texts for each setting.
        loads: The design's scenarios: their (largest) batch size and the texts of their traffic.
    """

    along: Mapping[str, tuple[Label, ...]]
    settings: Mapping[str, str]
    not_set: Mapping[str, str]
    variants: Mapping[str, Sequence[Sequence[str]]]
    loads: Sequence[tuple[str, int, Sequence[str]]]

    @cached_property
    def _places(self) -> dict[str, dict[Hashable, int]]:
        return {
            dim: {label: place for place, label in enumerate(values)}
            for dim, values in self.along.items()
        }

    def texts(self, dim: str) -> tuple[str, ...]:
        """The labels of a dimension whose labels are texts."""
        return tuple(map(str, self.along[dim]))

    def place(self, dim: str, label: Hashable) -> int:
        """Position of ``label`` along ``dim``."""
        return self._places[dim][label]

    def cell(self, cell: Cell) -> tuple[int, ...]:
        """Index of a cell along its dimensions."""
        factors = tuple(self.place(dim, getattr(cell, dim)) for dim in CELL_FACTORS)
        return factors + self.settings_of(cell)

    def settings_of(self, cell: Cell) -> tuple[int, ...]:
        """Index of what was set for a cell along the dimensions of the settings."""
        texts = dict((*cell.settings, *cell.traffic))
        return tuple(
            self.place(dim, texts[name] if name in texts else self.not_set[dim])
            for dim, name in self.settings.items()
        )

    def designed(self) -> Iterable[tuple[int, int, int, tuple[int, ...]]]:
        """List positions of backend, scenario, batch size and settings that go together."""
        for backend, texts in self.variants.items():
            for scenario, size, traffic in self.loads:
                choices = zip(self.settings, (*texts, *([t] for t in traffic)), strict=True)
                for spot in product(*([self.place(d, text) for text in ts] for d, ts in choices)):
                    yield (
                        self.place("backend", backend),
                        self.place("scenario", scenario),
                        self.place("batch_size", size),
                        spot,
                    )


def union(designed: Iterable[_Label], found: Iterable[_Label]) -> tuple[_Label, ...]:
    """Join the design's labels in its order and what only the journal has, sorted."""
    known = tuple(dict.fromkeys(designed))
    return known + tuple(sorted(set(found) - set(known)))


def labels(files: RunFiles) -> Labels:
    """Lay out the full grid of the design; what was not run stays a hole in it, not an absence.

    Raises:
        RunError: The grid is too large, for all the settings that do not go together.
    """
    study, journal = files.study, files.journal
    assert isinstance(study, RecordedStudy)  # whoever compiles has looked at the kind
    repetitions = journal.repetitions
    cells = {r.cell for r in repetitions}
    found = _designed(study, cells, {capacity.cell for capacity in journal.capacities})
    along = dict(found.along)
    blocks = max([study.repetitions or 0, *(r.block + 1 for r in repetitions)])
    along["repetition"] = numbered(files, blocks, "repetitions")
    require_labels(files, along)
    if (places := prod(map(len, along.values()))) > MOST_PLACES:
        raise RunError(
            f"the grid of {files.path} has {places:,} places for {len(repetitions):,} "
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
    settings = [*found.settings]
    check_values(files, along, (variable.along(settings) for variable in VARIABLES.values()))
    return replace(found, along=along)


def require_room(study: RecordedStudy) -> None:
    """Refuse a design whose dataset could not be laid out, before it is measured.

    Raises:
        StudyError: The settings of its backends, multiplied, have too many places.
    """
    along = _designed(study, set(), set()).along
    repetitions = max(study.repetitions or 0, 1)
    if (places := prod(map(len, along.values())) * repetitions) > MOST_PLACES:
        raise StudyError(
            f"the dataset of this design would have {places:,} places, as the settings of all "
            f"backends multiply, and at most {MOST_PLACES:,} can be laid out; {_APART}"
        )


def _designed(study: RecordedStudy, cells: Collection[Cell], probed: Collection[Cell]) -> Labels:
    """Return the labels of a design along the dimensions of its cells, and those of the journal.

    Args:
        study: The design.
        cells: That were measured.
        probed: Whose capacity was.
    """
    every = {*cells, *probed}
    designed: dict[str, Sequence[Label]] = {
        "model": study.models,
        "backend": study.backends,
        "precision": study.precisions,
        "io": study.io,
        "scenario": study.scenarios,
        "batch_size": study.batch_sizes,
    }
    along: dict[str, tuple[Label, ...]] = {
        dim: union(labels, (getattr(cell, dim) for cell in every))
        for dim, labels in designed.items()
    }
    scenarios, backends = (tuple(map(str, along[dim])) for dim in ("scenario", "backend"))
    traffic = _traffic(study, scenarios, cells)
    loads = _loads(study, scenarios, traffic)
    # The batch size of a capacity is an answer, not a factor.
    sizes = union((size for _, size, _ in loads), (cell.batch_size for cell in cells))
    along["batch_size"] = sizes
    texts, not_set, variants = _settings(study, backends, every)
    texts |= traffic
    not_set |= {name: NO_TRAFFIC for name in traffic if NO_TRAFFIC in traffic[name]}
    settings = setting_dims(texts)
    along |= {dim: texts[name] for dim, name in settings.items()}
    return Labels(
        along,
        settings,
        {dim: not_set[name] for dim, name in settings.items() if name in not_set},
        variants,
        loads,
    )


def _traffic(
    study: RecordedStudy, scenarios: Sequence[str], cells: Iterable[Cell]
) -> dict[str, tuple[str, ...]]:
    """Return the texts of a server's traffic; empty in a study without one."""
    if "server" not in scenarios:
        return {}
    rates = [f"{rate:g}" for rate in study.rates]
    designed = {
        "arrivals": study.arrivals,
        "policy": study.policies,
        "rate": rates or ["recorded"],
    }
    nothing = (NO_TRAFFIC,) if set(scenarios) != {"server"} else ()
    return {
        name: union(designed[name], (dict(c.traffic)[name] for c in cells if c.is_server)) + nothing
        for name in TRAFFIC
    }


def _loads(
    study: RecordedStudy, scenarios: Sequence[str], traffic: Mapping[str, Sequence[str]]
) -> list[tuple[str, int, tuple[str, ...]]]:
    """Return the design's scenarios with their batch sizes and traffic."""
    loads: list[tuple[str, int, tuple[str, ...]]] = []
    for scenario in scenarios:
        if scenario == "offline":
            nothing = (NO_TRAFFIC,) * len(traffic)
            loads += [(scenario, size, nothing) for size in study.batch_sizes]
            continue
        texts = [[text for text in traffic[name] if text != NO_TRAFFIC] for name in TRAFFIC]
        if prod(map(len, texts)) > MOST_PLACES:
            raise RunError(
                f"the study has {prod(map(len, texts)):,} combinations of arrivals, policies and "
                f"rates, and at most {MOST_PLACES:,} can be laid out; restore its study.yaml"
            )
        for arrivals, policy, rate in product(*texts):
            loads.append((scenario, parse_policy(policy).largest, (arrivals, policy, rate)))
    return loads


def setting_dims(
    names: Iterable[str], taken: Collection[str] = (*VARIABLES, *COORDINATES)
) -> dict[str, str]:
    """Name a dimension for each setting: an identifier that nothing else in a dataset has.

    >>> setting_dims(["intra_op.allow_spinning", "device"])
    {'intra_op_allow_spinning': 'intra_op.allow_spinning', 'setting_device': 'device'}
    """
    dims: dict[str, str] = {}
    for name in names:
        dim = re.sub(r"\W", "_", name)
        while dim in dims or dim in taken:
            dim = f"setting_{dim}"
        dims[dim] = name
    return dims


def _settings(
    study: RecordedDesign, backends: Sequence[str], cells: Iterable[Cell]
) -> tuple[dict[str, tuple[str, ...]], dict[str, str], dict[str, list[tuple[str, ...]]]]:
    """Gather the texts of each setting, the label of 'not set' where it is needed, the variants."""
    designed: dict[str, dict[str, list[str]]] = {}  # by name, then by backend
    for key, values in study.settings.items():
        backend, _, name = key.partition(".")
        designed.setdefault(name, {})[backend] = [str(value) for value in values]
    found: dict[str, set[str]] = {}
    for cell in cells:
        for name, text in cell.settings:
            found.setdefault(name, set()).add(text)
    texts, not_set = {}, {}
    for name in union(designed, found):
        by_backend = designed.get(name, {})
        stated = (text for backend in by_backend for text in by_backend[backend])
        texts[name] = union(stated, found.get(name, ()))
        lacking = any(backend not in by_backend for backend in backends)
        if lacking or any(name not in dict(cell.settings) for cell in cells):
            label = NOT_SET
            while label in texts[name]:  # somebody set it to this very word
                label = f"not {label}"
            not_set[name] = label
            texts[name] = (*texts[name], label)
    variants = {
        backend: [
            tuple(designed.get(name, {}).get(backend, ())) or (not_set[name],) for name in texts
        ]
        for backend in backends
    }
    return texts, not_set, variants


def numbered(files: RunFiles, count: int, what: str) -> tuple[int, ...]:
    """Return the labels of a numbered dimension.

    Raises:
        RunError: They are more than any run has.
    """
    if not 0 <= count <= MOST_PLACES:
        raise RunError(
            f"{files.path} states {count:,} {what}, and at most {MOST_PLACES:,} can be laid out; "
            "restore its study.yaml and journal.jsonl as 'gb bench' wrote them"
        )
    return tuple(range(count))


def check_values(
    files: RunFiles, along: Mapping[str, Sequence[Label]], dims: Iterable[Sequence[str]]
) -> None:
    """Check the size of a dataset before anything is allocated for it.

    Args:
        files: The run.
        along: Labels by dimension.
        dims: The dimensions of each variable.

    Raises:
        RunError: It is too large.
    """
    values = sum(prod(len(along[dim]) for dim in each) for each in dims)
    if values > MOST_VALUES:
        raise RunError(
            f"the dataset of {files.path} would have {values:,} values, and at most "
            f"{MOST_VALUES:,} can be laid out; measure its factors in several runs"
        )


def require_labels(files: RunFiles, along: Mapping[str, Sequence[Label]]) -> None:
    """Check that each dimension of a grid has a label.

    Raises:
        RunError: One has none: neither the study nor the journal names any.
    """
    if missing := next((dim for dim, labels in along.items() if not labels), None):
        raise RunError(
            f"{files.path} has no {missing}: its study.yaml and its journal name none; restore "
            "both files as 'gb' wrote them"
        )


def domains(files: RunFiles, idle: Iterable[str]) -> tuple[str, ...]:
    """List the domains that records speak of, in the order of the meters.

    A domain that the machine has but no record speaks of would make every sum incomplete.

    Args:
        idle: Domains whose idle power is recorded.
    """
    metered = [domain.name for _, domain in files.environment.domains]
    seen = {figure.domain for figure in energy_figures(files)} | set(idle)
    return union((name for name in metered if name in seen), seen)


def energy_figures(files: RunFiles) -> Iterable[EnergyFigure]:
    """List all energies of a journal: of windows and of starts, of trainings and their epochs."""
    journal = files.journal
    for repetition in journal.repetitions:
        yield from repetition.energy
        for start in repetition.one_off.values():
            yield from start.energy
    phases: list[Phase | None] = [heartbeat.lost for heartbeat in journal.beats]
    for training in journal.trainings:
        phases += (training.whole, training.lost)
    for epoch in journal.epochs:
        phases += (epoch.train, epoch.validation, epoch.checkpoint)
    for phase in phases:
        if phase is not None:
            yield from phase.energy


def counting(files: RunFiles, domains: Iterable[str]) -> list[int]:
    """Whether each domain adds to the total: 1 or 0.

    The records decide; a domain of which only idle power is known is looked up in the
    environment, and counts nowhere that is not said there.
    """
    stated = {domain.name: domain.counts for _, domain in files.environment.domains}
    recorded: dict[str, bool] = {}
    for figure in energy_figures(files):
        recorded[figure.domain] = recorded.get(figure.domain, False) or figure.counts
    return [int(recorded.get(name, stated.get(name, False))) for name in domains]


def backend_facts(files: RunFiles, backends: Iterable[str]) -> dict[str, list[str]]:
    """Runtime, provider and device of each backend; empty text where the run does not report it."""
    known = files.environment.backends
    facts = [known.get(backend) or {} for backend in backends]
    return {
        name: [fact.get(name) or "" for fact in facts] for name in ("runtime", "provider", "device")
    }


def model_facts(files: RunFiles, models: Iterable[str]) -> dict[str, list[float | str]]:
    """Published facts of each model and the weights that were measured.

    A model that the registry does not know (a user's own) has missing facts.
    """
    names = list(models)
    facts: dict[str, list[float | str]] = {
        key: [_published(name, key) for name in names]
        for key in ("year", "top1", "parameters", "flops")
    }
    weights = [_artifact(files.study, name).weights for name in names]
    facts["weights"] = [entry.get("kind") or "unknown" for entry in weights]
    facts["weights_detail"] = [entry.get("detail") or "" for entry in weights]
    return facts


def _artifact(study: RecordedDesign, model: str) -> RecordedArtifact:
    """Return a model's artifact; of several precisions any, as they share the weights."""
    keys = [artifact_key(model, precision) for precision in PRECISIONS]
    return study.artifact(next((key for key in keys if study.artifacts.get(key)), model))


def _published(model: str, fact: str) -> float:
    from greenbatch.models.registry import find

    try:
        value = getattr(find(model), fact)
    except UnknownNameError:
        return float("nan")
    return float("nan") if value is None else float(value)
