"""The client of a fleet of simulated measurements, as a process that a test may kill.

``python -m tests.fakes.fleet_client HOME EXECUTOR MACHINES EXPECTED REPETITIONS`` begins, or goes
on; EXECUTOR is JSON of the options of `open_executor`.
"""

import json
import sys
from pathlib import Path

from greenbatch.errors import GreenbatchError
from greenbatch.runners.fleet.coordination import Coordinator, Listener, Parcel
from greenbatch.runners.fleet.executors.opening import open_executor
from greenbatch.runners.fleet.home import Home
from greenbatch.runners.fleet.planning import parse_sharing
from greenbatch.runners.fleet.rules import Rules
from tests.fakes.fleet import fleet_file, study


def main(path: Path, executor: str, machines: str, expected: int, repetitions: int) -> None:
    """Run the fleet to its end."""
    begun = (path / "fleet.json").exists()
    design = study(repetitions, batch_sizes=(1, 2, 4, 8))
    with Home.open(path) if begun else Home.create(path, fleet_file(design, machines)) as home:
        rules = Rules(sharing=parse_sharing(machines), machines=expected, attempts=1000)
        with open_executor(json.loads(executor), home.fleet.id, path) as opened:
            listener = Listener(on_event=lambda event: print(event, flush=True))
            Coordinator(home, opened, Parcel((), Path("artifacts")), rules, listener).run()


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
    except GreenbatchError as error:
        sys.exit(str(error))
