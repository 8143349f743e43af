"""Other libraries' errors as a clause of a sentence."""

from greenbatch.errors import first_line


def innermost_line(error: BaseException) -> str:
    """Return the first line of the error that an error comes from.

    torch.onnx puts its own troubleshooting text around the error that matters, its cause.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)
