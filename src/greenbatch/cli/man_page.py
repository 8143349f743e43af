"""The manual page of ``gb``, made from its commands."""

from collections.abc import Iterable, Iterator

import typer.core

import greenbatch
from greenbatch.cli.commands import ABOUT, COMMANDS, EXIT_CODES, OPTIONS, TERMS, grouped


def man_page() -> str:
    """Return the page in the macros of man(7)."""
    lines = [
        f'.TH GB 1 "" "greenbatch {_text(greenbatch.__version__)}" "User Commands"',
        ".SH NAME",
        rf"gb \- {_text(ABOUT)}",
        ".SH SYNOPSIS",
        ".B gb",
        r"[\fIOPTIONS\fR] \fICOMMAND\fR [\fIARGUMENTS\fR]",
        ".SH OPTIONS",
        *_entries(OPTIONS.items()),
        ".SH COMMANDS",
    ]
    for group, members in grouped().items():
        lines += [f".SS {_text(group)}", *_entries(members.items())]
    for name, entry in COMMANDS.items():
        lines += [f".SH {_text(f'gb {name}'.upper())}", *_command(f"gb {name}", entry.load(name))]
    lines += [".SH EXIT STATUS", *_entries(EXIT_CODES.items()), ".SH TERMS", _text(TERMS)]
    return "\n".join(lines) + "\n"


def _command(
    title: str, command: "typer.core.TyperCommand | typer.core.TyperGroup"
) -> Iterator[str]:
    context = typer.Context(command, info_name=title)
    members = command.commands if isinstance(command, typer.core.TyperGroup) else {}
    pieces = [piece for p in command.params for piece in p.get_usage_pieces(context)]
    yield rf"\fB{_text(title)}\fR {_text(' '.join(['[OPTIONS]', *pieces]))}"
    for paragraph in (command.help or "").split("\n\n"):
        yield from (".PP", _text(paragraph))
    yield from _entries(filter(None, (p.get_help_record(context) for p in command.params)))
    for name, member in members.items():
        assert isinstance(member, typer.core.TyperCommand)  # groups are not nested
        yield f".SS {_text(f'{title} {name}')}"
        yield from _command(f"{title} {name}", member)


def _entries(entries: Iterable[tuple[str, str]]) -> Iterator[str]:
    for name, text in entries:
        yield from (".TP", rf"\fB{_text(name)}\fR", _text(text))


def _text(text: str) -> str:
    """Return text on one line, with nothing in it that troff acts on."""
    line = " ".join(text.split()).replace("\\", r"\e").replace("-", r"\-")
    return rf"\&{line}" if line.startswith((".", "'")) else line
