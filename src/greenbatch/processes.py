"""Python processes that gb starts: the current folder shadows nothing, and they end with it.

``python -P -m greenbatch.processes PARENT MODULE [ARGUMENT]...`` runs a module as ``python -m``
does, but without the current folder on the module path, and ends when the process PARENT ends.
"""

import os
import sys


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
        import signal

        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
        if os.getppid() != parent:  # it ended before the request was made
            os._exit(1)


def main(parent: str, module: str, *arguments: str) -> None:
    """Run a module as ``python -m`` does, and end with the parent."""
    import runpy

    end_with(int(parent))
    os.environ["PYTHONSAFEPATH"] = "1"  # for python processes that this one starts
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
