"""A measuring process of a fleet that measures nothing: it takes the lock, waits and journals.

``python -m tests.fakes.fleet_measuring FLEET`` stands for greenbatch.workflows.fleet.measuring in
workers that preload `tests.fakes.fleet_preload`. POWER_W says what its machine draws.
"""

import os
import sys
import time
from itertools import islice

from greenbatch.records import encode
from greenbatch.records.journal import checksum_of, read
from greenbatch.runners.fleet.fleet_file import study_of
from greenbatch.runners.fleet.messages import (
    Assignment,
    Ended,
    Lines,
    Message,
    Opened,
    decode_assignment,
)
from greenbatch.runners.fleet.messages import encode as encode_message
from greenbatch.runners.host.machine_lock import machine_for
from greenbatch.runners.scheduling.order import orders
from greenbatch.user_folders import state_folder
from tests.fakes import runs

REPETITION_S = float(os.environ.get("REPETITION_S", "0.05"))


def measure(assignment: Assignment) -> None:
    """Measure what is left of a unit."""
    path = state_folder("simulated", assignment.fleet) / f"{assignment.machine}.jsonl"
    _send(Opened(machine=assignment.machine, unit=assignment.unit, environment="{}"))
    with machine_for("simulated", share=None, wait_s=60.0):
        mine = [
            encode(record)
            for record in read(path).repetitions
            if record.block in (assignment.blocks or ())
        ]
        for line in mine:
            if checksum_of(line) not in assignment.known:
                _send_line(assignment, line)
        done = {(record.cell, record.block) for record in read(path).repetitions}
        design = study_of(assignment.study, "the assignment")
        ordered = islice(orders(design.cells(), design.seed), design.repetitions)
        for block, order in enumerate(ordered):
            for cell in order if block in (assignment.blocks or ()) else ():
                if (cell, block) in done or (cell.slug, block) in assignment.elsewhere:
                    continue
                time.sleep(REPETITION_S)
                power_w = float(os.environ["POWER_W"])
                energy = [runs.figure(power_w * runs.WINDOW_S)]
                mine.append(encode(runs.repetition(cell, block, energy=energy)))
                with path.open("ab") as journal:
                    journal.write(mine[-1])
                _send_line(assignment, mine[-1])
    lines = tuple(map(checksum_of, mine))
    _send(Ended(machine=assignment.machine, unit=assignment.unit, outcome="finished", lines=lines))


def _send_line(assignment: Assignment, line: bytes) -> None:
    _send(Lines(machine=assignment.machine, unit=assignment.unit, data=line))


def _send(message: Message) -> None:
    sys.stdout.buffer.write(encode_message(message))
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    measure(decode_assignment(sys.stdin.buffer.readline()))
