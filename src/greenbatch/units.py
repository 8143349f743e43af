"""Conversions at the drivers' edge, and figures as a person reads them.

Inside greenbatch every quantity is SI (J, W, s, bytes) and a name carries its unit.
"""

MICROJOULE_J = 1e-6
MILLIJOULE_J = 1e-3
MILLIWATT_W = 1e-3

_PREFIXES = ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))


def si(value: float | None, unit: str, digits: int = 3) -> str:
    """Write ``value`` with an SI prefix and ``digits`` significant digits; ``None`` is an en dash.

    >>> si(0.01234, "J")
    '12.3 mJ'
    """
    if value is None or value != value:
        return "–"
    if value == 0:
        return f"0 {unit}"
    scale, prefix = next(((s, p) for s, p in _PREFIXES if abs(value) >= s), _PREFIXES[-1])
    mantissa = f"{value / scale:.{digits}g}"
    if "e" in mantissa:
        rounded = float(mantissa)
        if abs(rounded) >= 1000 and scale < _PREFIXES[0][0]:  # 999.6 belongs to the next prefix
            return si(rounded * scale, unit, digits)
        mantissa = f"{rounded:.0f}"  # 234 with two digits
    return f"{mantissa} {prefix}{unit}"


def count(number: int, noun: str, plural: str = "") -> str:
    """Write a number of things; the plural ends in ``s`` unless it is given.

    >>> count(1, "request"), count(0, "request"), count(1200, "entry", "entries")
    ('1 request', '0 requests', '1,200 entries')
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def are(number: int, noun: str, plural: str = "") -> str:
    """Write a number of things as a subject: ``1 file is``, ``2 files are``."""
    return f"{count(number, noun, plural)} {'is' if number == 1 else 'are'}"


_VERBS = {"are": "is", "were": "was", "have": "has"}


def part(number: int, total: int, noun: str, verb: str = "are") -> str:
    """Write some of all things as a subject, which the verb follows in number.

    >>> part(1, 12, "cell", "have"), part(2, 12, "cell"), part(1, 1, "cell", "were")
    ('1 of 12 cells has', '2 of 12 cells are', '1 of 1 cell was')
    """
    verb = _VERBS[verb] if number == 1 else verb
    return f"{number:,} of {count(total, noun)} {verb}"


def duration(seconds: float) -> str:
    """Write a duration for a person: ``48 s``, ``3 min 05 s``, ``2 h 10 min``."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
