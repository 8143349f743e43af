"""Recorded instants of arrival, from a text file, a CSV file or JSON lines."""

import bz2
import gzip
import lzma
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from greenbatch.errors import FileError, UsageError
from greenbatch.files import followed, open_regular
from greenbatch.queueing.recorded_cells import Cells, column, column_names, is_json, plain_lines

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

LARGEST_BYTES = 400_000_000
"""Of a recording, decompressed: ten million instants of 40 characters."""
_SHOWN = 40
_UNITS_S = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}
_EPOCH_S = (9.4e8, 4.1e9)
"""From 1999 to 2099, in s since 1970."""
_LONG_GAP_S = 10.0
_SLOW_HZ = 1.0
_MANY = 100
_FAST_HZ = 1e5
_MANY_AT_ONCE = 0.2
_PACKED: dict[bytes, Callable[[BinaryIO], BinaryIO]] = {
    b"\x1f\x8b": lambda file: gzip.GzipFile(fileobj=file),  # type: ignore[dict-item,return-value]
    b"BZh": bz2.BZ2File,  # type: ignore[dict-item]
    b"\xfd7zXZ": lzma.LZMAFile,  # type: ignore[dict-item]
}
_BYTE_ORDER_MARKS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """When requests arrived.

    Attributes:
        instants_s: In s, rising, the first is 0; at least two, not all equal.
        notes: What must be known of them, in sentences.
    """

    instants_s: "NDArray[np.float64]"
    notes: tuple[str, ...] = ()


def read_recording(path: Path, name: str | None = None) -> Recording:
    """Read instants of arrival: one a line, or a column of a CSV file or of JSON lines.

    An instant is a number in s since any origin, or a date with a time (ISO 8601; UTC where it has
    no zone). Blank lines and those that begin with ``#`` are passed over. A file may be compressed
    (gzip, bzip2, xz); it has at most `LARGEST_BYTES`. Instants that are not in order are sorted.

    Args:
        path: The file.
        name: Of the column, with ``:ms``, ``:us`` or ``:ns`` behind it where it is not in s;
            without a name, each line is an instant.

    Raises:
        UsageError: The file cannot be read, or a row has no instant; or the instants appear to be
            in another unit than seconds, and none is stated.
    """
    import numpy as np

    text = _text(path)
    name, unit = _unit_of(name or "", path, text)
    cells = column(text, name, path) if name else plain_lines(text, path)
    values, dated = _values(cells, name, path)
    if dated and unit is not None:
        raise UsageError(
            f"the instants of {path} are dates, and ':{unit}' is a unit of numbers; write "
            f"replay:{path.name}#{name}"
        )
    back = int(np.count_nonzero(np.diff(values) < 0))
    values = np.sort(values)
    if len(values) < 2 or values[0] == values[-1]:
        raise UsageError(
            f"{path} holds {len(values)} instants of arrival, at the same time or too few; "
            "wanted at least 2 different ones"
        )
    instants_s = (values - values[0]) * _UNITS_S[unit or "s"]
    if unit is None and not dated:
        _doubt_seconds(values, instants_s, path, name)
    return Recording(instants_s, (*_of_order(back, path), *_of_equals(instants_s, path)))


def _unit_of(column: str, path: Path, text: str) -> tuple[str, str | None]:
    """Return the name of a column and its unit; a column whose own name ends so is meant itself."""
    name, colon, unit = column.rpartition(":")
    if not colon or unit not in _UNITS_S or (name and column in column_names(text, path)):
        return column, None
    return name, unit


def _values(cells: Cells, name: str, path: Path) -> "tuple[NDArray[Any], bool]":
    """Return finite numbers, and whether they are seconds of dates."""
    import numpy as np
    import pandas as pd

    if not len(cells.values):
        return np.empty(0), False
    numbers = pd.to_numeric(cells.values, errors="coerce")
    dates = None
    if pd.isna(numbers.iloc[0]):
        texts = cells.values.astype(str)
        found = pd.to_datetime(texts, format="ISO8601", utc=True, errors="coerce")
        if found.notna().any():
            dates = (found - found.min()) / pd.Timedelta(seconds=1)
    values = (numbers if dates is None else dates).to_numpy()
    bad = np.flatnonzero(~np.isfinite(values.astype(np.float64)))
    if len(bad):
        raise UsageError(_no_instant(cells, int(bad[0]), name, path))
    return values, dates is not None


