"""What every page is made of: templates rendered, files written whole or not at all."""

import json
import os
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from greenbatch.analysis.latex_tables import latex
from greenbatch.analysis.text_tables import Table


def write_latex(folder: Path, tables: Sequence[Table]) -> None:
    """Write each table that has rows; one of an earlier report does not outlive it."""
    for table in tables:
        path = folder / f"{table.name}.tex"
        if table.rows:
            write_text(path, latex(table))
        else:
            path.unlink(missing_ok=True)


def scripts(page: Mapping[str, Any]) -> dict[str, str]:
    """Return what the page's scripts read: plotly, and the charts as JSON."""
    charts = {c.name: c.facts for section in page["sections"] for c in section.charts}
    facts = {"charts": charts, "styles": page["styles"], "themes": page["themes"]}
    # Inside a script element only '<' can end it or begin a comment; JSON may spell it so.
    text = json.dumps(facts, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    plotly = files("greenbatch.analysis") / "assets" / "plotly-basic.min.js"
    return {
        "plotly_js": plotly.read_text(encoding="utf-8") if charts else "",
        "figures_json": text,
    }


def render(template: str, facts: Mapping[str, Any]) -> str:
    """Fill in a template of ``templates/``; what a user named stays text."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    page = template.endswith(".html.j2")
    environment = Environment(
        loader=PackageLoader("greenbatch.analysis"),
        autoescape=page,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=None if page else _no_tags,
    )
    return environment.get_template(template).render(facts)


def _no_tags(value: Any) -> Any:
    """Markdown lets HTML through: a name from a user is text."""
    return value.replace("<", "&lt;") if isinstance(value, str) else value


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
