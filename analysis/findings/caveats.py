"""What a reader must know before believing a figure: judgements as data, shown elsewhere."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from greenbatch import units
from greenbatch.analysis.dataset.counted import counted_domains
from greenbatch.analysis.dataset.dataset_files import EDITED, NOTE
from greenbatch.analysis.dataset.described import environment_of, study_of
from greenbatch.analysis.dataset.energy_basis import models_of_estimates
from greenbatch.analysis.dataset.groups import groups_of, values_of
from greenbatch.analysis.dataset.variables import SOURCES, STATUSES, STOPS
from greenbatch.analysis.findings.cells import CellRow, cell_rows
from greenbatch.analysis.findings.fairness import Fairness, Kind, mismatches
from greenbatch.analysis.findings.plausibility import EnergyWorth
from greenbatch.analysis.statistics.intervals import LEAST
from greenbatch.design.environment import Environment
from greenbatch.design.images import ImageSet
from greenbatch.design.recorded import RecordedImages, RecordedStudy
from greenbatch.records import Cell, Provenance
from greenbatch.records.energy import TDP_HINT, TDP_OPTION

if TYPE_CHECKING:
    import xarray as xr

_MODELS = 3  # of estimates, a caveat for each
_NAMED = 5  # broken files in a sentence
STANDARD_WINDOW_S = 2.0
"""DESIGN, section 3.4: shorter windows are for a first look."""

_FLAG_MEANINGS = {
    "unsteady": "latencies had not settled when measuring began",
    "throttled": "the device lowered its clocks",
    "power_capped": "the power limit held the clocks down, as is usual at full load",
    "disturbed": "other work took part of the machine",
    "meter_disagrees": "two ways of metering the same device differ",
    "fallback": "part of the graph ran on another provider than the requested one",
    "overloaded": "the server did not sustain the rate, and its response times grow with the "
    "window",
    "late": "requests were handed over later than planned",
}


class Severity(StrEnum):
    """How far a caveat reaches."""

    SERIOUS = "serious"
    """The figures do not mean what a reader would take them to mean."""
    CAUTION = "caution"
    """Some figures, or their certainty, are affected."""
    NOTE = "note"
    """Worth knowing; no figure is affected."""


_FLAG_SEVERITIES = {"fallback": Severity.SERIOUS, "power_capped": Severity.NOTE}


@dataclass(frozen=True, slots=True)
class Caveat:
    """One judgement: a stable code, how far it reaches, and a plain sentence."""

    code: str
    severity: Severity
    sentence: str


ALONE = Caveat(
    "dataset-alone",
    Severity.CAUTION,
    "This report is of a dataset file alone. The effective settings of each backend, where its "
    "graph ran and the power traces are in the folder of the run, which is not here: whether the "
    "backends had the same settings is not known.",
)


def caveats(
    dataset: "xr.Dataset",
    rows: Sequence[CellRow] | None = None,
    in_force: Fairness | None = None,
    worths: Sequence[EnergyWorth] = (),
    *,
    alone: bool = False,
    more: Iterable[Caveat] = (),
) -> list[Caveat]:
    """List the caveats of a run, the gravest first.

    Args:
        dataset: As `greenbatch.analysis.open_run` gives it.
        rows: Its cells, where `cell_rows` gave them already.
        in_force: The effective settings, where there is a journal.
        worths: Its energy beside what is published.
        alone: Whether there is the dataset and no journal.
        more: That were found elsewhere.
    """
    rows = cell_rows(dataset) if rows is None else rows
    study, environment = study_of(dataset), environment_of(dataset)
    found = [
        *_energy(dataset, rows, environment),
        *_implausible(worths),
        *_weights(dataset),
        *image_caveats(study.images, max((row.cell.batch_size for row in rows), default=0)),
        *_preprocessing(dataset),
        *([ALONE] if alone else []),
        *contents_caveats(dataset),
        *_window(study, environment),
        *process_caveats(environment),
        *_settings(in_force or Fairness()),
        *(_budget(rows, study) if study.budget else _repetitions(rows)),
        *_repeats(dataset, study),
        *_weak_agreement(rows),
        *_flags(rows),
        *more,
        *_journal(dataset),
    ]
    order = list(Severity)
    return sorted(found, key=lambda caveat: order.index(caveat.severity))


def _weak_agreement(rows: Sequence[CellRow]) -> Iterator[Caveat]:
    """Say where agreement with the reference proves little."""
    found = {row.cell.model: row.agreement_weak for row in rows if row.agreement_weak}
    for model, outputs in found.items():
        yield Caveat(
            "agreement-weak",
            Severity.NOTE,
            f"The output {outputs} of {model} is nearly 0 for these images and mostly rounding, so "
            "the agreement between runtimes proves little: give images of what it looks for with "
            "--images.",
        )


def contents_caveats(dataset: "xr.Dataset") -> Iterator[Caveat]:
    """Say that a dataset file was edited, or that nobody can know."""
    if note := dataset.attrs.get(NOTE):
        edited = EDITED in note
        yield Caveat(
            "dataset-edited" if edited else "dataset-unverified",
            Severity.SERIOUS if edited else Severity.CAUTION,
            f"{note}: only the journal in the run's directory shows what was measured.",
        )


def process_caveats(environment: Environment) -> Iterator[Caveat]:
    """Say where a driver could not list the processes on a GPU: others may have been there."""
    for gpu in environment.gpus:
        if not isinstance(gpu, str) and gpu.processes_unknown:
            yield Caveat(
                "processes-unknown",
                Severity.CAUTION,
                f"Whether other processes computed on {gpu.name or 'a GPU'} is not known: "
                f"{gpu.processes_unknown.rstrip('.')}.",
            )


def _energy(
    dataset: "xr.Dataset", rows: Sequence[CellRow], environment: Environment
) -> Iterator[Caveat]:
    provenance = Provenance(dataset.attrs["energy_provenance"])
    absent = environment.meters_absent
    if provenance is Provenance.ESTIMATED:
        yield Caveat(
            "energy-estimated",
            Severity.SERIOUS,
            "Energy is estimated from CPU time by a stated model, not measured: every ratio of "
            "energies here is a ratio of CPU times, and cannot show that one runtime "
            "draws more power than another while it computes.",
        )
    elif provenance is Provenance.MIXED:
        yield Caveat(
            "energy-mixed",
            Severity.SERIOUS,
            "Energy is measured in part and estimated in part; figures that rest on an estimate "
            "are marked, and a ratio is given only where both sides have the same domains, each "
            "measured or estimated as on the other side.",
        )
    elif provenance is Provenance.MISSING:
        why = _no_energy_reason(dataset)
        measured = bool((values_of(dataset, "status") == STATUSES.index("ok")).any())
        rest = "; latency and throughput were measured" if measured else ""
        yield Caveat(
            "energy-missing",
            Severity.SERIOUS,
            f"There is no energy per image in this run{why}{rest}.",
        )
    for model in models_of_estimates(dataset)[:_MODELS]:
        sentence = f"The model of the estimate: {model}.{_tdp_hint(dataset, model)}"
        yield Caveat("energy-model", Severity.NOTE, sentence)
    partial = sum(row.ok for row in rows) - sum(len(row.series["energy"].by_block) for row in rows)
    if provenance is not Provenance.MISSING and partial:
        yield Caveat(
            "energy-incomplete",
            Severity.CAUTION,
            f"{units.are(partial, 'repetition')} without energy per image, because the figure of "
            "a domain that counts is missing; no partial sum is given.",
        )
    yield from _not_added(environment)
    for meter, reason in absent.items():
        yield Caveat(
            f"no-{meter}",
            Severity.NOTE,
            f"The meter {meter} was not used: {str(reason).rstrip('.')}.",
        )


def _tdp_hint(dataset: "xr.Dataset", model: str) -> str:
    """Say what makes an estimate better whose error is more than the energy."""
    if TDP_OPTION in model or not bool((dataset["energy_uncertainty"] > dataset["energy"]).any()):
        return ""
    return f" Its error is above 100 %: {TDP_HINT}."


def _implausible(worths: Sequence[EnergyWorth]) -> Iterator[Caveat]:
    """Doubt an energy that is far from what is published, or from what the device can do."""
    for worth in worths:
        if worth.doubt:
            yield Caveat("implausible", Severity.SERIOUS, worth.doubt)


def _not_added(environment: Environment) -> Iterator[Caveat]:
    """Say which domains are left out of the totals for a reason of their own, and sockets in."""
    for _, domain in environment.domains:
        if domain.note and not domain.counts:
            sentence = f"{domain.name} is not added: {domain.note.rstrip('.')}."
            yield Caveat("domain-not-added", Severity.NOTE, sentence)
    sockets = environment.machine_members.get("sockets")
    used = environment.machine_members.get("sockets_used")
    if isinstance(sockets, int) and isinstance(used, list) and 0 < len(used) < sockets:
        yield Caveat(
            "sockets-unused",
            Severity.NOTE,
            f"The cores of the run lie on socket {', '.join(map(str, used))} of {sockets}; the "
            "energy of every socket counts.",
        )


def _no_energy_reason(dataset: "xr.Dataset") -> str:
    import numpy as np

    reasons: dict[str, None] = {}
    for group in groups_of(dataset):
        texts, sources = group["energy_reason"], group["energy_source"]
        counted = counted_domains(group).broadcast_like(texts).transpose(*texts.dims).values
        lacking = counted & (sources.transpose(*texts.dims).values == SOURCES.index("missing"))
        reasons |= dict.fromkeys(str(text) for text in np.asarray(texts.values)[lacking] if text)
    return f" ({'; '.join(reasons).rstrip('.')})" if reasons else ""


def _weights(dataset: "xr.Dataset") -> Iterator[Caveat]:
    kinds = dict(zip(dataset["model"].values, dataset["weights"].values, strict=True))
    drawn = [str(model) for model, kind in kinds.items() if kind == "random"]
    if drawn:
        who = "all models" if len(drawn) == len(kinds) > 1 else ", ".join(drawn)
        yield Caveat(
            "weights-random",
            Severity.NOTE,
            f"The weights of {who} are random (seeded): the work per image is that of trained "
            "weights, the predictions mean nothing.",
        )


def image_caveats(images: ImageSet | RecordedImages | None, largest: int) -> Iterator[Caveat]:
    """Say what the folder of a study's images lacks.

    Args:
        images: Of the study; ``None``: synthetic ones.
        largest: Most images in a batch.
    """
    if not images:
        return
    folder, count, found, broken = images.folder, images.count, images.found, images.broken
    looked_at = count + len(broken)
    if broken:
        named = "; ".join(f"{name} ({reason})" for name, reason in list(broken.items())[:_NAMED])
        more = f"; and {len(broken) - _NAMED} more, see study.yaml" if len(broken) > _NAMED else ""
        which, were = units.count(len(broken), "file"), "was" if len(broken) == 1 else "were"
        yield Caveat(
            "images-broken",
            Severity.CAUTION,
            f"{which} of {looked_at} in {folder} could not be read and {were} left out: "
            f"{named}{more}.",
        )
    if folder.startswith("generated:"):
        yield Caveat(
            "images-generated",
            Severity.NOTE,
            f"The {units.count(count, 'image')} are made for the run, with the size of "
            "photographs and the same work to decode; what they show means nothing.",
        )
    elif count < largest:
        yield Caveat(
            "images-repeated",
            Severity.CAUTION,
            f"The folder {folder} gave {units.count(count, 'image')}, fewer than the largest "
            f"batch of {largest}: there they are repeated.",
        )
    if looked_at < found:
        yield Caveat(
            "images-chosen",
            Severity.NOTE,
            f"Of the {units.count(found, 'image')} in {folder}, {looked_at} were taken, evenly "
            "spread.",
        )


def _preprocessing(dataset: "xr.Dataset") -> Iterator[Caveat]:
    shares = []
    for name, what in (
        ("preprocessing_time_share", "the window"),
        ("preprocessing_cpu_share", "the measuring process's CPU time"),
    ):
        known = [share for share in values_of(dataset, name).tolist() if share == share]
        if known:
            low, high = min(known) * 100, max(known) * 100
            share = (
                f"{low:.0f} %" if f"{low:.0f}" == f"{high:.0f}" else f"{low:.0f} to {high:.0f} %"
            )
            shares.append(f"{share} of {what}")
    if shares:
        yield Caveat(
            "preprocessing-inside",
            Severity.CAUTION,
            "Images were decoded and transformed in the window, and are part of every figure: "
            f"they took {' and '.join(shares)}.",
        )


def window_s(study: RecordedStudy, environment: Environment) -> float | None:
    """Least length of a window: as raised by the meters, else as requested."""
    for length_s in (environment.window_s, study.protocol.get("window_s")):
        if length_s is not None:
            return float(length_s)
    return None


def _window(study: RecordedStudy, environment: Environment) -> Iterator[Caveat]:
    scale = study.scale
    if scale < 1:
        yield Caveat(
            "scaled",
            Severity.CAUTION,
            f"The study was shortened to {scale:g} of its times, requests and repetitions: it "
            "shows that it runs here, and its figures do not repeat those of the full study.",
        )
    length_s = window_s(study, environment)
    offline = not study.scenarios or "offline" in study.scenarios
    if scale == 1 and offline and length_s is not None and length_s < STANDARD_WINDOW_S:
        yield Caveat(
            "window-short",
            Severity.CAUTION,
            f"Windows of {length_s:g} s (profile {study.profile or 'unknown'}) are for a "
            f"first look; the standard is {STANDARD_WINDOW_S:g} s.",
        )


def _settings(in_force: Fairness) -> Iterator[Caveat]:
    """Warn of settings that differ between backends; those set on one backend were requested."""
    reference = in_force.variants[0] if in_force.variants else None
    clauses: dict[str, list[str]] = {}
    for variant in in_force.variants:
        if reference is None or variant.backend == reference.backend:
            continue
        differ = [m.name for m in mismatches(variant, reference) if m.kind is Kind.DIFFERS]
        if differ:
            clauses.setdefault(", ".join(differ), []).append(variant.label)
    if reference and clauses:
        pairs = "; ".join(f"{', '.join(who)} in {what}" for what, who in clauses.items())
        yield Caveat(
            "settings-differ",
            Severity.CAUTION,
            f"Settings differ from those of {reference.label}: {pairs}.",
        )


def _repetitions(rows: Sequence[CellRow]) -> Iterator[Caveat]:
    planned = rows[0].planned if rows else 0
    if planned < LEAST:
        count = {0: "No repetition was", 1: "One repetition was"}.get(
            planned, "Two repetitions were"
        )
        shown = "no spread is known" if planned < 2 else "ranges are shown, not intervals"
        yield Caveat("few-repetitions", Severity.CAUTION, f"{count} requested, so {shown}.")
    elif few := sum(0 < row.ok < LEAST for row in rows):
        yield Caveat(
            "few-repetitions",
            Severity.CAUTION,
            f"{few} of {units.count(len(rows), 'cell')} have fewer than {LEAST} finished "
            "repetitions and therefore no confidence interval.",
        )
    not_run = sum(row.statuses.get("not_run", 0) for row in rows)
    if not_run:
        total = sum(row.planned for row in rows)
        yield Caveat(
            "incomplete",
            Severity.CAUTION,
            f"The run is incomplete: {not_run} of {units.count(total, 'repetition')} were not run.",
        )
    yield from _failures(rows)


def _budget(rows: Sequence[CellRow], study: RecordedStudy) -> Iterator[Caveat]:
    """Say which cells a run with a budget measured less than others, or not at all."""
    early = sum(row.ok > 0 and bool(row.left) for row in rows)
    absent = sum(not row.ok and bool(row.left) for row in rows)
    if early or absent:
        yield Caveat(
            "budget",
            Severity.CAUTION,
            f"The run had a budget: {early} of {units.count(len(rows), 'cell')} were left before "
            f"the end, and {absent} were not measured; the table of all cells says why. Their "
            "intervals are wide or missing, so ratios, fronts, knees, recommendations and "
            "comparisons that involve them rest on less than those of the other cells.",
        )
    if late := sum(row.left == "not measured: time" for row in rows):
        yield Caveat(
            "budget-spent",
            Severity.CAUTION,
            f"The budget of {units.duration(study.budget or 0)} was spent before {late} cells that "
            "may change the answer were measured; use a larger one, e.g. --budget 1h.",
        )
    yield from _failures(rows)


def _repeats(dataset: "xr.Dataset", study: RecordedStudy) -> Iterator[Caveat]:
    """Report superseded attempts, and cells that are less precise than was requested."""
    import numpy as np

    if not {"stopped", "stopped_half_width", "disturbed_attempts", "in_design"} <= dataset.keys():
        return
    if again := int(np.nansum(values_of(dataset, "disturbed_attempts"))):
        yield Caveat(
            "disturbed-attempts",
            Severity.NOTE,
            f"{units.are(again, 'repetition')} superseded: disturbed, and measured again at the "
            "end of the block; the journal keeps both.",
        )
    wide = values_of(dataset, "stopped") == STOPS.index("maximum")
    if count := int(wide.sum()):
        designed = int((values_of(dataset, "in_design") == 1).sum())
        widest = float(np.nanmax(values_of(dataset, "stopped_half_width")[wide]))
        yield Caveat(
            "target-missed",
            Severity.CAUTION,
            f"{count} of {units.count(designed, 'cell')} are not within ± "
            f"{study.precision_target or 0:.2g} of their mean after {study.max_repetitions} "
            "repetitions; the widest is "
            f"{f'± {widest:.2g}' if widest <= 1 else 'not known within 100 %'}.",
        )


def _failures(rows: Sequence[CellRow]) -> Iterator[Caveat]:
    """Name the cells that failed; batch sizes that failed in the same way share a sentence."""
    alike: dict[tuple[Cell, str, str], list[int]] = {}
    for row in rows:
        failed = {s: n for s, n in row.statuses.items() if s not in ("ok", "not_run")}
        if failed:
            how = ", ".join(f"{name} {count}×" for name, count in failed.items())
            why = "; ".join(reason.rstrip(".") for reason in row.failures)
            alike.setdefault((replace(row.cell, batch_size=1), how, why), []).append(
                row.cell.batch_size
            )
    for (cell, how, why), sizes in alike.items():
        name = f"{cell.model} on {cell.how_at(*sizes)}"
        each = ", each" if len(sizes) > 1 else ""
        yield Caveat("failed", Severity.CAUTION, f"Failed: {name} ({how}{each}): {why}.")


def _flags(rows: Sequence[CellRow]) -> Iterator[Caveat]:
    counts: Counter[str] = Counter()
    for row in rows:
        counts.update(row.flags)
    for name, count in counts.items():
        severity = _FLAG_SEVERITIES.get(name, Severity.CAUTION)
        meaning = _FLAG_MEANINGS.get(name, name)
        word = name.replace("_", " ")
        yield Caveat(
            f"flag-{name.replace('_', '-')}",
            severity,
            f"{units.are(count, 'repetition')} flagged as {word} ({meaning}); "
            f"{'it is' if count == 1 else 'they are'} included.",
        )


def _journal(dataset: "xr.Dataset") -> Iterator[Caveat]:
    if torn := dataset.attrs["journal_torn"]:
        yield Caveat("journal-torn", Severity.NOTE, f"{torn}.")