def _no_instant(cells: Cells, place: int, name: str, path: Path) -> str:
    value = cells.values.iloc[place]
    shown = "" if value is None or value != value else str(value).strip()[:_SHOWN]
    cure = "write a number in s or an ISO 8601 date in each row"
    if not name:
        names = column_names(cells.text, path) if place == 0 else []
        columns = f" ({', '.join(names)[:400]})" if len(names) > 1 or is_json(cells.text) else ""
        cure = (
            "write a number in s or an ISO 8601 date, one a line, or name a column"
            f"{columns} as replay:{path.name}#COLUMN"
        )
    return f"{path} line {cells.line(place)}: {shown!r} is no instant; {cure}"


def _doubt_seconds(
    values: "NDArray[Any]", instants_s: "NDArray[np.float64]", path: Path, name: str
) -> None:
    """Ask for the unit of numbers that are plausible in another unit, and not as seconds."""
    import numpy as np

    first = float(values[0])
    for unit, factor in _UNITS_S.items():
        if unit != "s" and _EPOCH_S[0] <= first * factor <= _EPOCH_S[1]:
            raise UsageError(
                f"the instants of {path} begin with {first:.6g}, which as seconds is beyond our "
                f"time and as {unit} is a date of it; write replay:{path.name}#{name}:{unit}, or "
                f"#{name}:s if they are seconds"
            )
    rate_hz = (len(values) - 1) / float(instants_s[-1])
    gaps_s = np.diff(instants_s)
    usual_s = float(np.median(gaps_s[gaps_s > 0]))
    whole = bool((values == np.round(values)).all())
    slow = usual_s >= _LONG_GAP_S or (whole and rate_hz < _SLOW_HZ and len(values) >= _MANY)
    if slow or rate_hz > _FAST_HZ:
        units = f"replay:{path.name}#{name}:ms, :us or :ns" if slow else "them in s"
        raise UsageError(
            f"as seconds, the {len(values)} requests of {path} come at {rate_hz:.3g} requests/s, "
            f"{usual_s:.3g} s apart in the median; write {units} if that is another unit, or "
            f"replay:{path.name}#{name}:s if they are seconds"
        )


def _of_order(back: int, path: Path) -> list[str]:
    if not back:
        return []
    times = "once" if back == 1 else f"{back} times"
    return [f"The instants of {path.name} go back {times}; they were sorted."]


def _of_equals(instants_s: "NDArray[np.float64]", path: Path) -> list[str]:
    """Say where a coarse clock makes requests come at once that did not."""
    import numpy as np

    share = float(np.mean(np.diff(instants_s) == 0))
    whole = bool((instants_s == np.round(instants_s)).all())
    if not whole or share < _MANY_AT_ONCE:
        return []
    coarse = (
        f"{path.name} has whole seconds: {share:.0%} of the requests come at the instant of the "
        "one before, in bursts that the traffic itself may not have had."
    )
    return [coarse]


def _text(path: Path) -> str:
    try:
        with open_regular(followed(path)) as file:
            data = _unpacked(file)
    except FileNotFoundError as error:
        raise UsageError(
            f"cannot read arrivals from {path}: {error.strerror}; name a text file"
        ) from None
    except FileError as error:
        raise UsageError(f"cannot read arrivals: {error}") from error
    except (OSError, EOFError, lzma.LZMAError) as error:
        raise UsageError(
            f"cannot read arrivals from {path}: it is damaged ({error}); copy it again"
        ) from error
    if len(data) > LARGEST_BYTES:
        raise UsageError(
            f"{path} is larger than {LARGEST_BYTES / 1e6:g} MB, the most that is read of a "
            "recording; keep the column of the instants alone, or fewer hours"
        )
    try:
        return data.decode(_BYTE_ORDER_MARKS.get(data[:2], "utf-8-sig"))
    except UnicodeDecodeError:
        raise UsageError(
            f"cannot read arrivals from {path}: it is not UTF-8 text; name a text file"
        ) from None


def _unpacked(file: BinaryIO) -> bytes:
    """Read a file, decompressed, and no more than a byte beyond the limit."""
    start = file.read(max(map(len, _PACKED)))
    file.seek(0)
    opened = next((make(file) for magic, make in _PACKED.items() if start.startswith(magic)), file)
    with opened:
        return opened.read(LARGEST_BYTES + 1)
