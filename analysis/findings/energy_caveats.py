"""What a reader must know of the energies of a run."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from greenbatch import units
from greenbatch.analysis.dataset.counted import counted_domains
from greenbatch.analysis.dataset.energy_basis import models_of_estimates
from greenbatch.analysis.dataset.groups import groups_of, values_of
from greenbatch.analysis.dataset.variables import SOURCES, STATUSES
from greenbatch.analysis.findings.caveat import Caveat, Severity
from greenbatch.analysis.findings.cells import CellRow
from greenbatch.analysis.findings.plausibility import EnergyWorth
from greenbatch.design.environment import Environment
from greenbatch.records import Provenance
from greenbatch.records.energy import TDP_HINT, TDP_OPTION

if TYPE_CHECKING:
    import xarray as xr

_MODELS = 3  # of estimates, a caveat for each


def energy_caveats(
    dataset: "xr.Dataset", rows: Sequence[CellRow], environment: Environment
) -> Iterator[Caveat]:
    """Say what the energy of a run rests on, and what is not in it.

    Args:
        dataset: As `greenbatch.analysis.open_run` gives it.
        rows: Its cells.
        environment: Of the run.
    """
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
    known = {"energy", "energy_uncertainty"} <= {*map(str, dataset.variables)}
    if TDP_OPTION in model or not known:
        return ""
    if not bool((dataset["energy_uncertainty"] > dataset["energy"]).any()):
        return ""
    return f" Its error is above 100 %: {TDP_HINT}."


def implausible_caveats(worths: Sequence[EnergyWorth]) -> Iterator[Caveat]:
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
