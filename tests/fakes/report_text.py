"""A report's own text and data, to be searched."""

import json
import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

_FIGURES = (
    "greenbatch.analysis.report.build.write_figures",
    "greenbatch.analysis.training.report.build.write_training_figures",
    "greenbatch.analysis.training.report.overview.write_training_figures",
)


def without_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the figures on paper, which take most of a report's time."""
    for name in _FIGURES:
        monkeypatch.setattr(name, lambda *_: [])


def own(page: Path) -> str:
    """The page without plotly's own source, which names addresses it never asks for here."""
    text = page.read_text()
    start = text.index('<script id="plotly" type="text/plain">')
    return text[:start] + text[text.index("</script>", start) :]


def lines_of(report: Path, title: str) -> list[list[str]]:
    """The lines of a table of the Markdown report, headers and all."""
    text = (report / "report.md").read_text().partition(f"## {title}\n")[2]
    lines = (line for line in text.partition("\n## ")[0].splitlines() if line.startswith("| "))
    return [[entry.strip() for entry in line.strip("|").split("|")] for line in lines]


def words(page: Path) -> str:
    """The page's text as it is read: scripts, styles and tags taken out, spaces as one."""
    text = re.sub(r"<(script|style)\b.*?</\1>", " ", page.read_text(), flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", text)).split())


def facts(page: Path) -> dict[str, Any]:
    """What the page's script draws."""
    found = re.search(r'id="figures">(.*?)</script>', page.read_text(), re.DOTALL)
    assert found
    printed: dict[str, Any] = json.loads(found[1])
    return printed
