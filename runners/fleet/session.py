"""Beside a worker: one unit, measured by a process of its own."""

import subprocess
import tempfile
from collections.abc import Callable, Mapping
from typing import IO

import msgspec
import psutil

from greenbatch.errors import MessageError
from greenbatch.processes import python_command
from greenbatch.runners.fleet.messages import (
    Ended,
    decode,
    decode_assignment,
    encode,
)

MEASURING = "greenbatch.workflows.fleet.measuring"
"""The module that a session runs in a process of its own."""
_LOG_BYTES = 10_000


def measure_unit(
    line: bytes, deliver: Callable[[bytes], None], environ: Mapping[str, str] | None = None
) -> bytes:
    """Measure a unit in a process of its own; this one sleeps until a message comes.

    The process ends with this one, in whatever way this one ends.

    Args:
        line: The assignment, as `greenbatch.runners.fleet.messages.encode` wrote it.
        deliver: Receives each message but the last, as a line.
        environ: Variables of the process; ``None``: those of this one.

    Returns:
        The message `Ended`. It says so, too, where the process died.
    """
    assignment = decode_assignment(line)
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            python_command(MEASURING, assignment.fleet),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environ,
        )
        try:
            ended = _forward(process, line, deliver)
        except BaseException:
            process.kill()
            raise
        finally:
            code = process.wait()
        text = _tail(log)
    if ended is None:
        last = next((each for each in reversed(text.splitlines()) if each.strip()), "")
        how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
        reason = f"the measuring process {how}{f': {last}' if last else ''}"
        ended = Ended(
            machine=assignment.machine, unit=assignment.unit, outcome="failed", reason=reason
        )
    return encode(msgspec.structs.replace(ended, log=text))


def end_measuring(fleet: str) -> None:
    """End the measuring processes of a fleet that this process started."""
    for child in psutil.Process().children():
        try:
            command = child.cmdline()
        except psutil.Error:  # it has ended
            continue
        if MEASURING in command and command[-1] == fleet:
            child.kill()


def _forward(
    process: "subprocess.Popen[bytes]", line: bytes, deliver: Callable[[bytes], None]
) -> Ended | None:
    assert process.stdin
    assert process.stdout
    ended = None
    with process.stdin as into, process.stdout as out:
        try:
            into.write(line)
            into.close()
        except BrokenPipeError:
            return None
        for sent in out:
            try:
                message = decode(sent)
            except MessageError:  # a library of the runtime printed something
                continue
            if isinstance(message, Ended):
                ended = message
            else:
                deliver(sent)
    return ended


def _tail(log: IO[bytes]) -> str:
    size = log.seek(0, 2)
    log.seek(max(0, size - _LOG_BYTES))
    return log.read().decode("utf-8", "replace")
