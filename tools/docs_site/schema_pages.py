"""The reference of the dataset's variables, from the tables that the dataset is made of."""

from collections.abc import Iterator, Mapping

from greenbatch.analysis.dataset import training_variables, variables
from greenbatch.analysis.dataset.variables import Variable

_TRAINING_CELL = training_variables.FACTORS


def schema_page() -> str:
    """Return the page of all variables and coordinates, in Markdown."""
    lines = [
        "# Variables of the dataset",
        "",
        "Made from the tables that `dataset.nc` is written by. [The dataset](../dataset.md)",
        "explains its dimensions, flags and sources. A variable of a server has the same name",
        f"with `{variables.SERVER}` before it.",
        "",
        "## Runs of inference",
        "",
        *_table(variables.VARIABLES, variables.LOOP),
        "",
        "### Coordinates",
        "",
        *_labels(variables.COORDINATES),
        "",
        "## Runs of trainings",
        "",
        *_table(training_variables.VARIABLES, _TRAINING_CELL),
        "",
        "### Coordinates of trainings",
        "",
        *_labels(training_variables.COORDINATES),
    ]
    return "\n".join(lines) + "\n"


def _table(table: Mapping[str, Variable], cell: tuple[str, ...]) -> Iterator[str]:
    yield "| variable | unit | | dimensions | values |"
    yield "|---|---|---|---|---|"
    for name, variable in table.items():
        dims = ", ".join(variable.along(cell))
        values = ", ".join(f"`{meaning}`" for meaning in variable.meanings)
        kind = variable.kind if not values else f"{variable.kind}: {values}"
        yield f"| `{name}` | {variable.units} | {variable.long_name} | {dims} | {kind} |"


def _labels(table: Mapping[str, Variable]) -> Iterator[str]:
    yield "| coordinate | unit | | values |"
    yield "|---|---|---|---|"
    for name, variable in table.items():
        yield f"| `{name}` | {variable.units} | {variable.long_name} | {variable.kind} |"
