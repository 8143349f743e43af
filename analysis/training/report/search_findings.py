"""What searches side by side show: which was near the best with the least energy."""

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from greenbatch import units
from greenbatch.analysis.dataset.described import training_study_of
from greenbatch.analysis.findings.wording import DASH, Table, share, spread
from greenbatch.analysis.report.charts.charts import Chart
from greenbatch.analysis.report.charts.facts import Across, Band, BandsFacts, bounded
from greenbatch.analysis.report.page import Section, TableSection
from greenbatch.analysis.statistics.intervals import Interval, ratio
from greenbatch.analysis.training.dataset.compilation import hyperparameters_of
from greenbatch.analysis.training.dataset.contexts import Context, contexts
from greenbatch.analysis.training.dataset.totals import counted
from greenbatch.analysis.training.findings.guessing import learned_nothing
from greenbatch.analysis.training.findings.rows import TrainingRow
from greenbatch.analysis.training.findings.search_tests import search_tests
from greenbatch.analysis.training.findings.searches import Arrival, SearchRow, search_rows
from greenbatch.analysis.training.report.findings import (
    Card,
    Findings,
    energy_interval,
    listed,
    share_interval,
    times,
)
from greenbatch.analysis.training.report.hypothesis_table import (
    SEARCH_TESTS_NOTE,
    search_tests_table,
)
from greenbatch.analysis.training.report.published_table import published_sections
from greenbatch.records.provenance import Provenance, combine

if TYPE_CHECKING:
    import xarray as xr

_BEST = {"accuracy": "best accuracy", "energy": "least energy", "both": "largest dominated area"}
_UNITS = {"accuracy": "%", "energy": "J", "both": "%"}


def search_findings(
    dataset: "xr.Dataset",
    rows: Sequence[TrainingRow],
    names: Sequence[str],
    why: str,
    *,
    welch: bool = False,
) -> Findings:
    """Gather what a search shows.

    Args:
        dataset: As `greenbatch.analysis.training.open_training` gives it.
        rows: Its trials.
        names: Of the strategies, as in the legend.
        why: Why there is no energy; empty where there is.
        welch: Test means beside ranks.
    """
    found = search_rows(dataset)
    tested = search_tests(found, welch=welch)
    by_context = groupby(found, key=lambda row: row.curve.context)
    groups = {context: [*members] for context, members in by_context}
    guessing = learned_nothing(rows, found[0].curve.objective if found else "")
    answered = [
        _chance(context) if _network(context) in guessing else _answer(members)
        for context, members in groups.items()
    ]
    sentences = [summary for summary, _ in answered[1:]]
    sentences += [sentence for _, more in answered for sentence in more]
    for one in tested:
        if _network(one.context) in guessing:
            continue
        where = f"For {one.context.name}: " if one.context.name else ""
        sentences += [f"{where}{each.sentence()}" for each in one.dominance]
    if any(row.curve.unfinished for row in found):
        sentences.append("Searches that are not finished are in no figure of this page.")
    return Findings(
        summary=answered[0][0] if answered else "There is no search in it.",
        sentences=sentences,
        answers=[card for members in groups.values() for card in _cards(members)],
        sections=_sections([*groups.values()], names, why),
        tables=[
            *published_sections(
                training_study_of(dataset),
                searches=found,
                learned_nothing=[one for one in groups if _network(one) in guessing],
            ),
            TableSection(_searches_table(found), _note(found)),
            TableSection(
                _best_trials_table(dataset, found),
                "Of each search the trial that it would end with.",
            ),
            TableSection(search_tests_table(tested), SEARCH_TESTS_NOTE),
        ],
        searches=found,
    )


def _network(context: Context) -> tuple[str, str]:
    """Return the network and the data set that were searched."""
    labels = dict(context.labels)
    return str(labels["model"]), str(labels["data"])


def _chance(context: Context) -> tuple[str, list[str]]:
    name = f"For {context.name}: " if context.name else ""
    nothing = "so the strategies are not compared"
    return f"{name}No trial was shown to be better than guessing, {nothing}.", []


def _within(row: SearchRow) -> str:
    return f"{100 * row.curve.within:g} %"


