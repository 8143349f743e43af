"""What every page is made of: templates rendered, files written whole or not at all."""

import json
import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.analysis.findings.markdown import finalize
from greenbatch.analysis.findings.wording import Table
from greenbatch.analysis.report.charts.charts import Style
from greenbatch.analysis.report.charts.palette import THEMES
from greenbatch.analysis.report.glossary import glossary
from greenbatch.analysis.report.page import Section
from greenbatch.analysis.report.tables.latex import latex
from greenbatch.errors import FileError, RunError
from greenbatch.files import (
    make_folder,
    remove_old_drafts,
    require_plain,
    sentence,
    write_atomically,
)

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

_BEFORE_UNIT = re.compile(r"(?<=\d) (?=%|°C|[nµmkMG]?(?:J|W|Wh|s|B|Hz)\b)")


@contextmanager
def written_into(folder: Path, *inside: str) -> Iterator[None]:
    """Make the folder of a report with the folders inside it; say what is there if that fails.

    Raises:
        FileError: A link, or anything but files and folders, is in it.
        RunError: It cannot be written.
    """
    page = folder / "index.html"
    if folder.is_dir() and not folder.is_symlink():
        require_plain(folder)
    try:
        for name in ("", *inside):
            make_folder(folder / name)
            remove_old_drafts(folder / name)
        yield
    except (FileError, OSError) as error:
        if isinstance(error, FileNotFoundError) and not _is_in(error.filename, folder):
            raise  # a file of the package: the installation is damaged
        there = "is that of an earlier report" if page.exists() else "is not written"
        raise RunError(
            f"{sentence(error, folder)}, or copy the run, and write the report again: {page} "
            f"{there}, and tables and figures beside it may be newer"
        ) from error


def _is_in(file: str | None, folder: Path) -> bool:
    return file is None or Path(file).absolute().is_relative_to(folder.absolute())


def write_latex(folder: Path, tables: Sequence[Table]) -> None:
    """Write each table that has rows; one of an earlier report does not outlive it."""
    for table in tables:
        path = folder / f"{table.name}.tex"
        if table.rows:
            write_atomically(path, latex(table))
        else:
            path.unlink(missing_ok=True)


@dataclass(frozen=True, slots=True)
class Scripts:
    """What a page's program reads: plotly, empty where nothing is drawn, and the charts as JSON."""

    plotly: str
    facts: str


def scripts(sections: Sequence[Section], styles: Sequence[Style]) -> Scripts:
    """Gather what the charts of a page are drawn with."""
    charts = {chart.name: chart.facts for section in sections for chart in section.charts}
    facts = {"charts": charts, "styles": [asdict(style) for style in styles], "themes": THEMES}
    # Inside a script element only '<' can end it or begin a comment; JSON may spell it so.
    text = json.dumps(facts, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")
    plotly = files("greenbatch.analysis.report") / "assets" / "plotly-basic.min.js"
    return Scripts(plotly.read_text(encoding="utf-8") if charts else "", text)


def render(template: str, **chapters: object) -> str:
    """Fill in a template of ``templates/``; what a user named stays text.

    Args:
        template: Its file's name.
        chapters: What it shows, by the names that it uses.
    """
    return environment(template.endswith(".html.j2")).get_template(template).render(chapters)


def environment(html: bool) -> "Environment":
    """Return Jinja as the templates need it: a name that is not there is an error.

    Args:
        html: Whether a page is written; else Markdown.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    found = Environment(
        loader=PackageLoader("greenbatch.analysis.report"),
        autoescape=html,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_with_units if html else finalize,
    )
    found.globals |= {"policy": _policy, "themes": THEMES, "glossary": glossary}
    return found


def _with_units(value: object) -> object:
    """Keep a number and its unit in one line of a page; scripts and other markup stay as is."""
    return _BEFORE_UNIT.sub("\N{NO-BREAK SPACE}", value) if type(value) is str else value


def _policy(*scripts: str) -> "Markup":
    """Return what a page may load: nothing from elsewhere, and of scripts those of its own alone.

    A script that somebody gets into the page by a fault of escaping does not run.

    Args:
        scripts: The text of each, exactly as it stands in the page.
    """
    from markupsafe import Markup

    hashes = (b64encode(sha256(str(script).encode()).digest()).decode() for script in scripts)
    own = " ".join(f"'sha256-{text}'" for text in hashes) or "'none'"
    return Markup(
        f"default-src 'none'; script-src {own}; style-src 'unsafe-inline'; "
        "img-src data: blob:; font-src data:; base-uri 'none'; form-action 'none'"
    )
