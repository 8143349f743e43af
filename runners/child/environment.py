"""What a measuring process has in its environment, from its first instruction on."""

from greenbatch.records import Cell
from greenbatch.records.training import TrainingCell
from greenbatch.runners import backends
from greenbatch.runners.backends import tf32


def variables_of(cell: Cell | TrainingCell) -> dict[str, str]:
    """Return the variables that a cell needs and the user did not set."""
    device = backends.find(cell.backend).device
    return tf32.environment(device, cell.precision, dict(cell.settings))
