"""Text that comes from a file, shown as the characters that it has."""

import re
from typing import Any

_HIDDEN = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # control characters: they colour, move the cursor, begin lines
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # they turn the direction of what follows
    "\u2028\u2029"  # they separate lines and paragraphs
    "\ud800-\udfff"  # bytes of a file's name that are not UTF-8: they cannot be encoded
    "]"
)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def visible(text: str) -> str:
    r"""Return text on one line with every control character written as its escape: ``\x1b``.

    What a terminal, an editor or a reader would act on instead of showing it: control characters,
    line breaks among them, marks that turn the direction of reading, and lone surrogates.
    """
    return _HIDDEN.sub(_escape, text)


def one_line(text: str) -> str:
    """Return text with its line breaks as spaces, and else as `visible` does.

    For sentences of other libraries, which may be broken into lines.
    """
    return visible(" ".join(part for line in text.splitlines() if (part := line.strip())))


def storable(value: Any) -> Any:
    """Return what JSON or YAML holds with every text in it such that a file can hold it.

    NUL and lone surrogates are written as their escapes: netCDF has no way to store the one, and
    UTF-8 none for the others.

    Args:
        value: A text, number, ``None``, or lists and mappings of such.
    """
    if isinstance(value, str):
        return _UNSTORABLE.sub(_escape, value)
    if isinstance(value, dict):
        return {storable(key): storable(each) for key, each in value.items()}
    return [storable(each) for each in value] if isinstance(value, list) else value


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")
