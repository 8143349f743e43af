"""Where the time of a run went: its phases as shares of the wall time, by backend.

    python benchmarks/run_phases.py RUN [RUN ...]

A phase is summed over the ok repetitions; ``other`` is what is in no phase: checking the outputs,
idle power, writing. Rests are stated beside it, as they are not part of the wall time.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

from greenbatch.records import Repetition, Status, parse

PHASES = ("fork_server", "start", "images", "load", "first", "warm_up", "window")


def phases_s(repetitions: Iterable[Repetition]) -> dict[str, float]:
    """Sum the phases of repetitions, in s; ``other`` and ``wall`` with them."""
    total: dict[str, float] = defaultdict(float)
    for repetition in repetitions:
        for phase in (*PHASES, "wall"):
            total[phase] += repetition.phases_s.get(phase, 0.0)
        total["rest"] += repetition.conditions.rest_s
        named_s = sum(repetition.phases_s.get(phase, 0.0) for phase in PHASES)
        # A fresh interpreter starts while the machine rests, so that they may overlap.
        total["other"] += max(0.0, repetition.phases_s.get("wall", 0.0) - named_s)
    return total


def line(name: str, count: int, total_s: Mapping[str, float]) -> str:
    """Write a row of the table."""
    wall_s = total_s["wall"]
    shares = " | ".join(f"{total_s[phase] / wall_s:.0%}" for phase in (*PHASES, "other"))
    each = " | ".join(f"{total_s[key] / count:.1f}" for key in ("wall", "rest"))
    return f"| {name} | {count} | {each} | {shares} |"


def main() -> None:
    """Print a table for each run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, nargs="+")
    for run in parser.parse_args().run:
        journal = parse((run / "journal.jsonl").read_bytes())
        found = [each for each in journal.repetitions if each.status is Status.OK]
        print(f"\n{run}\n")
        print(
            "| backend | repetitions | wall, s | rest, s | " + " | ".join((*PHASES, "other")) + " |"
        )
        print("|:--|" + "--:|" * (len(PHASES) + 4))
        by_backend: dict[str, list[Repetition]] = defaultdict(list)
        for each in found:
            by_backend[each.cell.backend].append(each)
        for name, some in sorted(by_backend.items()):
            print(line(name, len(some), phases_s(some)))
        if found:
            print(line("all", len(found), phases_s(found)))


if __name__ == "__main__":
    main()
