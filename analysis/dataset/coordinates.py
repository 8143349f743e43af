"""What is known of a dataset's models, backends and domains, and how large it may be."""

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import TypeAlias, TypeVar

from greenbatch.analysis.dataset.run_files import RunFiles
from greenbatch.analysis.dataset.variants import MOST_PLACES
from greenbatch.design.recorded import RecordedArtifact, RecordedDesign
from greenbatch.errors import RunError, UnknownNameError
from greenbatch.records import PRECISIONS, EnergyFigure, Phase, artifact_key

NOT_SET = "default"
"""The label of what is not set on the backends of a training."""
MOST_VALUES = 500_000_000
"""Of all variables of a dataset together: 4 GB."""

Label: TypeAlias = str | int | float
_Label = TypeVar("_Label", bound=Hashable)


def union(designed: Iterable[_Label], found: Iterable[_Label]) -> tuple[_Label, ...]:
    """Join the design's labels in its order and what only the journal has, sorted."""
    known = tuple(dict.fromkeys(designed))
    return known + tuple(sorted(set(found) - set(known)))  # type: ignore[type-var]


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
    values = sum(math.prod(len(along[dim]) for dim in each) for each in dims)
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
    """Facts of each model and the weights that were measured.

    Parameters and multiply-adds are published for a model of the registry, and counted in the
    artifact for others (a user's own); what is neither is missing.
    """
    names = list(models)
    artifacts = [_artifact(files.study, name) for name in names]
    facts: dict[str, list[float | str]] = {
        "year": [_published(name, "year") for name in names],
        "top1": [_published(name, "top1") for name in names],
        "parameters": [
            _either(_published(name, "parameters"), artifact.parameters)
            for name, artifact in zip(names, artifacts, strict=True)
        ],
        "flops": [
            _either(_published(name, "flops"), artifact.multiply_adds)
            for name, artifact in zip(names, artifacts, strict=True)
        ],
    }
    weights = [artifact.weights for artifact in artifacts]
    facts["weights"] = [entry.get("kind") or "unknown" for entry in weights]
    facts["weights_detail"] = [entry.get("detail") or "" for entry in weights]
    return facts


def _artifact(study: RecordedDesign, model: str) -> RecordedArtifact:
    """Return a model's artifact; of several precisions any, as they share the weights."""
    keys = [artifact_key(model, precision) for precision in PRECISIONS]
    return study.artifact(next((key for key in keys if study.artifacts.get(key)), model))


def _either(published: float, counted: int | None) -> float:
    if not math.isnan(published):
        return published
    return float(counted) if counted else float("nan")


def _published(model: str, fact: str) -> float:
    from greenbatch.models.registry import find

    try:
        value = getattr(find(model), fact)
    except UnknownNameError:
        return float("nan")
    return float("nan") if value is None else float(value)
