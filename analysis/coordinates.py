"""The dataset's labels: the full grid of the design, and what is known of models and backends."""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from greenbatch.analysis.run_files import RunFiles
from greenbatch.analysis.variables import CELL_DIMS, QUANTILES
from greenbatch.errors import UnknownNameError
from greenbatch.records import PRECISIONS, Repetition

_STUDY_KEYS = {
    "model": "models",
    "backend": "backends",
    "precision": "precisions",
    "io": "io",
    "scenario": "scenarios",
    "batch_size": "batch_sizes",
}
PHASES = ("start", "load", "first", "warm_up", "window", "wall")
MEMORIES = ("host", "device")


@dataclass(frozen=True)
class Labels:
    """The labels along each dimension, in the study's order, and the positions they stand at."""

    along: Mapping[str, tuple[Any, ...]]

    def place(self, dim: str, label: Hashable) -> int:
        """Position of ``label`` along ``dim``."""
        return self.along[dim].index(label)

    def cell(self, repetition: Repetition) -> tuple[int, ...]:
        """Index of a repetition along the cell's dimensions and ``repetition``."""
        cell = repetition.cell
        factors = (self.place(dim, getattr(cell, dim)) for dim in CELL_DIMS)
        return (*factors, self.place("repetition", repetition.block))


def _union(designed: Iterable[Any], found: Iterable[Any]) -> tuple[Any, ...]:
    """The design's labels in its order, then what only the journal has, sorted."""
    known = tuple(dict.fromkeys(designed))
    return known + tuple(sorted(set(found) - set(known)))


def labels(files: RunFiles) -> Labels:
    """Lay out the full grid of the design; what was not run stays a hole in it, not an absence."""
    study, journal = files.study, files.journal
    repetitions = journal.repetitions
    along: dict[str, tuple[Any, ...]] = {}
    for dim, key in _STUDY_KEYS.items():
        along[dim] = _union(study.get(key) or (), (getattr(r.cell, dim) for r in repetitions))
    blocks = max([int(study.get("repetitions") or 0), *(r.block + 1 for r in repetitions)])
    along["repetition"] = tuple(range(blocks))
    metered = [
        str(domain["name"])
        for meter in files.environment.get("meters") or ()
        for domain in meter.get("domains") or ()
        if "name" in domain
    ]
    seen = {figure.domain for r in repetitions for figure in r.energy}
    seen |= {figure.domain for idle in journal.idles for figure in idle.figures}
    # A domain that the machine has but no record speaks of would make every sum incomplete.
    along["domain"] = _union((name for name in metered if name in seen), seen)
    along["quantile"] = QUANTILES
    along["memory"] = MEMORIES
    along["phase"] = _union(PHASES, (phase for r in repetitions for phase in r.phases_s))
    along["sensor"] = _union((), (s for r in repetitions for s in r.conditions.temperature_c))
    along["clock_domain"] = _union((), (c for r in repetitions for c in r.conditions.clock_hz))
    return Labels(along)


def counting(files: RunFiles, domains: Iterable[str]) -> list[int]:
    """Whether each domain adds to the total: 1 or 0.

    The records decide; a domain of which only idle power is known is looked up in the
    environment.
    """
    stated: dict[str, bool] = {
        str(domain.get("name")): bool(domain.get("counts", True))
        for meter in files.environment.get("meters") or ()
        for domain in meter.get("domains") or ()
    }
    recorded: dict[str, bool] = {}
    for repetition in files.journal.repetitions:
        for figure in repetition.energy:
            recorded[figure.domain] = recorded.get(figure.domain, False) or figure.counts
    return [int(recorded.get(name, stated.get(name, True))) for name in domains]


def backend_facts(files: RunFiles, backends: Iterable[str]) -> dict[str, list[str]]:
    """Runtime, provider and device of each backend; empty text where the run does not tell."""
    known = files.environment.get("backends") or {}
    facts = [known.get(backend) or {} for backend in backends]
    return {
        name: [str(fact.get(name) or "") for fact in facts]
        for name in ("runtime", "provider", "device")
    }


def model_facts(files: RunFiles, models: Iterable[str]) -> dict[str, list[Any]]:
    """Published facts of each model and the weights that were measured.

    A model that the registry does not know (a user's own) has missing facts.
    """
    names = list(models)
    facts: dict[str, list[Any]] = {
        key: [_published(name, key) for name in names]
        for key in ("year", "top1", "parameters", "flops")
    }
    artifacts = files.study.get("artifacts") or {}
    weights = [_artifact(artifacts, name).get("weights") or {} for name in names]
    facts["weights"] = [str(entry.get("kind") or "unknown") for entry in weights]
    facts["weights_detail"] = [str(entry.get("detail") or "") for entry in weights]
    return facts


def _artifact(artifacts: Mapping[str, Any], model: str) -> Mapping[str, Any]:
    """Return a model's artifact; of several precisions any, as they share the weights."""
    keys = (model, *(f"{model}-{precision}" for precision in PRECISIONS))
    return next((artifacts[key] for key in keys if artifacts.get(key)), {})


def _published(model: str, fact: str) -> float:
    from greenbatch.models.registry import find

    try:
        value = getattr(find(model), fact)
    except UnknownNameError:
        return float("nan")
    return float("nan") if value is None else float(value)
