"""What a reader must know before believing a figure of a training run."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from greenbatch import units
from greenbatch.analysis.dataset.described import environment_of, training_study_of
from greenbatch.analysis.dataset.energy_basis import models_of_estimates
from greenbatch.analysis.dataset.variables import SOURCES
from greenbatch.analysis.findings.caveat import Caveat, Severity
from greenbatch.analysis.findings.caveats import contents_caveats, process_caveats
from greenbatch.analysis.findings.repetition_caveats import few_repetitions
from greenbatch.analysis.training.findings.guessing import Guessing, guessing_networks
from greenbatch.analysis.training.findings.rows import TrainingRow
from greenbatch.design.environment import Environment
from greenbatch.design.recorded import RecordedTrainingStudy
from greenbatch.records.provenance import Provenance, combine

if TYPE_CHECKING:
    import xarray as xr

_FLAG_MEANINGS = {
    "unsteady": "the time of a step had not settled when the first epoch began",
    "throttled": "the device lowered its clocks",
    "power_capped": "the power limit held the clocks down, as is usual at full load",
    "disturbed": "other work took part of the machine",
    "meter_disagrees": "two ways of metering the same device differ",
}
_NAMED = 8  # failures listed one by one


def training_caveats(dataset: "xr.Dataset", rows: Sequence[TrainingRow]) -> list[Caveat]:
    """List the caveats of a training run, the gravest first.

    Args:
        dataset: As `greenbatch.analysis.training.open_training` gives it.
        rows: Its cells or trials.
    """
    study, environment = training_study_of(dataset), environment_of(dataset)
    found = [
        *_guessing(rows),
        *_energy(dataset, rows, environment),
        *contents_caveats(dataset),
        *_design(study, rows),
        *_failures(rows),
        *_losses(rows),
        *_early(rows),
        *_flags(rows),
        *_selection(rows),
        *_absent(environment),
        *process_caveats(environment),
    ]
    if torn := dataset.attrs.get("journal_torn"):
        found.append(Caveat("journal-torn", Severity.NOTE, f"{torn}."))
    order = list(Severity)
    return sorted(found, key=lambda caveat: order.index(caveat.severity))


def _energy(
    dataset: "xr.Dataset", rows: Sequence[TrainingRow], environment: Environment
) -> Iterator[Caveat]:
    found = combine(row.energy_source for row in rows if row.ok)
    ok = sum(row.ok for row in rows)
    with_energy = sum(len(row.series["image"]) for row in rows)
    if found is Provenance.ESTIMATED:
        yield Caveat(
            "energy-estimated",
            Severity.SERIOUS,
            "Energy is estimated from CPU time by a stated model, not measured: every ratio of "
            "energies here is a ratio of CPU times in disguise.",
        )
    elif found is Provenance.MIXED:
        yield Caveat(
            "energy-mixed",
            Severity.SERIOUS,
            "Energy is measured in part and estimated in part; figures that rest on an estimate "
            "are marked, and the two are not compared.",
        )
    elif found is Provenance.MISSING and ok:
        why = _why(dataset)
        yield Caveat(
            "energy-missing",
            Severity.SERIOUS,
            f"There is no energy in this run{why}; time and correctness were measured.",
        )
    if found is not Provenance.MISSING and with_energy < ok:
        count = ok - with_energy
        yield Caveat(
            "energy-incomplete",
            Severity.CAUTION,
            f"{units.are(count, 'training')} without energy{_why(dataset)}; no partial sum is "
            "given.",
        )
    for model in models_of_estimates(dataset)[:3]:
        yield Caveat("energy-model", Severity.NOTE, f"The model of the estimate: {model}.")


def _guessing(rows: Sequence[TrainingRow]) -> Iterator[Caveat]:
    by_data: dict[str, list[Guessing]] = {}
    for each in guessing_networks(rows):
        by_data.setdefault(each.data, []).append(each)
    for data, found in by_data.items():
        best, bound = max(one.best for one in found), max(one.bound for one in found)
        yield Caveat(
            "guessing",
            Severity.SERIOUS,
            f"No training of {', '.join(one.model for one in found)} on {data} was shown to be "
            f"better than guessing one of {found[0].classes} classes: the best accuracy is "
            f"{100 * best:.1f} %, and so many epochs of guessing reach up to {100 * bound:.1f} %. "
            "Their differences in accuracy may be chance; train longer, or with other "
            "hyperparameters.",
        )


def _why(dataset: "xr.Dataset") -> str:
    if "energy_reason" not in dataset:
        return ""
    missing = (dataset["energy_source"] == SOURCES.index("missing")).values
    reasons = dict.fromkeys(str(text) for text in dataset["energy_reason"].values[missing] if text)
    return f" ({'; '.join(list(reasons)[:3]).rstrip('.')})" if reasons else ""


def _design(study: RecordedTrainingStudy, rows: Sequence[TrainingRow]) -> Iterator[Caveat]:
    scale = study.scale
    if scale < 1:
        yield Caveat(
            "scaled",
            Severity.CAUTION,
            f"This is a shortened run, {scale:g} of the study's epochs, images, trials, "
            "repetitions and times: it shows that the study runs here, and its figures do not "
            "repeat those of the full study.",
        )
    noun = "trial" if study.search else "cell"
    yield from few_repetitions(rows[0].planned if rows else 0, [row.ok for row in rows], noun)
    if not_run := sum(row.statuses.get("not_run", 0) for row in rows):
        total = sum(row.planned for row in rows)
        yield Caveat(
            "incomplete",
            Severity.CAUTION,
            f"The run is incomplete: {not_run} of {units.count(total, 'training')} did not end.",
        )
    if replaced := study.substitutions:
        pairs = "; ".join(f"{name} by {other}" for name, other in replaced.items())
        yield Caveat(
            "substituted",
            Severity.CAUTION,
            f"Networks of the study that is repeated are replaced: {pairs}.",
        )


def _failures(rows: Sequence[TrainingRow]) -> Iterator[Caveat]:
    """Say why trainings failed; cells that failed alike share a sentence."""
    alike: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        failed = {s: n for s, n in row.statuses.items() if s not in ("ok", "not_run")}
        if failed:
            how = ", ".join(f"{name} {count}×" for name, count in failed.items())
            why = "; ".join(reason.rstrip(".") for reason in row.failures)
            alike.setdefault((how, why), []).append(f"{row.label} on {row.cell.data}")
    for (how, why), cells in list(alike.items())[:_NAMED]:
        more = f" and {len(cells) - 3} more" if len(cells) > 3 else ""
        each = ", each" if len(cells) > 1 else ""
        which = "; ".join(cells[:3]) + more
        yield Caveat("failed", Severity.CAUTION, f"Failed: {which} ({how}{each}): {why}.")
    if len(alike) > _NAMED:
        more = units.are(len(alike) - _NAMED, "more kind of failure", "more kinds of failure")
        yield Caveat("failed-more", Severity.CAUTION, f"{more} in journal.jsonl.")


def _losses(rows: Sequence[TrainingRow]) -> Iterator[Caveat]:
    losing = [row for row in rows if row.lost_s]
    if not losing:
        return
    seconds = sum(row.lost_s or 0.0 for row in losing)
    known = all(row.lost_j is not None for row in losing)
    energy = units.si(sum(row.lost_j or 0.0 for row in losing), "J") + " and " if known else ""
    yield Caveat(
        "lost",
        Severity.NOTE,
        f"Trainings that were interrupted or failed lost {energy}{units.si(seconds, 's')} behind "
        "their last checkpoint, at the least; that is in no energy of a finished training.",
    )


def _early(rows: Sequence[TrainingRow]) -> Iterator[Caveat]:
    early = sum(row.stopped_early for row in rows)
    counts = {round(count) for row in rows for count in row.series["epochs"].values()}
    if early and len(counts) > 1:
        yield Caveat(
            "stopped-early",
            Severity.NOTE,
            f"Patience ended {units.count(early, 'training')} early; trainings took {min(counts)} "
            f"to {max(counts)} epochs. Energy of a training depends on where it stopped, energy "
            "per image seen does not.",
        )


def _flags(rows: Sequence[TrainingRow]) -> Iterator[Caveat]:
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update(row.flags)
    for name, count in counts.items():
        word, meaning = name.replace("_", " "), _FLAG_MEANINGS.get(name, name)
        yield Caveat(
            f"flag-{name.replace('_', '-')}",
            Severity.NOTE if name == "power_capped" else Severity.CAUTION,
            f"{units.are(count, 'training')} flagged as {word} ({meaning}); included.",
        )


def _selection(rows: Sequence[TrainingRow]) -> Iterator[Caveat]:
    if any(row.ok for row in rows):
        yield Caveat(
            "validation",
            Severity.NOTE,
            "The best accuracy is the best of all epochs on the validation images, which also "
            "chose the epoch: images that were never looked at would give a little less.",
        )


def _absent(environment: Environment) -> Iterator[Caveat]:
    for meter, reason in environment.meters_absent.items():
        unused = f"The meter {meter} was not used: {str(reason).rstrip('.')}."
        yield Caveat(f"no-{meter}", Severity.NOTE, unused)
