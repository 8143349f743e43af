"""The commands of ``gb``: a table of names, so that one alone is imported, when it is used."""

import os
from typing import Any, NamedTuple

ABOUT = "Which runtime, precision and batch size costs the least energy per image?"
OPTIONS = {
    "--version": "Show the version.",
    "--glossary": "Explain the terms of the help and of the reports.",
    "--man": "Print the manual page, e.g. for: gb --man | man -l -",
    "--help": "Show this message and exit.",
}
EXIT_CODES = {
    "0": "done",
    "1": "a measured verdict of worse",
    "2": "wrong use",
    "3": "nothing could be measured",
    "4": "part of the repetitions failed",
    "5": "a verdict is not shown either way",
    "128 + n": "signal n ended it",
}
TERMS = "Cell, block, window, domain and other terms: gb --glossary"
_COLUMNS = 80  # from which on no line of the page is too long


class Entry(NamedTuple):
    """A command by name.

    Attributes:
        home: Its function, or its group of commands, as ``module:name`` in this package.
        help: The first line of its help, which ``gb --help`` lists.
        group: The heading of ``gb --help`` that it stands below.
        passes_on: Options after its first argument are not its own.
    """

    home: str
    help: str
    group: str
    passes_on: bool = False

    def load(self, name: str) -> Any:
        """Import the command; return what parses and runs it."""
        from importlib import import_module

        import typer

        from greenbatch.cli.command import Command

        module, attribute = self.home.split(":")
        found = getattr(import_module(f"{__package__}.{module}"), attribute)
        if isinstance(found, typer.Typer):
            return typer.main.get_command(found)
        alone = typer.Typer(add_completion=False, rich_markup_mode=None)
        alone.command(
            name,
            cls=Command,
            context_settings={"allow_interspersed_args": not self.passes_on},
        )(found)
        return typer.main.get_command(alone)


COMMANDS = {  # in the order of use
    "doctor": Entry(
        "doctor:doctor", "Report what can be measured on this machine, and what cannot.", "Machine"
    ),
    "bench": Entry("bench:bench", "Measure energy and latency and write a report.", "Measure"),
    "export": Entry(
        "export:export",
        "Export models to ONNX and verify each artifact against PyTorch.",
        "Measure",
    ),
    "eval": Entry(
        "eval:evaluate", "Measure the accuracy of artifacts on labelled images.", "Measure"
    ),
    "study": Entry("study:study", "List, show and run studies.", "Measure"),
    "fleet": Entry("fleet:fleet", "Measure a study on several machines.", "Measure"),
    "resume": Entry(
        "resume:resume", "Resume an interrupted run; finished repetitions are kept.", "Measure"
    ),
    "train": Entry(
        "train:train", "Train networks, measure each epoch and write a report.", "Measure"
    ),
    "tune": Entry(
        "tune:tune", "Compare hyperparameter searches by accuracy and energy.", "Measure"
    ),
    "meter": Entry(
        "meter:meter",
        "Run a command and measure its energy on this machine.",
        "Measure",
        passes_on=True,
    ),
    "report": Entry("report:report", "Compile a run to dataset.nc and write its report.", "Decide"),
    "recommend": Entry(
        "recommend:recommend",
        "Recommend a backend and a batching policy for a request rate.",
        "Decide",
    ),
    "compare": Entry("compare:compare", "Compare two runs; exit 1 if a cell is worse.", "Decide"),
    "merge": Entry("merge:merge", "Merge compatible runs into one dataset.", "Decide"),
    "layers": Entry(
        "layers:layers", "Attribute time and energy to operators and layers.", "Understand"
    ),
    "models": Entry(
        "models:models",
        "List the models with family, year, size and published accuracy.",
        "Understand",
    ),
}


def grouped() -> dict[str, dict[str, str]]:
    """Return the help lines of the commands by group, in the order of use."""
    groups: dict[str, dict[str, str]] = {}
    for name, entry in COMMANDS.items():
        groups.setdefault(entry.group, {})[name] = entry.help
    return groups


def front_page() -> str | None:
    """Return what ``gb --help`` prints, made without Typer, whose import takes 0.1 s and more.

    ``None``: lines must be wrapped, and Typer is to do it.
    """
    if _columns() < _COLUMNS:
        return None
    lines = ["Usage: gb [OPTIONS] COMMAND [ARGS]...", "", f"  {ABOUT}"]
    for title, entries in {"Options": OPTIONS, **grouped()}.items():
        width = max(map(len, OPTIONS if title == "Options" else COMMANDS))
        lines += ["", f"{title}:", *(f"  {n:{width}}  {text}" for n, text in entries.items())]
    return "\n".join([*lines, "", f"  {TERMS}", ""])


def _columns() -> int:
    """Return the width of the terminal, as `shutil.get_terminal_size` finds it."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return int(columns)
    try:
        return os.get_terminal_size(1).columns or _COLUMNS
    except OSError:
        return _COLUMNS
