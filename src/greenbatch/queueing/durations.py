"""Durations as a study file writes them: ``5ms``, ``2s``, or a bare number."""

import math

_UNITS_S = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "min": 60.0}


def seconds(text: str, bare: str) -> float:
    """Read a duration.

    Args:
        text: A number with ``us``, ``ms``, ``s`` or ``min`` behind it, or a number alone.
        bare: The unit of a number alone.

    Returns:
        Seconds; infinite for ``inf``.

    Raises:
        ValueError: It is no duration, or a negative one.
    """
    number = text.strip().rstrip("abcdefghijklmnopqrstuvwxyz")
    unit = text.strip().removeprefix(number)
    if text.strip() == "inf":
        return math.inf
    value = float(number) * _UNITS_S[unit or bare] if (unit or bare) in _UNITS_S else math.nan
    if not value >= 0:
        raise ValueError(f"{text!r} is no duration")
    return value
