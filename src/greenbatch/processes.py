"""Python processes that gb starts: the current folder shadows nothing, and they end with it.

``python -P -m greenbatch.processes PARENT MODULE [ARGUMENT]...`` runs a module as ``python -m``
does, but without the current folder on the module path, and ends when the process PARENT ends.
"""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_OF_A_FAULT = {"SIGSEGV", "SIGBUS", "SIGFPE", "SIGILL", "SIGTRAP", "SIGSYS", "SIGABRT"}


def python_command(module: str, *arguments: str) -> list[str]:
    """Return the command line that runs a module in a process of its own.

    In that process and in those that it starts, the current folder is not on the module path;
    PYTHONPATH applies. On Linux the process is killed when this one ends, in whatever way, or when
    the thread that started it ends.

    Args:
        module: As ``python -m`` takes it.
        arguments: Of the module.
    """
    return [
        *(sys.executable, "-P", "-m", "greenbatch.processes"),
        *(str(os.getpid()), module, *arguments),
    ]


def end_with(parent: int) -> None:
    """Ask Linux to kill this process when its parent ends.

    Args:
        parent: Its process id; where it has ended already, this process exits.
    """
    if sys.platform == "linux":
        import ctypes

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the request was made
            os._exit(1)


@contextmanager
def signals_for_this_thread() -> Iterator[None]:
    """Start threads that take no signals: those that come meanwhile wait until the block ends.

    A signal to a process goes to any thread that takes it. A thread that waits for signals gets
    them all where no other one takes them.
    """
    wanted = {n for n in signal.valid_signals() if getattr(n, "name", "") not in _OF_A_FAULT}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def main(parent: str, module: str, *arguments: str) -> None:
    """Run a module as ``python -m`` does, and end with the parent."""
    import runpy

    end_with(int(parent))
    os.environ["PYTHONSAFEPATH"] = "1"  # for python processes that this one starts
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
