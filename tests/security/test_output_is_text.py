"""What comes from files is text on the terminal, in Markdown and on pages: nothing in it acts."""

import json
import re
import warnings
from base64 import b64encode
from collections.abc import Iterator
from hashlib import sha256
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.table import Table
from rich.text import Text

from greenbatch.analysis import write_report
from greenbatch.analysis.findings.markdown import Markdown, escape
from greenbatch.analysis.training.report.findings import (
    Findings,
    TrainingFindings,
    TrainingReport,
)
from greenbatch.cli import main
from greenbatch.cli.output import printing
from greenbatch.cli.output.console import TextConsole
from greenbatch.cli.output.layers import LayersPage
from greenbatch.cli.output.progress import Display
from greenbatch.plain_text import one_line, visible
from greenbatch.records import Cell
from greenbatch.runners.run.execute import Progress
from greenbatch.runners.scheduling.order import Slot
from tests.fakes import runs, training_runs

ACTING = (
    "\x1b]0;owned\x07\x1b[31m\x9b2J[a][/x][red]:smile:\u202egnp\u2066\u2028\r\x7f\x00\nforged: x"
)
MARKS = (
    "![p](http://t.example/p.png) [a](javascript:alert(1)) <img src=x> <http://u.example> "
    "*em* __strong__ `code` ~~gone~~ &lt; https://bare.example www.bare.example @somebody #1 "
    "$\\frac{1}{2}$ |cell| [ref] \\"
)
STARTS = (
    "# heading",
    "> quotation",
    "- item",
    "+ item",
    "* item",
    "1. item",
    "2) item",
    "---",
    "===",
    "***",
    "___",
    "~~~",
    "```",
    "    code",
    "\tcode",
    "[ref]: http://t.example",
    "| a | b |",
    "<div>",
    "",
    "\n\n# heading",
    "a\n---\n",
    "a\n\n    code",
)
ACTS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069]")


pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_figures")]


