"""What a reader must know before believing a figure: judgements as data, shown elsewhere."""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from greenbatch import units
from greenbatch.analysis.dataset.dataset_files import EDITED, NOTE
from greenbatch.analysis.dataset.described import environment_of, study_of
from greenbatch.analysis.dataset.groups import values_of
from greenbatch.analysis.findings.caveat import Caveat, Severity
from greenbatch.analysis.findings.cells import CellRow, cell_rows
from greenbatch.analysis.findings.energy_caveats import energy_caveats, implausible_caveats
from greenbatch.analysis.findings.fairness import Fairness, Kind, mismatches
from greenbatch.analysis.findings.plausibility import EnergyWorth
from greenbatch.analysis.findings.repetition_caveats import (
    budget_caveats,
    flag_caveats,
    repeat_caveats,
    repetition_caveats,
)
from greenbatch.design.environment import Environment
from greenbatch.design.images import ImageSet
from greenbatch.design.recorded import RecordedImages, RecordedStudy

if TYPE_CHECKING:
    import xarray as xr

_NAMED = 5  # broken files in a sentence
STANDARD_WINDOW_S = 2.0
"""DESIGN, section 3.4: shorter windows are for a first look."""


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
        *energy_caveats(dataset, rows, environment),
        *implausible_caveats(worths),
        *_weights(dataset),
        *image_caveats(study.images, max((row.cell.batch_size for row in rows), default=0)),
        *_preprocessing(dataset),
        *([ALONE] if alone else []),
        *contents_caveats(dataset),
        *_window(study, environment),
        *process_caveats(environment),
        *_settings(in_force or Fairness()),
        *(budget_caveats(rows, study) if study.budget else repetition_caveats(rows)),
        *repeat_caveats(dataset, study),
        *_weak_agreement(rows),
        *flag_caveats(rows),
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
            f"{units.are(count, 'image')} made for the run, with the size of "
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


def _journal(dataset: "xr.Dataset") -> Iterator[Caveat]:
    if torn := dataset.attrs["journal_torn"]:
        yield Caveat("journal-torn", Severity.NOTE, f"{torn}.")
