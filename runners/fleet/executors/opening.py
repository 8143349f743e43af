"""Opens what runs the units of a fleet, as ``fleet.json`` names it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch import extras
from greenbatch.documents import DocumentError, parse_yaml
from greenbatch.errors import FileError, UsageError
from greenbatch.files import followed, read_bytes

if TYPE_CHECKING:
    from greenbatch.runners.fleet.executors import Executor

_MOST_WORKERS = 1000
_ENVIRONMENTS_BYTES = 1_000_000


@contextmanager
def open_executor(options: Mapping[str, str], fleet: str, home: Path) -> Iterator["Executor"]:
    """Open an executor.

    Args:
        options: ``kind`` is ``local`` (with ``workers`` and ``worker_env``), ``scheduler`` (with
            ``address``), or ``slurm`` (with what `SlurmOptions` takes).
        fleet: Identifies the fleet.
        home: The fleet's folder.

    Raises:
        UsageError: The kind is not known.
        MissingPackage: The extra ``fleet`` is not installed.
        FleetError: Nothing answers.
    """
    kind = options.get("kind", "")
    if kind in ("local", "scheduler"):
        extras.require("gb fleet", ["distributed"])
        from greenbatch.runners.fleet.executors.dask_cluster import DaskCluster

        if kind == "scheduler":
            with DaskCluster.connected(options["address"], fleet) as executor:
                yield executor
        else:
            count = int(options["workers"])
            environments = read_environments(options.get("worker_env", ""), count)
            with DaskCluster.local(environments, fleet) as executor:
                yield executor
        return
    if kind == "slurm":
        from greenbatch.runners.fleet.executors.slurm_array import SlurmArrays, SlurmOptions

        given = {name: text for name, text in options.items() if name != "kind"}
        with SlurmArrays.opened(SlurmOptions(**given), fleet, home) as arrays:
            yield arrays
        return
    raise UsageError(f"fleet.json names the executor {kind!r}; valid: local, scheduler, slurm")


def check_reachable(options: Mapping[str, str], home: Path) -> None:
    """Check that an executor can be used, before anything is exported.

    Raises:
        UsageError: What it needs is not there.
        FleetError: It does not answer.
    """
    if options.get("kind") == "scheduler":
        with open_executor(options, "probe", home):
            return
    if options.get("kind") == "local":
        read_environments(options.get("worker_env", ""), int(options["workers"]))
    if options.get("kind") == "slurm":
        from greenbatch.runners.fleet.executors.slurm_array import require_commands

        require_commands()


def read_environments(path: str, count: int) -> list[dict[str, str]]:
    """Read the variables of each local worker from a YAML file, a list of mappings.

    Args:
        path: Of the file; empty: workers have no variables of their own.
        count: Number of workers.

    Raises:
        UsageError: The file does not hold as many mappings of texts as there are workers.
    """
    if not 1 <= count <= _MOST_WORKERS:
        raise UsageError(f"--local is {count}; wanted a number of workers from 1 to 1000")
    if not path:
        return [{} for _ in range(count)]
    try:
        found = parse_yaml(read_bytes(followed(Path(path)), _ENVIRONMENTS_BYTES))
    except (OSError, DocumentError, FileError) as error:
        raise UsageError(f"cannot read --worker-env {path}: {error}; name a YAML file") from error
    if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
        raise UsageError(f"--worker-env {path} holds no list of mappings; write e.g. '- {{A: b}}'")
    if len(found) != count:
        raise UsageError(
            f"--worker-env {path} has {len(found)} entries, and --local is {count}; give one entry "
            "for each worker"
        )
    return [{str(key): str(value) for key, value in each.items()} for each in found]