def _answer(members: Sequence[SearchRow]) -> tuple[str, list[str]]:
    """Say which strategy came near the best of all with the least energy, and how sure it is.

    Without energy, with the fewest trials. A strategy that was not always near has no mean.
    """
    first = members[0]
    name = f"For {first.curve.context.name}: " if first.curve.context.name else ""
    best_word = _BEST[first.curve.objective]
    if not any(row.near_all.trials for row in members):
        return f"{name}No search is finished, so there is nothing to compare.", []
    if len(members) == 1:
        return f"{name}{first.strategy} alone was tried, so nothing is compared.", []
    near = f"within {_within(first)} of the {best_word} of all strategies"
    always = [row for row in members if not row.near_all.never]
    late = [
        f"{row.strategy} in {len(row.near_all.never)} of {row.searches}"
        for row in members
        if row.near_all.never and row.searches
    ]
    more = [f"{name}Never {near}: searches by {listed(late)}."] if late else []
    if not always:
        return (
            f"{name}No strategy came {near} in every search, so none is called the cheapest.",
            more,
        )
    by_energy = all(row.near_all.mean_energy_j for row in always) and _alike(members)
    ordered = sorted(always, key=lambda row: _mean(row, by_energy).centre)
    best = ordered[0]
    value = _mean(best, by_energy)
    amount = units.si(value.centre, "J") if by_energy else f"{value.centre:.3g} trials"
    kind = "" if not by_energy or best.curve.source == "measured" else f" ({best.curve.source})"
    least = f"the least energy{kind}" if by_energy else "the fewest trials"
    answer = f"{name}{best.strategy} came {near} with {least}: {amount}"
    answer += f" ({energy_interval(value)})" if by_energy and value.kind == "t" else ""
    what = "energy" if by_energy else "number of trials"
    unclear = []
    for row in ordered[1:]:
        margin = ratio(_costs(row, by_energy), _costs(best, by_energy))
        if margin and margin.excludes(1.0):
            more.append(f"{name}{row.strategy} needed {times(margin)} the {what} until then.")
        else:
            unclear.append(row.strategy)
    if value.kind != "t":
        count = "One search" if value.n == 1 else "Two searches"
        more.append(f"{name}{count} of each strategy: too few to be sure of any order.")
    elif unclear:
        answer += f"; no difference from {listed(unclear)} is shown"
    if unknown := sum(row.curve.unknown for row in members):
        more.append(f"{name}Of {unknown} failed trials no energy is known: sums are too low.")
    return f"{answer}.", more


def _alike(members: Sequence[SearchRow]) -> bool:
    """Whether the energies may be compared: an estimate never meets a measurement."""
    found = combine(row.curve.source for row in members)
    return found in (Provenance.MEASURED, Provenance.ESTIMATED)


def _costs(row: SearchRow, by_energy: bool) -> dict[int, float]:
    if by_energy:
        return dict(row.near_all.energy_j)
    return {block: float(count) for block, count in row.near_all.trials.items()}


def _mean(row: SearchRow, by_energy: bool) -> Interval:
    found = row.near_all.mean_energy_j if by_energy else row.near_all.mean_trials
    assert found is not None  # asked of searches that all came there
    return found


def _cards(members: Sequence[SearchRow]) -> list[Card]:
    """Show what each strategy found, and what its whole search took."""
    cards = []
    for row in members:
        best = row.best
        if best is None:
            continue
        objective = row.curve.objective
        name = f" · {row.curve.context.name}" if row.curve.context.name else ""
        plain = _UNITS[objective] == "%"
        energy = units.si(row.total_j.centre, "J") if row.total_j else "energy not known"
        cards.append(
            Card(
                question=f"{row.strategy}{name}",
                amount=f"{100 * best.centre:.1f} %" if plain else units.si(best.centre, "J"),
                unit=_BEST[objective] if objective != "both" else "of the area dominated",
                interval=share_interval(best) if plain else energy_interval(best),
                who=f"{energy} for the whole search" if row.total_j else energy,
                more=_arrived(row.near_own, row.searches, _within(row)),
                tag=row.curve.source if row.curve.source in ("estimated", "mixed") else "",
            )
        )
    return cards


def _arrived(arrival: Arrival, searches: int, within: str) -> str:
    trials, energy = arrival.mean_trials, arrival.mean_energy_j
    if trials is None:
        return f"{len(arrival.trials)} of {searches} searches came within {within} of their best"
    spent = f", {units.si(energy.centre, 'J')}" if energy else ""
    count = "1 trial" if trials.centre == 1 else f"{trials.centre:.3g} trials"
    return f"within {within} of its own best after {count}{spent}"


def _sections(
    groups: Sequence[Sequence[SearchRow]], names: Sequence[str], why: str
) -> list[Section]:
    estimated = any(row.curve.source in ("estimated", "mixed") for rows in groups for row in rows)
    kind = " (energy estimated)" if estimated else ""
    searches = max((row.searches for rows in groups for row in rows), default=0)
    band = {0: "", 1: " One search each: no band.", 2: " Bands span the two searches."}.get(
        searches, " Bands are 95 % intervals over the searches."
    )
    direction = "low" if groups and groups[0][0].curve.objective == "energy" else "high"
    return [
        Section(
            "search",
            f"Best result by energy spent on the search{kind}",
            "The best so far against the energy of all trials until then, failed ones included; "
            f"{direction} and left is better. A curve ends where the cheapest of its searches did."
            f"{band}",
            _charts(groups, names, energy=True),
            why or "The energy of a trial is missing, so what was spent is not known.",
            estimated=estimated,
        ),
        Section(
            "trials",
            "Best result by number of trials",
            f"The same against the number of trials.{band}",
            _charts(groups, names, energy=False),
            "No search is finished.",
        ),
    ]


