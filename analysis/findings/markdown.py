"""Text within Markdown: what a user named stays text.

Names, reasons and paths come from files that anybody may have written, and reports are pasted into
pull requests. Nothing in them may become a link, an image, HTML, emphasis, code, mathematics or a
block of its own. Characters that do nothing where they stand are left as they are, so that
``shufflenet_v2_x0_5`` reads as it is called.
"""

import re

from greenbatch.plain_text import visible

_BREAK = re.compile(r"\s*[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+\s*")
_ENTITY = re.compile(r"&(?=#?\w+;)")
_ALWAYS = re.compile(r"[\\`*~|$\[\]]")
_UNDERSCORES = re.compile(r"(?<!\w)_++|(?<=[^\W_])_++(?![^\W_])")  # within a word they are letters
_BLOCK = re.compile(r"^(\s*)(?:(>|[-+=](?=[-+=\s]|$))|(\d+)([.)])(?=\s|$))")
_MENTION = re.compile(r"(?<!\w)@(?=\w)")
_NUMBER = re.compile(r"(?<!\S)#")  # of an issue; a heading's, and those that may end it
_ADDRESS = re.compile(r"(?<=\w)://|(?<!\w)(www)\.(?=\w)", re.IGNORECASE)


class Markdown(str):
    """Text that is Markdown already, and is written as it is."""

    __slots__ = ()


def escape(text: str) -> Markdown:
    """Write text so that Markdown shows it as it is, on one line.

    Args:
        text: Whatever; what is `Markdown` already is returned as it is.
    """
    if isinstance(text, Markdown):
        return text
    plain = visible(_BREAK.sub(" ", re.sub(r"^\s+", " ", text)))
    plain = _ALWAYS.sub(r"\\\g<0>", plain)
    plain = _UNDERSCORES.sub(lambda run: r"\_" * len(run[0]), plain)
    plain = _BLOCK.sub(_as_text, plain)
    plain = _NUMBER.sub(r"\#", plain)
    plain = _ADDRESS.sub(_no_link, plain)
    plain = _ENTITY.sub("&amp;", plain).replace("<", "&lt;")
    return Markdown(_MENTION.sub("&#64;", plain))


def finalize(value: object) -> object:
    """Escape what an expression of a Markdown template gives; for Jinja."""
    return escape(value) if isinstance(value, str) else value


def _as_text(begin: re.Match[str]) -> str:
    """Take from a line's begin what would make a heading, a quotation, a rule or a list of it."""
    blank, mark, number, point = begin.groups()
    return f"{blank}\\{mark}" if mark else f"{blank}{number}\\{point}"


def _no_link(address: re.Match[str]) -> str:
    return f"{address[1]}\\." if address[1] else r":\//"
