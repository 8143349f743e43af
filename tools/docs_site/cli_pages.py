"""The reference of the commands, from the commands themselves."""

from collections.abc import Iterator
from typing import Any

import typer

from greenbatch.cli.commands import COMMANDS


def cli_page() -> str:
    """Return the page of all commands, in Markdown."""
    lines = ["# Commands and options", "", "Made from the commands. `gb COMMAND --help` prints it."]
    for name, entry in COMMANDS.items():
        lines += ["", *_command(f"gb {name}", entry.load(name), level=2)]
    return "\n".join(lines) + "\n"


def _command(title: str, command: Any, level: int) -> Iterator[str]:
    yield f"{'#' * level} {title}"
    yield ""
    yield from _paragraphs(command.help or "")
    members = getattr(command, "commands", None)
    if members:
        for name, member in members.items():
            yield ""
            yield from _command(f"{title} {name}", member, level + 1)
        return
    context = typer.Context(command, info_name=title)
    pieces = [piece for p in command.params for piece in p.get_usage_pieces(context)]
    yield from ("```text", " ".join([title, "[OPTIONS]", *pieces]), "```", "")
    for kind in ("argument", "option"):
        records = [
            record
            for parameter in command.params
            if parameter.param_type_name == kind and (record := parameter.get_help_record(context))
        ]
        if records:
            yield from (f"| {kind} | |", "|---|---|")
            for names, text in records:
                yield f"| `{_cell(names)}` | {_cell(text)} |"
            yield ""


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        yield " ".join(paragraph.split())
        yield ""


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|")
