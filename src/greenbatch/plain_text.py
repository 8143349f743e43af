"""Text that comes from a file, shown as the characters that it has."""

import re

_HIDDEN = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # control characters: they colour, move the cursor, begin lines
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # they turn the direction of what follows
    "\u2028\u2029"  # they separate lines and paragraphs
    "\ud800-\udfff"  # bytes of a file's name that are not UTF-8: they cannot be encoded
    "]"
)


def visible(text: str) -> str:
    r"""Return text on one line with every control character written as its escape: ``\x1b``.

    What a terminal, an editor or a reader would act on instead of showing it: control characters,
    line breaks among them, marks that turn the direction of reading, and lone surrogates.
    """
    return _HIDDEN.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), text)


def one_line(text: str) -> str:
    """Return text with its line breaks as spaces, and else as `visible` does.

    For sentences of other libraries, which may be broken into lines.
    """
    return visible(" ".join(part for line in text.splitlines() if (part := line.strip())))
