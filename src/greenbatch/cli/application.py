"""What parses a line of ``gb``, runs its command and ends the process."""

import errno
import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.models import OptionInfo

from greenbatch.cli.command import Group
from greenbatch.cli.commands import ABOUT, COMMANDS, OPTIONS, TERMS, grouped
from greenbatch.cli.output.printing import ClosedOutput, abandon, echo, note
from greenbatch.cli.signals import BY_SIGNAL, interrupted_by_signals
from greenbatch.errors import FileError, GreenbatchError

# Typer has click inside or beside it, by its version; this base class is the same in both.
_USAGE_ERROR: Any = typer.BadParameter.__bases__[0]
_NO_ARGUMENTS: type[Exception] = next(
    one for one in _USAGE_ERROR.__subclasses__() if one.__name__ == "NoArgsIsHelpError"
)


class _Commands(Group):
    """Imports the command that is named, and no other.

    Lets an interruption through to `main`; Typer would make an exit code of it, unsaid. A file
    that ended early is a fault of gb; Typer would call it an interruption.
    """

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Put the command in place of what stands for it."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, COMMANDS[str(name)].load(str(name)), rest

    def format_commands(self, ctx: object, formatter: Any) -> None:
        """List the commands below the headings of their groups, each with its whole line."""
        width = max(map(len, COMMANDS))
        for group, members in grouped().items():
            with formatter.section(group):
                formatter.write_dl([(name.ljust(width), text) for name, text in members.items()])

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:  # a command may have said in it what is kept
            raise typer.Abort(*stop.args) from stop
        except EOFError as error:
            raise RuntimeError("a file or a stream ended early") from error


app = typer.Typer(
    cls=_Commands,
    name="gb",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help: it is there at once
    pretty_exceptions_enable=False,
    help=ABOUT,
    epilog=TERMS,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        import greenbatch

        typer.echo(f"greenbatch {greenbatch.__version__}")
        raise typer.Exit


def _print_man(wanted: bool) -> None:
    if wanted:
        from greenbatch.cli.man_page import man_page

        typer.echo(man_page(), nl=False)
        raise typer.Exit


def _print_glossary(wanted: bool) -> None:
    if wanted:
        from greenbatch.cli.output.glossary import print_glossary

        print_glossary()
        raise typer.Exit


def _eager(name: str, act: Callable[[bool], None]) -> OptionInfo:
    option: OptionInfo = typer.Option(name, callback=act, is_eager=True, help=OPTIONS[name])
    return option


@app.callback()
def _options(
    version: Annotated[bool, _eager("--version", _print_version)] = False,
    glossary: Annotated[bool, _eager("--glossary", _print_glossary)] = False,
    man: Annotated[bool, _eager("--man", _print_man)] = False,
) -> None:
    """Hold the options that stand before a command."""


def _unused() -> None:
    """Stand for a command until it is named."""


for _name, _entry in COMMANDS.items():
    app.command(_name, help=_entry.help)(_unused)


def run(arguments: list[str]) -> None:
    """Run the command that a line names, and exit; see `greenbatch.cli.main`."""
    sys.stdout = sys.stdout or ClosedOutput()
    if "_GB_COMPLETE" in os.environ:  # a shell asks for completions: it alone needs this module
        from typer.completion import completion_init  # type: ignore[attr-defined]

        completion_init()
    with interrupted_by_signals() as received:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                code = app(args=arguments, prog_name="gb", standalone_mode=False)
                sys.stdout.flush()
        except GreenbatchError as error:
            note(str(error))
            sys.exit(error.exit_code)
        except _NO_ARGUMENTS as error:  # its message is the help
            echo(*str(error).splitlines(), error=True)
            sys.exit(2)
        except _USAGE_ERROR as error:
            note(f"{error.format_message().rstrip('.')}; see 'gb --help'")
            sys.exit(2)
        except (KeyboardInterrupt, typer.Abort) as stop:
            note("; ".join(["interrupted", *map(str, stop.args)]))
            sys.exit(BY_SIGNAL + (received or [signal.SIGINT])[0])
        except Exception as error:  # a full disk that nothing else reported; all else is a fault
            _exit_for_package(error)
            _exit_for_disk(error)
            raise
        sys.exit(code or 0)


def _exit_for_package(error: Exception) -> None:
    """Exit with one sentence, if a package that an extra brings is not installed."""
    from greenbatch.errors import MissingPackage
    from greenbatch.extras import explain

    if sentence := explain(error):
        note(sentence)
        sys.exit(MissingPackage.exit_code)


def _exit_for_disk(error: Exception) -> None:
    """Exit with one sentence, if a disk that is full, read-only or faulty is the cause.

    Or an output that is closed, or that nobody reads any more.
    """
    from greenbatch.files import disk_error, sentence

    found = error if isinstance(error, OSError) and _output_ended(error) else disk_error(error)
    if found:
        note(sentence(found, found.filename or "the output"))
        try:
            sys.stdout.flush()
        except OSError:
            abandon(sys.stdout)
        sys.exit(FileError.exit_code)


def _output_ended(error: OSError) -> bool:
    """Return whether an error is that of an output which is closed, or which nobody reads."""
    if error.errno != errno.EBADF:
        return error.errno == errno.EPIPE
    try:
        os.fstat(1)
    except OSError:
        return True
    return False  # another file, whose fault is to be seen


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    note(f"warning: {message}")
