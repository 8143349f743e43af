"""A task of a job array on a node: one unit; without an assignment, the facts of the node.

``python -m greenbatch.runners.fleet.executors.slurm_task SPOOL FOLDER``, in a job of Slurm.
"""

import os
import sys
from pathlib import Path

import msgspec

from greenbatch.errors import GreenbatchError
from greenbatch.files import append, open_to_append, write_atomically
from greenbatch.runners.fleet.artifact_store import ArtifactStore
from greenbatch.runners.fleet.machines import look
from greenbatch.runners.fleet.messages import Ended, decode_assignment, encode
from greenbatch.runners.fleet.session import measure_unit


def run_task(folder: Path, task: int, start: int) -> None:
    """Measure a unit, and append its messages to a file of this start of the task.

    Args:
        folder: Of the array.
        task: Number of the task.
        start: How often Slurm has started it before.
    """
    line = (folder / f"{task}.assignment").read_bytes()
    assignment = decode_assignment(line)
    job = os.environ.get("SLURM_JOB_ID", "0")
    path = folder / f"{task}.{job}.{start}.messages"
    descriptor = open_to_append(path)

    def deliver(message: bytes) -> None:
        append(descriptor, message, path)

    lacking = ArtifactStore().lacking(assignment.files, assignment.files_at)
    if lacking:
        reason = (
            f"{lacking[0].name} is not in {assignment.files_at} as seen from this node; put "
            "--artifacts on a file system that the nodes share"
        )
        ended = Ended(
            machine=assignment.machine, unit=assignment.unit, outcome="refused", reason=reason
        )
        deliver(encode(ended))
    else:
        deliver(measure_unit(line, deliver))
    os.close(descriptor)


def main(spool: Path, folder: Path) -> None:
    """Do what the environment of the job asks for."""
    node = os.environ["SLURMD_NODENAME"]
    if task := os.environ.get("SLURM_ARRAY_TASK_ID"):
        run_task(folder, int(task), int(os.environ.get("SLURM_RESTART_COUNT", "0")))
        return
    try:
        facts = msgspec.structs.replace(look(), name=node)
        write_atomically(spool / f"{node}.facts", msgspec.json.encode(facts))
    except GreenbatchError as error:
        write_atomically(spool / f"{node}.unfit", str(error))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
