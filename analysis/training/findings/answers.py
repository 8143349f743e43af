"""The paper's question answered: what the greenest choice saves that is nearly as correct."""

from greenbatch import units
from greenbatch.analysis.statistics.intervals import Interval
from greenbatch.analysis.training.findings.correctness import Correctness
from greenbatch.analysis.training.findings.judge import word_of


def saving_sentence(found: Correctness) -> str:
    """Say what the greenest choice that is nearly as correct as the best one saves."""
    saving = found.saving
    where = f"On {found.context}: " if found.context.name else ""
    where = where.replace("On on ", "On ")
    if saving is None:
        return _sentence(where + found.why)
    best, greenest, word = saving.best, saving.greenest, word_of(found.metric)
    reached = _shares(best.correctness(found.metric))
    summary = f"{best.name} has the best {word}, {reached}"
    if saving.ties:
        summary += f", the same as {' and '.join(row.name for row in saving.ties)}"
    kind = "estimated energy" if best.source == "estimated" else "energy"
    energy = units.si(best.energy_j.centre if best.energy_j else None, "J")
    margin = _percent(saving.within)
    if saving.saved is None:
        if len([row for row in found.rows if row.energy]) < 2:
            return _sentence(f"{where}{summary}; there is no other choice with a known energy")
        return _sentence(
            f"{where}{summary}, and no choice within {margin} of it needs less {kind} than its "
            f"{energy} per image seen, so no energy can be saved"
        )
    less = units.si(greenest.energy_j.centre if greenest.energy_j else None, "J")
    other = _shares(greenest.correctness(found.metric))
    text = (
        f"{where}{summary}; {greenest.name} is the greenest within {margin} of it ({other}) and "
        f"saves {_percent_of(saving.saved)} of the {kind} per image seen, {less} instead of "
        f"{energy}"
    )
    if saving.saved.low is not None and not saving.saved_shown:
        text += ", which is no significant difference"
    if saving.saved.low is not None and not saving.surely_within:
        text += f"; that its {word} is within {margin} is not shown by the interval"
    return _sentence(text)


def _shares(value: Interval | None) -> str:
    if value is None:
        return "–"
    text = _percent(value.centre)
    if value.low is None or value.high is None:
        return text
    word = "95 %: " if value.kind == "t" else "range "
    low, high = (_percent(min(max(bound, 0.0), 1.0)) for bound in (value.low, value.high))
    return f"{text} ({word}{low} … {high})"


def _percent_of(value: Interval) -> str:
    text = _percent(value.centre)
    if value.low is None or value.high is None:
        return f"{text} (one repetition: no interval)"
    word = "95 %: " if value.kind == "t" else "range "
    return f"{text} ({word}{_percent(value.low)} … {_percent(value.high)})"


def _percent(value: float) -> str:
    return f"{100 * value:.3g} %"


def _sentence(text: str) -> str:
    return f"{text.rstrip('.')}."  # a name that it begins with stays as it is written
