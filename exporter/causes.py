"""Other libraries' errors as a clause of a sentence."""

_LONGEST = 300


def first_line(error: BaseException) -> str:
    """Return the first line of an error that says something, without its full stop.

    torch.onnx puts its own troubleshooting text around the error that matters, its cause.
    """
    while error.__cause__ is not None:
        error = error.__cause__
    lines = (line.strip() for line in str(error).splitlines())
    line = next((line for line in lines if line), type(error).__name__).rstrip(".")
    return line if len(line) <= _LONGEST else f"{line[:_LONGEST]}..."
