"""Lines that the command prints without tables; what comes from files is text in them."""

import errno
import io
import os
from contextlib import suppress
from typing import TextIO

import typer

from greenbatch.plain_text import one_line, visible


def echo(*lines: str, error: bool = False) -> None:
    """Print each line on standard output; a line break in one does not begin another.

    Args:
        lines: What to print, without ends of lines.
        error: Print on standard error instead.
    """
    for line in lines:
        typer.echo(visible(line), err=error)


def note(sentence: str) -> None:
    """Print a sentence on standard error, on one line, as one of the command's own.

    Nothing can be printed where that is closed or full; the exit code remains.
    """
    with suppress(OSError):
        typer.echo(f"gb: {one_line(sentence)}", err=True)


def print_whole(stream: TextIO | None, text: str) -> None:
    """Print text and see that all of it has left.

    Raises:
        OSError: It has not; the stream takes nothing from then on, and says nothing at exit.
    """
    if stream is None:  # as Python has it where the stream was closed from the start
        raise closed()
    try:
        stream.write(text)
        stream.flush()
    except OSError:
        abandon(stream)
        raise


def closed() -> OSError:
    """Return the error of a stream that was closed when the command began."""
    return OSError(errno.EBADF, "it is closed")


def abandon(stream: TextIO) -> None:
    """Throw away what a stream could not write; at exit it would be tried again."""
    with suppress(OSError):  # a stream that is no file
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, stream.fileno())
        os.close(devnull)


class ClosedOutput(io.TextIOBase):
    """Stands for standard output where it was closed from the start, so that this is noticed."""

    def writable(self) -> bool:
        """Whether something may be written: it is tried, and fails."""
        return True

    def write(self, text: str) -> int:
        """Raise the error of a closed stream."""
        if text:
            raise closed()
        return 0
