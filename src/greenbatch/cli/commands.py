"""The commands of ``gb``: a table of names, so that one alone is imported, when it is used."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer

from greenbatch.cli.command import Command


@dataclass(frozen=True)
class Entry:
    """A command by name.

    Attributes:
        home: Its function, or its group of commands, as ``module:name`` in this package.
        help: The first line of its help, which ``gb --help`` lists.
        passes_on: Options after its first argument are not its own.
    """

    home: str
    help: str
    passes_on: bool = False

    def load(self, name: str) -> Any:
        """Import the command; return what parses and runs it."""
        module, attribute = self.home.split(":")
        found: typer.Typer | Callable[..., None]
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


COMMANDS = {
    "models": Entry(
        "models:models",
        "List the models: family, year, parameters, operations and published accuracy.",
    ),
    "export": Entry(
        "export:export",
        "Export models to ONNX with a dynamic batch axis, each checked against torch.",
    ),
    "eval": Entry(
        "eval:evaluate",
        "Measure the top-1 and top-5 accuracy of artifacts on labelled photographs.",
    ),
    "bench": Entry(
        "bench:bench",
        "Measure energy and latency across runtimes and batch sizes, and write a report.",
    ),
    "resume": Entry(
        "resume:resume", "Resume an interrupted run of any kind; finished repetitions are kept."
    ),
    "report": Entry(
        "report:report",
        "Compile a run's journal to dataset.nc and write its report; or that of a dataset file.",
    ),
    "compare": Entry(
        "compare:compare", "Compare two runs; exit 1 if a cell is worse by the threshold or more."
    ),
    "merge": Entry("merge:merge", "Merge runs into one dataset; unlike runs are refused."),
    "recommend": Entry(
        "recommend:recommend",
        "Find the batching for a traffic; exit 1 if what is asked cannot be met for a model.",
    ),
    "layers": Entry(
        "layers:layers", "Tell where time and energy of an inference go, by operator and by layer."
    ),
    "tune": Entry(
        "tune:tune",
        "Search for hyperparameters by several strategies, and tell what each one costs.",
    ),
    "train": Entry(
        "train:train", "Train networks epoch by epoch under the meters, and write a report."
    ),
    "meter": Entry(
        "meter:meter",
        "Run a command and tell the energy of the machine while it ran; its exit code is passed "
        "on.",
        passes_on=True,
    ),
    "doctor": Entry(
        "doctor:doctor",
        "Say what can be measured on this machine, what cannot and why, and what would disturb it.",
    ),
    "study": Entry("study:study", "List, show and run studies."),
}
