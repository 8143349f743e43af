"""Other libraries' errors as a clause of a sentence."""

import traceback
from pathlib import Path

from greenbatch.errors import first_line


def innermost_line(error: BaseException) -> str:
    """Return the first line of the error that an error comes from.

    torch.onnx puts its own troubleshooting text around the error that matters, its cause.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)


def line_of_forward(error: BaseException) -> str:
    """Return where the forward of a network outside torch raised, as ``file:line``, or nothing."""
    import torch

    library = Path(torch.__file__).parent
    found = ""
    cause: BaseException | None = error
    while cause is not None:
        for frame in traceback.extract_tb(cause.__traceback__):
            if frame.name == "forward" and library not in Path(frame.filename).parents:
                found = f"{frame.filename}:{frame.lineno}"
        cause = cause.__cause__
    return found
