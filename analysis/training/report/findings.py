"""What a training run shows: sentences, cards, figures and tables, in the page's order."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from greenbatch import units
from greenbatch.analysis.findings.caveat import Caveat
from greenbatch.analysis.findings.wording import bounds, share
from greenbatch.analysis.report.page import Section, TableSection
from greenbatch.analysis.statistics.claims import Least, by_block, least
from greenbatch.analysis.statistics.intervals import Interval, interval, ratio
from greenbatch.analysis.training.findings.judge import WORDS, Metric
from greenbatch.analysis.training.findings.rows import TrainingRow
from greenbatch.analysis.training.findings.searches import SearchRow
from greenbatch.records import Journal


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One answer at a glance.

    Attributes:
        question: What is answered.
        amount, unit: The figure.
        interval: In words.
        who: What it is the figure of.
        more: What else goes with it; a clause.
        tag: How the figure was obtained, where it was not measured.
    """

    question: str
    amount: str
    unit: str
    interval: str
    who: str
    more: str = ""
    tag: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What the page shows of the trainings themselves.

    Attributes:
        summary: The answer in one sentence.
        sentences: What goes with it.
        searches: A row for each strategy; empty where there is no search.
    """

    summary: str
    sentences: Sequence[str] = ()
    answers: Sequence[Card] = ()
    sections: Sequence[Section] = ()
    tables: Sequence[TableSection] = ()
    searches: Sequence[SearchRow] = ()


@dataclass(frozen=True, slots=True)
class TrainingFindings:
    """What one run of trainings, or one machine of a merged dataset, shows.

    Attributes:
        title: Of the run.
        rows: Its cells or trials.
        names: What is compared: cells, or the strategies of a search.
        journal: ``None`` where there is the dataset alone.
    """

    title: str
    rows: Sequence[TrainingRow]
    names: Sequence[str]
    caveats: Sequence[Caveat]
    shown: Findings
    journal: Journal | None


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """A report of trainings that was written.

    Attributes:
        page: Path of ``index.html``.
        findings: By machine; those of a single run by its title.
    """

    page: Path
    findings: Mapping[str, TrainingFindings]


def best_cards(
    data: str, rows: Sequence[TrainingRow], *, several: bool, metric: Metric = "accuracy"
) -> list[Card]:
    """Answer which cell needs the least energy per image seen, and which is most correct.

    Args:
        data: The rows' data set.
        rows: Cells of one data set.
        several: Whether the run has other data sets too.
        metric: By which correctness is judged.
    """
    where = f" on {data}" if several else ""
    cards = []
    greenest, accurate = least_energy(rows), most_accurate(rows, metric)
    if greenest and (energy := greenest.summary("image")):
        cards.append(
            Card(
                question=f"Least energy per image seen{where}",
                amount=units.si(energy.centre, "J"),
                unit="per image seen",
                interval=energy_interval(energy),
                who=greenest.label,
                more=f"best {WORDS[metric]} {share(greenest.summary(metric))}",
                tag=greenest.energy_source if greenest.energy_source != "measured" else "",
            )
        )
    if accurate and (accuracy := accurate.summary(metric)):
        energy = accurate.summary("image")
        cards.append(
            Card(
                question=f"Highest {WORDS[metric]}{where}",
                amount=f"{100 * accuracy.centre:.1f} %",
                unit="of the validation images"
                if metric == "accuracy"
                else "on the validation images",
                interval=share_interval(accuracy),
                who=accurate.label,
                more=f"{units.si(energy.centre, 'J')} per image seen" if energy else "",
            )
        )
    return cards


def least_energy(rows: Sequence[TrainingRow]) -> TrainingRow | None:
    """The row of least energy per image seen; ``None`` where estimates meet measurements.

    Rows are ranked by means that are adjusted for blocks, as `most_accurate` does.
    """
    known = [row for row in rows if row.series["image"]]
    if len({row.energy_source for row in known}) != 1:
        return None
    found = _least_energy(known)
    return known[found.best] if found else None


def most_accurate(rows: Sequence[TrainingRow], metric: Metric = "accuracy") -> TrainingRow | None:
    """The row of highest accuracy, or of another measure of correctness."""
    found = _highest(rows, metric)
    return rows[found.best] if found else None


def _least_energy(rows: Sequence[TrainingRow]) -> Least | None:
    return least(by_block([row.series["image"] for row in rows]))


def _highest(rows: Sequence[TrainingRow], metric: Metric) -> Least | None:
    return least(-by_block([row.series[metric] for row in rows]))


def energy_interval(value: Interval) -> str:
    """Write the interval of an energy: ``95 %: 44.1 mJ … 46.3 mJ``."""
    return bounds(value, "J")


def share_interval(value: Interval) -> str:
    """Write the interval of a share: ``95 %: 96.9 … 97.5 %``."""
    if value.low is None or value.high is None:
        return "one repetition: no interval"
    kind = "95 %" if value.kind == "t" else "range"
    low, high = (100 * min(1.0, max(0.0, end)) for end in (value.low, value.high))
    return f"{kind}: {low:.1f} … {high:.1f} %"


def listed(names: Sequence[str]) -> str:
    """Join names: ``a, b and c``."""
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def comparison(
    data: str, rows: Sequence[TrainingRow], *, several: bool, metric: Metric = "accuracy"
) -> tuple[str, list[str]]:
    """Name the cells of least energy per image seen and of highest correctness of a data set.

    Args:
        data: The rows' data set.
        rows: Cells of one data set.
        several: Whether the run has other data sets too.
        metric: By which correctness is judged.

    Returns:
        The answer in a sentence, and what goes with it.
    """
    where = f" on {data}" if several else ""
    measured = [row for row in rows if row.ok]
    if not measured:
        return f"No training{where} completed.", []
    if len(measured) == 1:
        return _alone(measured[0], where), _one_left(rows)
    greenest, accurate = least_energy(measured), most_accurate(measured, metric)
    parts, more = [], []
    if greenest and (energy := greenest.summary("image")):
        kind = "" if greenest.energy_source == "measured" else f" ({greenest.energy_source})"
        parts.append(
            f"least energy per image seen{kind}: {greenest.label} with "
            f"{units.si(energy.centre, 'J')}"
        )
        more.append(_next(greenest, measured))
    elif any(row.series["image"] for row in measured):
        more.append(
            f"Energies{where} are not compared: some are measured, others rest on an estimate."
        )
    if accurate and (accuracy := accurate.summary(metric)):
        reached = f"{100 * accuracy.centre:.1f} %"
        parts.append(f"highest {WORDS[metric]}: {accurate.label} with {reached}")
        more.append(_next_accurate(accurate, measured, metric))
    if greenest and accurate and greenest is not accurate:
        factor = ratio(accurate.series["image"], greenest.series["image"])
        gained = _difference(accurate, greenest, metric)
        if factor and gained:
            more.append(
                f"Going from {greenest.label} to {accurate.label} gains {_points(gained)} of "
                f"{WORDS[metric]} for {times(factor)} the energy per image seen."
            )
    summary = "; ".join(parts)
    on = f"On {data}, " if several else ""
    summary = f"{on}{summary}." if on else f"{summary[:1].upper()}{summary[1:]}."
    return summary, [sentence for sentence in more if sentence]


def _alone(row: TrainingRow, where: str) -> str:
    energy, image = row.summary("energy"), row.summary("image")
    accuracy = share(row.summary("accuracy"))
    if energy is None or image is None:
        return f"{row.label}{where} reached an accuracy of {accuracy}; its energy is not known."
    kind = "" if row.energy_source == "measured" else f" ({row.energy_source})"
    return (
        f"{row.label}{where} reached an accuracy of {accuracy} with {units.si(energy.centre, 'J')} "
        f"of energy{kind}, {units.si(image.centre, 'J')} per image seen."
    )


def _one_left(rows: Sequence[TrainingRow]) -> list[str]:
    if len(rows) == 1:
        return ["One choice was trained, so nothing is compared."]
    return [f"Of {len(rows)} choices one completed, so nothing is compared."]


def _next(best: TrainingRow, rows: Sequence[TrainingRow]) -> str:
    """Say how far off the next choice is in energy, and from which there is no difference."""
    known = [row for row in rows if row.series["image"]]
    found = _least_energy(known)
    if found is None or len(known) < 2:
        return ""
    apart = ""
    if found.apart:
        names = listed([known[place].label for place in found.apart])
        apart = f" No chain of shared repetitions connects it with {names}: not comparable."
    if found.runner_up is None:
        return apart.strip()
    second = known[found.runner_up]
    margin = ratio(second.series["image"], best.series["image"])
    if margin is None:
        return f"Next in energy is {second.label}; no repetition has both.{apart}"
    more = f"Next in energy is {second.label} with {_change(margin)} more"
    if margin.kind != "t":
        return f"{more}; {_too_few(margin)}.{apart}"
    alike = [known[place].label for place in found.alike]
    if not alike:
        return f"{more}.{apart}"
    if alike == [second.label]:
        return f"{more}: no significant difference.{apart}"
    return f"{more}. No significant difference in energy from {listed(alike)}.{apart}"


def _next_accurate(best: TrainingRow, rows: Sequence[TrainingRow], metric: Metric) -> str:
    """Say which choices differ from the most correct one by nothing significant."""
    word = WORDS[metric]
    gaps = [gap for row in rows if row is not best and (gap := _difference(best, row, metric))]
    if few := next((gap for gap in gaps if gap.kind != "t"), None):
        return f"No significant difference in {word} is shown: {_too_few(few)}."
    found = _highest(rows, metric)
    if found is None or not found.alike:
        return ""
    alike = [rows[place].label for place in sorted(found.alike)]
    return f"No significant difference in {word} from {best.label}: {listed(alike)}."


def _difference(over: TrainingRow, under: TrainingRow, metric: Metric) -> Interval | None:
    """Compare the best of two rows block by block."""
    a, b = over.series[metric], under.series[metric]
    return interval((a[block] - b[block] for block in a.keys() & b.keys()), geometric=False)


def _too_few(value: Interval) -> str:
    return (
        "one repetition, too few to be sure"
        if value.n == 1
        else "two repetitions, too few to be sure"
    )


def _change(factor: Interval) -> str:
    """Write a ratio above 1 as a change: ``3.8 % (1.2 … 6.4)``."""
    return _bounded(factor, lambda value: f"{100 * (value - 1):.1f}", " %")


def times(factor: Interval) -> str:
    """Write a ratio: ``1.95 times (1.90 … 2.00)``."""
    return _bounded(factor, lambda value: f"{value:.2f}", " times")


def _points(gap: Interval) -> str:
    """Write a difference of shares: ``1.6 (1.2 … 2.0) percentage points``."""
    return _bounded(gap, lambda value: f"{100 * value:.1f}", "") + " percentage points"


def _bounded(value: Interval, write: Callable[[float], str], unit: str) -> str:
    text = f"{write(value.centre)}{unit}"
    if value.low is None or value.high is None:
        return text
    word = "" if value.kind == "t" else "range "
    return f"{text} ({word}{write(value.low)} … {write(value.high)})".replace("-", "−")
