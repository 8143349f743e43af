"""A report's own text, to be searched."""

from pathlib import Path


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
