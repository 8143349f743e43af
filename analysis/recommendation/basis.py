"""What a recommendation rests on: what decides, what is counted, and what must be known of it."""

from collections.abc import Sequence

from greenbatch import units
from greenbatch.analysis.dataset.energy_basis import all_unlike
from greenbatch.analysis.recommendation.choices import Choice
from greenbatch.analysis.recommendation.limits import Limits
from greenbatch.analysis.recommendation.recorded import Recorded, Stretch
from greenbatch.analysis.recommendation.service_curves import ServiceCurve
from greenbatch.analysis.statistics.intervals import LEAST


def basis(curves: Sequence[ServiceCurve]) -> tuple[str, bool, tuple[str, ...]]:
    """Say what decides, whether idle energy is counted, and what is left out and why."""
    notes = []
    known = [c for c in curves if any(b.energy_j is not None for b in c.blocks.values())]
    without = [_name(c) for c in curves if c not in known]
    unlike = all_unlike(basis for curve in known for basis in curve.bases)
    same = not unlike
    if unlike:
        notes.append(
            f"Energies are not alike ({unlike}), which cannot be compared; the lowest response "
            "time decides. Choose backends of one kind with --backend."
        )
    elif not known:
        notes.append("There is no energy in this run; the lowest response time decides.")
    elif without:
        notes.append(f"No energy is known of {', '.join(without)}; it comes after the others.")
    idle_less = [
        _name(curve)
        for curve in known
        if any(b.energy_j is not None and b.idle_w is None for b in curve.blocks.values())
    ]
    if idle_less:
        notes.append(
            f"The idle power of {', '.join(idle_less)} is missing: energy is that of the batches "
            "alone, without what the server takes while it waits."
        )
    for curve in curves:
        if curve.left_out:
            one = curve.left_out == 1
            notes.append(
                f"{curve.left_out} repetition{'' if one else 's'} of {_name(curve)} "
                f"{'lacks' if one else 'lack'} a batch size and {'is' if one else 'are'} left out."
            )
        if len(curve.measured) == 1:
            size = curve.measured[0]
            notes.append(f"{_name(curve)} was measured at batch {size} alone; no other is judged.")
        elif curve.smallest > 1:  # a smaller batch would be an extrapolation
            notes.append(
                f"{_name(curve)} was not measured at batch 1; only full batches are judged."
            )
    if any(curve.raced for curve in curves):
        notes.append(
            "The run had a budget: batch sizes were skipped, or left after few repetitions. For a "
            "recommendation, measure with --full or with --precision-target."
        )
    fewest = min(len(curve.blocks) for curve in curves)
    if fewest < LEAST:
        reason = "one repetition has no spread" if fewest == 1 else "two repetitions give a range"
        notes.append(f"Without an interval: {reason}.")
    if len({curve.cell.precision for curve in curves}) > 1:
        notes.append("Precisions are compared as if they were equally accurate.")
    return "energy" if known and same else "response", not idle_less, tuple(notes)


def _name(curve: ServiceCurve) -> str:
    precision = "" if curve.cell.precision == "fp32" else f" in {curve.cell.precision}"
    return f"{curve.cell.variant}{precision}"


def of_recording(recorded: Recorded | None, limits: Limits) -> list[str]:
    """Say how a recording is judged."""
    if recorded is None:
        return []
    judged, busiest = recorded.judged, recorded.busiest
    notes = [*recorded.notes]
    if not recorded.whole:
        notes.append(
            f"Of {units.count(recorded.total, 'request')}, {judged.requests} are judged, those "
            f"from {clock(judged.start_s)} to {clock(judged.start_s + judged.length_s)} around the "
            "busiest stretch; rate and energy are those of this part."
        )
    if busiest.length_s < recorded.lasts_s:
        too = "; the limits have to be kept there, too" if limits.any else ""
        notes.append(
            f"The busiest {length(busiest)} of the recording begin at {clock(busiest.start_s)} and "
            f"have {busiest.rate_hz:.3g} requests/s{too}."
        )
    notes.append(
        "All repetitions replay the same recording: intervals do not hold the chance of other "
        "arrivals."
    )
    return notes


def length(stretch: Stretch) -> str:
    """Write how long a stretch lasts: ``60 s``."""
    return f"{stretch.length_s:.0f} s"


def clock(instant_s: float) -> str:
    """Write an instant of a recording, from its begin: ``2:13:20``."""
    whole = round(instant_s)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def without_choice(curves: Sequence[ServiceCurve], choices: Sequence[Choice]) -> list[str]:
    """Say which backends sustain the rate under no policy, where others do."""
    held = {choice.kind[:3] for choice in choices}
    names = [
        _name(curve)
        for curve in curves
        if held and (curve.cell.variant, curve.cell.precision, curve.cell.io) not in held
    ]
    verb = "sustains" if len(names) == 1 else "sustain"
    return [f"{', '.join(names)} {verb} the rate under no policy."] if names else []
