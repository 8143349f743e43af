"""The one form of the names that files are called by: of models, backends and artifacts."""

import re
from functools import lru_cache

MOST_CHARACTERS = 128

_FORM = re.compile(rf"[A-Za-z0-9_][A-Za-z0-9_.+@-]{{0,{MOST_CHARACTERS - 1}}}")


def check_name(kind: str, name: str) -> str:
    """Return a name if it has the form that names have.

    It is then a single part of a path on every system, no option of a command, and no text that
    acts on a terminal, a page or a spreadsheet.

    Args:
        kind: What it names, for the message.
        name: The name.

    Raises:
        ValueError: It has another form.
    """
    if not _has_form(name):
        shown = name if len(name) <= MOST_CHARACTERS else f"{name[:MOST_CHARACTERS]}..."
        raise ValueError(
            f"the {kind}'s name {shown!r} is unfit for files; use up to {MOST_CHARACTERS} of A-Z, "
            "a-z, 0-9, '_', '.', '+', '@' and '-', beginning with a letter, a digit or '_'"
        )
    return name


@lru_cache(maxsize=4096)  # each line of a journal has the same few
def _has_form(name: str) -> bool:
    return _FORM.fullmatch(name) is not None
