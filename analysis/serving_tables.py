"""Servers: response time and energy of a request, by policy and rate, as a table and a sentence."""

from collections.abc import Sequence
from itertools import groupby

from greenbatch.analysis.statistics import Summary
from greenbatch.analysis.tables import CellRow
from greenbatch.analysis.text_tables import DASH, Table, notes, spread


def serving_table(rows: Sequence[CellRow]) -> Table:
    """Show every server cell: a line for each model, backend, arrivals, rate and policy."""
    servers = sorted((row for row in rows if row.cell.is_server), key=_traffic)
    several = len({row.cell.precision for row in servers}) > 1
    published = any(row.as_published_j for row in servers)
    names = ("model", "backend", *(["precision"] if several else []), "arrivals", "policy")
    figures = (
        "requests/s",
        f"energy/request{_source(servers)}",
        *(["as published"] if published else []),
        "net of idle",
        "of it waiting",
        "response, mean",
        "p99",
        "maximum",
        "busy",
        "mean batch",
        "ok",
    )
    body = []
    for row in servers:
        traffic = dict(row.cell.traffic)
        body.append(
            (
                row.cell.model,
                row.cell.variant,
                *([row.cell.precision] if several else []),
                traffic["arrivals"],
                traffic["policy"],
                traffic["rate"],
                spread(row.energy_per_image_j, "J"),
                *([spread(row.as_published_j, "J")] if published else []),
                spread(row.energy_per_image_net_j, "J"),
                _percent(row.waiting_share),
                spread(row.response_mean_s, "s"),
                spread(row.response_p99_s, "s"),
                spread(row.response_max_s, "s"),
                _percent(row.busy),
                DASH if row.batch_size_mean is None else f"{row.batch_size_mean.centre:.3g}",
                f"{row.ok}/{row.planned}",
                notes(row),
            )
        )
    numeric = (False,) * len(names) + (True,) * len(figures) + (False,)
    columns = (*names, *figures, "flags and failures")
    return Table("serving", "Requests that arrive one by one", columns, tuple(body), numeric)


def serving_lead(rows: Sequence[CellRow]) -> list[str]:
    """Say for each model and traffic which policy takes least energy per request.

    Only policies that held the rate in every repetition, and energies of one kind of source, are
    compared.
    """
    servers = sorted((row for row in rows if row.cell.is_server), key=_traffic)
    sentences = []
    for (model, arrivals, rate), members in groupby(servers, key=lambda row: _traffic(row)[:3]):
        of_traffic = list(members)
        held = [row for row in of_traffic if row.ok and not row.flags.get("overloaded")]
        known = [(row, row.energy_per_image_j) for row in held]
        able = [(row, energy) for row, energy in known if energy is not None]
        where = f"{model} at {rate} requests/s ({arrivals})"
        if not held and any(row.ok for row in of_traffic):
            sentences.append(f"{where}: no policy held the rate.")
        elif len({row.energy_source for row, _ in able}) == 1:
            best, energy = min(able, key=lambda pair: pair[1].centre)
            sentences.append(f"{where}: {_answer(best, energy)}")
    return sentences


def _answer(row: CellRow, energy: Summary) -> str:
    source = "" if row.energy_source == "measured" else f" ({row.energy_source})"
    return (
        f"least energy per request{source} with {dict(row.cell.traffic)['policy']} on "
        f"{row.cell.variant}, {spread(energy, 'J')}, mean response "
        f"{spread(row.response_mean_s, 's')}, 99th percentile {spread(row.response_p99_s, 's')}."
    )


def _percent(share: Summary | None) -> str:
    return DASH if share is None else f"{share.centre:.0%}"


def _source(rows: Sequence[CellRow]) -> str:
    sources = {row.energy_source for row in rows} - {"missing"}
    return f" ({sources.pop()})" if len(sources) == 1 and sources != {"measured"} else ""


def _traffic(row: CellRow) -> tuple[str, str, str, str, str]:
    traffic = dict(row.cell.traffic)
    rate = traffic["rate"]
    return (
        row.cell.model,
        traffic["arrivals"],
        rate,
        row.cell.variant,
        traffic["policy"],
    )