def said(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """Return all that a command prints, standard error behind standard output."""
    with pytest.raises(SystemExit):
        main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return captured.out + captured.err


@given(st.text())
def test_the_filter_leaves_one_line_of_characters_that_are_shown(text: str) -> None:
    for shown in (visible(text), one_line(text)):
        assert not ACTS.search(shown)
        assert len(shown.splitlines()) <= 1
        shown.encode()
    assert visible(visible(text)) == visible(text)


def test_the_filter_names_what_it_hides_and_leaves_other_text_alone() -> None:
    assert visible("a\x1b[31m\n\u202eb\udce9") == "a\\x1b[31m\\n\\u202eb\\udce9"
    assert one_line(" a\r\n  b\n\nc ") == "a b c"
    for text in ("12.3 mJ ± 1.2 %", "模型 ä é", "👩‍🔬", "shufflenet_v2_x0_5"):
        assert visible(text) == text


def test_no_command_lets_a_run_act_on_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs.hostile_run(tmp_path / "run", ACTING)
    other = runs.hostile_run(tmp_path / "other", ACTING, fails=False)
    trained = training_runs.plain_run(
        tmp_path / "trained", data=f"folder:{ACTING}", blocks=2, study_members={"name": ACTING}
    )
    merged = tmp_path / "merged.nc"
    for arguments in (
        ("report", run),
        ("report", trained),
        ("compare", run, run),
        ("compare", run, other),
        ("compare", run, other, "--markdown"),
        ("compare", run, other, "--json"),
        ("recommend", run, "--rate", 5),
        ("merge", run, run, "--out", merged, "--apart"),
        ("report", merged),
        ("study", "show", run / "study.yaml"),
        ("bench", "--study", run / "study.yaml", "--dry-run"),
        ("report", tmp_path / ACTING.replace("\0", "").replace("/", "")),
        ("export", ACTING),
        ("meter", "--", ACTING),
    ):
        printed = said(capsys, *arguments)
        assert printed, arguments
        assert not ACTS.search(printed), arguments
        assert not any(line.startswith("forged") for line in printed.splitlines()), arguments


def test_what_looks_like_markup_is_printed_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = runs.hostile_run(tmp_path / "run", "[a]b[/x]:smile:")
    printed = "".join(said(capsys, "report", run).split())
    assert "(mode=[a]b[/x]:smile:)" in printed


def test_a_console_shows_strings_and_texts_in_tables_titles_and_columns_as_text() -> None:
    file = StringIO()
    console = TextConsole(file=file, force_terminal=True, width=500, color_system="truecolor")
    table = Table(title=ACTING, caption=ACTING)
    table.add_column(ACTING, no_wrap=True)
    table.add_row(ACTING)
    table.add_row(Text(ACTING))
    console.print(table)
    console.print(ACTING)
    console.print(Text(ACTING, style="bold"), soft_wrap=True)
    shown = re.sub(r"\x1b\[[\d;]*m", "", file.getvalue())  # Rich's own styles
    assert not ACTS.search(shown)
    assert shown.count("\\x1b[31m\\x9b2J[a][/x][red]:smile:\\u202egnp\\u2066\\u2028") == 7
    assert not any(line.lstrip(" │┃").startswith("forged") for line in shown.splitlines())


def test_warnings_and_notes_stay_on_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    printing.note(f"cannot read {ACTING}")
    printing.echo(ACTING, "second")
    captured = capsys.readouterr()
    assert (captured.err.count("\n"), captured.out.count("\n")) == (1, 2)
    assert not ACTS.search(captured.err + captured.out)


def test_a_warning_of_a_library_is_shown_as_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def warn(*_: object, **__: object) -> TrainingReport:
        warnings.warn(ACTING, stacklevel=1)
        found = TrainingFindings(ACTING, [], [], [], Findings(summary=ACTING), None)
        return TrainingReport(tmp_path, {ACTING: found})

    monkeypatch.setattr("greenbatch.analysis.write_report", warn)
    warnings.simplefilter("always")
    printed = said(capsys, "report", tmp_path)
    assert "gb: warning: " in printed
    assert not ACTS.search(printed)


@pytest.mark.parametrize("terminal", [True, False])
def test_progress_shows_cells_and_reasons_as_text(
    terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if terminal:
        monkeypatch.setenv("FORCE_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "400")
    cell = Cell("alexnet", "torch-cpu", settings=(("mode", ACTING),))
    slot = Slot(cell, 0, 0)
    failed = runs.failed(cell, reason=ACTING)
    with Display() as display:
        display.listener.on_step(ACTING)
        display.listener.on_progress(Progress(1, 2, 1.0, slot, failed))
    styled = re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", capsys.readouterr().err)  # Rich's own
    printed = styled.replace("\r", "") if terminal else styled
    assert "[a][/x][red]" in printed
    assert not ACTS.search(printed)
    assert not any(line.startswith("forged") for line in printed.splitlines())


# Markdown


def tokens(text: str) -> Iterator[Token]:
    """Parse as GitHub does but for bare addresses, which `addresses` looks for."""
    for token in (
        MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).parse(text)
    ):
        yield token
        yield from token.children or ()


def shown(text: str) -> str:
    """What a reader sees."""
    return "".join(t.content for t in tokens(text) if t.type in {"text", "text_special"})


def addresses(text: str) -> list[str]:
    """Bare addresses that GitHub would make links of: written without an escape in them."""
    return re.findall(r"(?<!\w)(?:https?|ftp)://\w+|(?<!\w)www\.\w+", text)


QUIET = {"inline", "paragraph_open", "paragraph_close", "text", "text_special"}


@pytest.mark.parametrize("text", [MARKS, *STARTS, *(start + MARKS for start in STARTS)])
def test_an_escaped_text_is_one_paragraph_that_shows_it(text: str) -> None:
    written = escape(text)
    assert {token.type for token in tokens(written)} <= QUIET
    assert shown(written) == " ".join(text.split())
    assert "\n" not in written
    assert not addresses(written)
    assert escape(written) == written


@given(st.text(alphabet="ab1_*`[]()<>!&#;:/|~$\\-+=.@ \n\t{}\"'"))
def test_no_text_of_marks_is_markdown(text: str) -> None:
    written = escape(text)
    assert {token.type for token in tokens(f"x {written}")} <= QUIET
    assert {token.type for token in tokens(written)} <= QUIET
    table = [token.type for token in tokens(f"| a | b |\n|---|---|\n| {written} | 2 |\n")]
    assert (table.count("tr_open"), table.count("td_open")) == (2, 2)


@pytest.mark.parametrize(
    "text",
    [
        "shufflenet_v2_x0_5",
        "onnxruntime-cpu (allow_spinning=0)",
        "12.3 mJ (6.1 mJ … 25 mJ)",
        "1.24× (1.20 … 1.28)",
        "-5 %",
        "timm_resnet18.a1_in1k",
        "vit@fp16",
        "R&D",
        "2.1 s; it's 'quoted'",
    ],
)
def test_what_does_nothing_is_not_escaped(text: str) -> None:
    assert escape(text) == text


def test_markdown_that_is_meant_passes() -> None:
    assert escape(Markdown("**a**")) == "**a**"


def structure(text: str) -> list[str]:
    """Every token that makes something: headings, links, images, ..., with what images name."""
    return [t.type + str(t.attrs.get("src", "")) for t in tokens(text) if t.type not in QUIET]


@pytest.mark.parametrize("start", ["", "# ", "\n\n> ", "\n- ", "\n```\n"])
def test_a_hostile_run_has_the_same_markdown_as_a_quiet_one(tmp_path: Path, start: str) -> None:
    """But for its words: no link, image, HTML, code, heading or block is added."""
    reports = []
    for name, text in (("quiet", "plain"), ("hostile", start + MARKS)):
        run = runs.hostile_run(tmp_path / name, text)
        write_report(run)
        reports.append((run / "report" / "report.md").read_text())
    quiet, hostile = reports
    assert "somebody" in hostile
    assert structure(hostile) == structure(quiet)
    assert not addresses(hostile)


def test_a_hostile_run_of_trainings_has_the_same_markdown_as_a_quiet_one(tmp_path: Path) -> None:
    reports = []
    for name, text in (("quiet", "plain"), ("hostile", MARKS)):
        run = training_runs.plain_run(
            tmp_path / name,
            data=f"folder:{text}",
            blocks=2,
            study_members={"name": text, "about": text},
        )
        write_report(run)
        reports.append((run / "report" / "report.md").read_text())
    quiet, hostile = reports
    assert "somebody" in hostile
    assert structure(hostile) == structure(quiet)


def test_compare_writes_markdown_by_the_same_rules(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile, quiet = (
        said(
            capsys,
            "compare",
            runs.hostile_run(tmp_path / f"{name}-base", text),
            runs.hostile_run(tmp_path / name, text, fails=False),
            "--markdown",
        )
        for name, text in (("a", MARKS), ("b", "x"))
    )
    assert structure(hostile) == structure(quiet)
    assert "table_open" in structure(hostile)


# Pages


class Page(HTMLParser):
    """Collects a page's policy and its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.policy = ""
        self.scripts: list[tuple[dict[str, Any], str]] = []
        self._within: dict[str, Any] | None = None
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        own = dict(attrs)
        if tag == "meta" and own.get("http-equiv") == "Content-Security-Policy":
            self.policy = own["content"] or ""
        if tag == "script":
            self._within = own
            self.scripts.append((own, ""))

    def handle_endtag(self, tag: str) -> None:
        if tag == "script":
            self._within = None

    def handle_data(self, data: str) -> None:
        if self._within is not None:
            own, text = self.scripts[-1]
            self.scripts[-1] = (own, text + data)


def directives(policy: str) -> dict[str, list[str]]:
    return {name: values for name, *values in (part.split() for part in policy.split(";"))}


@pytest.mark.parametrize("kind", ["inference", "training"])
def test_a_page_runs_its_own_scripts_alone(tmp_path: Path, kind: str) -> None:
    if kind == "inference":
        page = write_report(runs.realistic_run(tmp_path, models=("alexnet",))).page
    else:
        page = write_report(training_runs.plain_run(tmp_path, blocks=2)).page
    read = Page(page.read_text())
    rules = directives(read.policy)
    plotly, figures, program = read.scripts
    assert plotly[0]["id"] == "plotly"
    json.loads(figures[1])
    digests = [b64encode(sha256(s[1].encode()).digest()).decode() for s in (plotly, program)]
    assert rules["script-src"] == [f"'sha256-{digest}'" for digest in digests]
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == ["'none'"]
    assert "unsafe-eval" not in read.policy


def test_a_page_without_scripts_runs_none(tmp_path: Path) -> None:
    parts = [runs.hostile_run(tmp_path / name, name) for name in ("a", "b")]
    page = Page((write_report(parts[0]).page).read_text())
    assert "'unsafe-inline'" not in directives(page.policy)["script-src"]
    from greenbatch.analysis.report.render import render

    layers = LayersPage(
        title="t",
        where="",
        summary="",
        sentences=[],
        charts=[],
        parts=[],
        estimated=False,
        source="",
    )
    empty = render("layers.html.j2", page=layers)
    assert directives(Page(empty).policy)["script-src"] == ["'none'"]
