"""What the device of a cell was like in its window, as a table."""

from collections.abc import Callable, Mapping, Sequence

from greenbatch import units
from greenbatch.analysis.findings.cells import CellRow
from greenbatch.analysis.findings.wording import DASH, Table, degrees, share

NOTE = (
    "Means over the window, and over repetitions with a 95 % interval (the range of two): the "
    "share of the time in which the processors of the device had work, and in which its memory was "
    "read or written; the temperature of the sensor with the highest mean. The memory is the most "
    "in use by anybody. A dash: not recorded."
)


def device_table(rows: Sequence[CellRow]) -> Table:
    """Show utilisation, memory and temperature; without rows where no cell has a utilisation.

    Args:
        rows: As `cell_rows` gives them, of the closed loop and of servers.
    """
    shown = [row for row in rows if row.utilization]
    servers = any(row.cell.is_server for row in shown)
    several = len({row.cell.precision for row in shown}) > 1
    columns = {
        "model": [row.cell.model for row in shown],
        "backend": [row.cell.variant for row in shown],
        **({"precision": [row.cell.precision for row in shown]} if several else {}),
        ("batch or traffic" if servers else "batch"): [_load(row) for row in shown],
    }
    figures = {title: [write(row) for row in shown] for title, write in _FIGURES.items()}
    columns |= {
        title: texts for title, texts in figures.items() if any(text != DASH for text in texts)
    }
    return Table(
        "device",
        "The device in the window",
        tuple(columns),
        tuple(zip(*columns.values(), strict=True)),
        tuple(title in figures or title == "batch" for title in columns),
    )


def _load(row: CellRow) -> str:
    if not row.cell.is_server:
        return str(row.cell.batch_size)
    served = row.cell.served
    rate = "" if served.rate_hz is None else f" at {served.rate} requests/s"
    return f"{served.policy}, {served.arrivals}{rate}"


def _memory(row: CellRow) -> str:
    return DASH if row.memory_in_use_bytes is None else units.si(row.memory_in_use_bytes, "B")


_FIGURES: Mapping[str, Callable[[CellRow], str]] = {
    "busy": lambda row: share(row.utilization),
    "memory busy": lambda row: share(row.memory_utilization),
    "most memory in use": _memory,
    "mean temperature": lambda row: degrees(row.temperature_c),
}
