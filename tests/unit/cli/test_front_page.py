"""What stands before the commands: the help, the manual page, the glossary."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from greenbatch.cli import main
from greenbatch.cli.application import app
from greenbatch.cli.commands import COMMANDS, front_page
from greenbatch.cli.man_page import man_page

DOCS = Path(__file__).parents[3] / "docs"


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit_:
        main([*arguments])
    captured = capsys.readouterr()
    return int(exit_.value.code or 0), captured.out, captured.err


@pytest.mark.parametrize("columns", [80, 120])
def test_the_help_that_is_made_without_typer_is_typer_s(
    monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    made = CliRunner().invoke(app, ["--help"], prog_name="gb", terminal_width=min(columns, 80))
    assert front_page() == made.output


def test_where_lines_must_be_wrapped_typer_does_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert front_page() is None
    code, out, _ = printed(capsys, "--help")
    assert code == 0
    assert max(map(len, out.splitlines())) <= 60


@pytest.mark.parametrize("arguments", [[], ["study"], ["fleet"]])
def test_without_a_command_the_help_is_printed_line_by_line(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    code, out, errors = printed(capsys, *arguments)
    assert (code, out) == (2, "")
    assert errors.startswith("Usage: gb")
    assert "\n  --help" in errors


def test_the_manual_page_has_every_command_and_option() -> None:
    page = man_page().replace(r"\-", "-")
    for name, entry in COMMANDS.items():
        command = entry.load(name)
        members = getattr(command, "commands", None) or {name: command}
        for each in members.values():
            for option in (opt for p in each.params for opt in p.opts if opt.startswith("--")):
                assert re.search(rf"^\\fB{option}( |\\fR)", page, re.M), (name, option)
    assert "\n.SH GB BENCH\n" in page
    assert "\n\\fB128 + n\\fR\nsignal n ended it\n" in page


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not installed")
def test_troff_finds_nothing_wrong_with_the_manual_page() -> None:
    ran = subprocess.run(
        ["groff", "-man", "-ww", "-K", "utf8", "-T", "utf8"],
        input=man_page(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stderr == ""
    assert "EXIT STATUS" in re.sub("\x1b\\[[0-9;]*m|.\b", "", ran.stdout)


def test_the_glossary_is_that_of_the_docs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = printed(capsys, "--glossary")
    assert code == 0
    rows = [line for line in (DOCS / "glossary.md").read_text().splitlines() if line[:2] == "| "]
    terms = [row.split(" | ")[0][2:] for row in rows[1:]]
    assert terms == [line.split("  ")[0] for line in out.splitlines() if line[:1].strip()]
    assert {"cell", "block", "window", "domain"} <= set(terms)  # those that the help names
