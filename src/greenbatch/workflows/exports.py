"""How exports run in processes of their own: how many at a time, with how much memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.processes import python_command

if TYPE_CHECKING:
    from greenbatch.exporter.parallel import Plan

_MOST_JOBS = 8
_MARGIN_BYTES = 1 << 30  # of the memory that is left, for all else


def plan_exports(
    folder: Path,
    options: Sequence[str],
    count: int,
    *,
    sources: dict[str, str] | None = None,
    jobs: int | None = None,
    memory_bytes: int | None = None,
) -> "Plan":
    """Plan the parallel exports of networks.

    Args:
        folder: Of the artifacts.
        options: Of ``gb export``.
        count: Number of networks.
        sources: What a user's own networks come from, by name.
        jobs: Number of processes at a time; ``None``: the available cores, at most 8.
        memory_bytes: What they may take together; ``None``: the free memory.
    """
    from greenbatch.exporter.parallel import Plan
    from greenbatch.runners.host.cores import default_threads

    at_once = min(jobs or min(default_threads(), _MOST_JOBS), count)
    together_bytes = memory_bytes or free_bytes()

    def command(name: str) -> list[str]:
        source = (sources or {}).get(name)
        named = [name] if source is None else [source]
        own = [] if source is None else [f"--name={name}"]
        every = ["--json", f"--out={folder}", f"--memory={together_bytes}", *options, *own]
        return python_command("greenbatch.cli", "export", *every, "--", *named)

    return Plan(
        folder=folder,
        command=command,
        jobs=at_once,
        memory_bytes=together_bytes,
        threads=max(1, default_threads() // at_once),
    )


def free_bytes() -> int:
    """Return the memory that the machine and the cgroup leave, less a margin, in bytes."""
    import psutil

    from greenbatch.runners.host.cores import memory_limit_bytes

    free: int = psutil.virtual_memory().available
    limit = memory_limit_bytes()
    return max(min(free, limit or free) - _MARGIN_BYTES, _MARGIN_BYTES)
