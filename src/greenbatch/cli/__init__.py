"""The ``gb`` command: a file per command, and here what they share."""

import os
import signal
import sys
import warnings
from collections.abc import Callable
from typing import Annotated, Any

import typer
import typer.core

from greenbatch.cli import (
    bench,
    compare,
    doctor,
    eval,
    export,
    layers,
    merge,
    meter,
    models,
    recommend,
    report,
    resume,
    study,
    train,
    tune,
)
from greenbatch.cli.command import Command
from greenbatch.cli.output.printing import note
from greenbatch.cli.signals import BY_SIGNAL, interrupted_by_signals
from greenbatch.errors import FileError, GreenbatchError
from greenbatch.files import disk_error, sentence

# Typer has click inside or beside it, by its version; this base class is the same in both.
_USAGE_ERROR: Any = typer.BadParameter.__bases__[0]


class _Commands(typer.core.TyperGroup):
    """Lets an interruption through to `main`; Typer would make an exit code of it, unsaid."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as stop:  # a command may have said in it what is kept
            raise typer.Abort(*stop.args) from stop


app = typer.Typer(
    cls=_Commands,
    name="gb",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # plain help: it is there at once
    pretty_exceptions_enable=False,
    help="Which runtime, precision and batch size costs the least energy per image?",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        import greenbatch

        typer.echo(f"greenbatch {greenbatch.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Hold the options that stand before a command."""


_COMMANDS: dict[str, Callable[..., Any]] = {
    "models": models.models,
    "export": export.export,
    "eval": eval.evaluate,
    "bench": bench.bench,
    "resume": resume.resume,
    "report": report.report,
    "compare": compare.compare,
    "merge": merge.merge,
    "recommend": recommend.recommend,
    "layers": layers.layers,
    "tune": tune.tune,
    "train": train.train,
}
for _name, _function in _COMMANDS.items():
    app.command(_name, cls=Command)(_function)
app.add_typer(study.study, name="study")
app.command("meter", cls=Command, context_settings={"allow_interspersed_args": False})(meter.meter)
app.command("doctor", cls=Command)(doctor.doctor)


def main(arguments: list[str] | None = None) -> None:
    """Run the command and exit.

    0: done. 1: a measured verdict of worse. 2: wrong use. 3: nothing could be measured. 128 + n:
    signal n ended it.
    """
    with interrupted_by_signals() as received:
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _show_warning
                code = app(args=arguments, prog_name="gb", standalone_mode=False)
                sys.stdout.flush()
        except GreenbatchError as error:
            note(str(error))
            sys.exit(error.exit_code)
        except _USAGE_ERROR as error:
            note(f"{error.format_message().rstrip('.')}; see 'gb --help'")
            sys.exit(2)
        except (KeyboardInterrupt, typer.Abort) as stop:
            note("; ".join(["interrupted", *map(str, stop.args)]))
            sys.exit(BY_SIGNAL + (received or [signal.SIGINT])[0])
        except Exception as error:  # a full disk that nothing else reported; all else is a fault
            _exit_for_disk(error)
            raise
        sys.exit(code or 0)


def _exit_for_disk(error: Exception) -> None:
    """Exit with one sentence, if a disk that is full, read-only or faulty is the cause."""
    if found := disk_error(error):
        note(sentence(found, found.filename or "the output"))
        try:
            sys.stdout.flush()
        except OSError:  # what is left in its buffer would be tried, and complained of, at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FileError.exit_code)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    note(f"warning: {message}")
