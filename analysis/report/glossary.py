"""The terms of reports and help texts; `docs/glossary.md` is their source."""

import re
from importlib.resources import files

_ROW = re.compile(r"\| (?!word |--)(.+?) \| (.+) \|")


def glossary() -> dict[str, str]:
    """Return the meaning of each term, as text in which code stands between backticks."""
    page = (files("greenbatch.analysis.report") / "assets" / "glossary.md").read_text("utf-8")
    return dict(_ROW.findall(page))
