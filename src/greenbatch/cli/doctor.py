"""``gb doctor``: the machine on one page, what can be measured on it, and what mends the rest."""

import json
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from greenbatch import units
from greenbatch.cli.output.printing import echo
from greenbatch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from greenbatch.runners.doctor.permissions import Remedy

_NOTHING = 3  # the exit code


def doctor(
    quick: Annotated[
        bool,
        typer.Option("--quick", help="Leave out the trials of the backends; they take a minute."),
    ] = False,
    fix_permissions: Annotated[
        bool,
        typer.Option(
            "--fix-permissions",
            help="Show the commands that let a group read the RAPL counters without root.",
        ),
    ] = False,
    apply: Annotated[
        bool, typer.Option("--apply", help="Run the commands of --fix-permissions (requires root).")
    ] = False,
    group: Annotated[
        str | None,
        typer.Option(help="Group for --fix-permissions. Default: greenbatch."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Report what can be measured on this machine, and what cannot.

    The first line is the verdict. The page gives the reason for each missing meter or backend, the
    command that fixes it, and the disturbances at this moment.
    """
    if fix_permissions:
        _fix(group, apply, as_json)
        return
    if apply or group is not None:
        option = "--apply" if apply else "--group"
        raise UsageError(f"{option} needs --fix-permissions; add it, or remove {option}")
    from greenbatch.cli.output.doctor import show
    from greenbatch.runners.doctor import examine

    with _steps() as on_step:
        diagnosis = examine(on_step, () if quick else None)
    if as_json:
        typer.echo(json.dumps(diagnosis.as_data(), indent=2))
    else:
        show(diagnosis)
    if diagnosis.measurable is False:
        raise typer.Exit(_NOTHING)


@contextmanager
def _steps() -> Iterator["Callable[[str], None]"]:
    """Show on a terminal's standard error what is being looked at."""
    from rich.text import Text

    from greenbatch.cli.output.console import TextConsole

    console = TextConsole(stderr=True)
    if not console.is_terminal:
        yield lambda sentence: None
        return
    with console.status("") as status:
        yield lambda sentence: status.update(Text(sentence))


def _fix(group: str | None, apply: bool, as_json: bool) -> None:
    from greenbatch.runners.doctor import permissions

    # Of this machine's own /sys, whatever GB_SYSFS says: root changes no file that is named there.
    remedy = permissions.plan(group or permissions.GROUP, user=permissions.calling_user())
    if apply:
        permissions.apply(remedy)
    if as_json:
        data: dict[str, object] = {"schema_version": 1, "applied": apply, **asdict(remedy)}
        typer.echo(json.dumps(data, indent=2, default=str))
    else:
        echo(*([_applied(remedy)] if apply else _proposed(remedy)))


def _proposed(remedy: "Remedy") -> list[str]:
    from greenbatch.runners.doctor.permissions import MODE, PROTECTION, WHY_UDEV, sudo_line

    return [
        PROTECTION,
        "",
        f"This lets the group '{remedy.group}' read them, and nobody else:",
        "",
        *(f"  {' '.join(command)}" for command in remedy.commands),
        f"  write {remedy.rule_path}:",
        "",
        *textwrap.indent(remedy.rule, "    ").rstrip("\n").splitlines(),
        "",
        *(f"  root:{remedy.group} {MODE:04o} {path}" for path in remedy.counters),
        *([] if remedy.counters else ["  (no counter is here now; the rule waits for one)"]),
        "",
        WHY_UDEV,
        "",
        "Nothing was changed. To do it, run:",
        f"  {sudo_line(remedy.group)}",
    ]


def _applied(remedy: "Remedy") -> str:
    opened = units.count(len(remedy.counters), "counter")
    return (
        f"wrote {remedy.rule_path}, and opened {opened} to the group '{remedy.group}'; "
        "a new member must log in again before it takes effect"
    )