def _charts(
    groups: Sequence[Sequence[SearchRow]], names: Sequence[str], *, energy: bool
) -> list[Chart]:
    charts = []
    for number, members in enumerate(groups):
        curves: list[Band] = []
        for row in members:
            if energy:
                points = [(x, y) for x, y in row.curve.by_energy() if y]
            else:
                points = [(float(n + 1), y) for n, y in enumerate(row.curve.by_trial()) if y]
            if points:
                curves.append(
                    {
                        "variant": names.index(row.strategy),
                        "label": row.strategy,
                        "estimated": energy and row.curve.source in ("estimated", "mixed"),
                        "layer": 0,
                        "words": "best so far",
                        "x": [float(f"{x:.6g}") for x, _ in points],
                        "y": [bounded(y) for _, y in points],
                    }
                )
        if not curves:
            continue
        x: Across = (
            {"title": "energy spent on the search", "unit": "J"}
            if energy
            else {"title": "trial", "unit": "", "whole": True}
        )
        objective = members[0].curve.objective
        facts: BandsFacts = {
            "kind": "bands",
            "x": x,
            "y": {"unit": _UNITS[objective], "words": ""},
            "curves": curves,
            "shape": "hv",
        }
        name = members[0].curve.context.name
        label = f"The best so far against the {x['title']}" + (f", {name}" if name else "")
        charts.append(Chart(f"{'search' if energy else 'trials'}-{number}", name, label, facts))
    return charts


def _note(rows: Sequence[SearchRow]) -> str:
    if not rows:
        return ""
    best = _BEST[rows[0].curve.objective]
    return (
        f"Until a search was within {_within(rows[0])} of the {best} that it found itself, and of "
        "that of all strategies in the same repetition. Where a search was never so near, the "
        "median takes it as later than all others."
    )


def _searches_table(rows: Sequence[SearchRow]) -> Table:
    named = any(row.curve.context.name for row in rows)
    columns = (
        *(("of",) if named else ()),
        "strategy",
        _BEST[rows[0].curve.objective] if rows else "best",
        "trials to own best",
        "energy to own best",
        "trials to best of all",
        "energy to best of all",
        "whole search",
        "searches",
        "trials ok",
        "failed",
    )
    body = tuple(
        (
            *((row.curve.context.name,) if named else ()),
            row.strategy,
            share(row.best) if _UNITS[row.curve.objective] == "%" else spread(row.best, "J"),
            _count(row.near_own),
            _energy(row.near_own),
            _count(row.near_all),
            _energy(row.near_all),
            spread(row.total_j, "J"),
            str(row.searches),
            str(row.curve.ok),
            str(row.curve.failed),
        )
        for row in rows
    )
    numeric = tuple(column not in ("of", "strategy") for column in columns)
    return Table("searches", "Comparison of search strategies", columns, body, numeric)


def _count(arrival: Arrival) -> str:
    if not arrival.never:
        return spread(arrival.mean_trials, "")
    median = arrival.median_trials
    return _censored(arrival, "" if median is None else f"{median:g}")


def _energy(arrival: Arrival) -> str:
    if not arrival.never:
        return spread(arrival.mean_energy_j, "J")
    median = arrival.median_energy_j
    return _censored(arrival, "" if median is None else units.si(median, "J"))


def _censored(arrival: Arrival, median: str) -> str:
    searches = len(arrival.never) + len(arrival.trials)
    never = f"never in {len(arrival.never)} of {searches}"
    return f"median {median}, {never}" if median else never


def _best_trials_table(dataset: "xr.Dataset", rows: Sequence[SearchRow]) -> Table:
    """List the hyperparameters of the trial that each search would end with."""
    import numpy as np

    searched = hyperparameters_of(dataset)
    parts = dict(contexts(dataset, apart=("strategy", "trial")))
    named = any(row.curve.context.name for row in rows)
    columns = (
        *(("of",) if named else ()),
        "strategy",
        "repetition",
        "trial",
        "accuracy",
        "energy",
        *(name.replace("_", " ") for name in searched.values()),
    )
    body = []
    for row in rows:
        part = parts[row.curve.context]
        energy_j = counted(part, "energy")
        for block, trial in row.curve.best_trial.items():
            at = {"strategy": row.strategy, "trial": trial, "repetition": block}
            one = part.sel(at)
            joules = float(energy_j.sel(at))
            body.append(
                (
                    *((row.curve.context.name,) if named else ()),
                    row.strategy,
                    str(block + 1),
                    str(trial + 1),
                    f"{100 * float(one['best_accuracy']):.1f} %",
                    units.si(joules, "J") if np.isfinite(joules) else DASH,
                    *(str(one[variable].item()) or DASH for variable in searched),
                )
            )
    numeric = tuple(column not in ("of", "strategy") for column in columns)
    title = "Hyperparameters of the best trials"
    return Table("best-trials", title, columns, tuple(body), numeric)
