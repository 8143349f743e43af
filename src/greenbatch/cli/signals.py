"""A request to terminate, taken like Ctrl-C: children are ended, and what is kept is printed."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

BY_SIGNAL = 128  # the exit code of a command that signal n ended is 128 + n, as in a shell


@contextmanager
def interrupted_by_signals() -> Iterator[list[int]]:
    """Raise KeyboardInterrupt on SIGTERM and SIGHUP.

    A signal that is ignored, as SIGHUP is under ``nohup``, stays so.

    Yields:
        The numbers of the signals that came.
    """
    received: list[int] = []

    def interrupt(number: int, _: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    before = {}
    if threading.current_thread() is threading.main_thread():
        for name in ("SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)
            if number is not None and signal.getsignal(number) is signal.SIG_DFL:
                before[number] = signal.signal(number, interrupt)
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
