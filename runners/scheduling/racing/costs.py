"""How long a cell will take, from the recorded durations of the repetitions before it."""

import math
from collections import defaultdict
from dataclasses import replace
from statistics import fmean

from greenbatch.design.protocol import MeasurementProtocol
from greenbatch.records import Cell, Repetition, Status


def curve_of(cell: Cell) -> Cell:
    """Return what stands for a cell's curve: the cells that differ in the batch size alone."""
    return cell if cell.is_server else replace(cell, batch_size=1)


class Costs:
    """Durations of a run, all from its journal.

    Attributes:
        spent_s: By the repetitions so far, with their starts and rests.
    """

    def __init__(self, rules: MeasurementProtocol) -> None:
        self.spent_s = 0.0
        self._batches = 1 + rules.warm_up_iterations + rules.window_iterations
        self._least_s = rules.warm_up_min_s + rules.window_s
        self._unknown_s = self._least_s + rules.rest_min_s
        self._walls: defaultdict[Cell, list[float]] = defaultdict(list)
        self._latencies_s: defaultdict[Cell, dict[int, float]] = defaultdict(dict)

    @property
    def batches(self) -> int:
        """Of how many batches a repetition consists at the least."""
        return self._batches

    def see(self, record: Repetition) -> float:
        """Take in a repetition, however it ended; return what it took, in s."""
        wall_s = record.phases_s.get("wall", 0.0) + record.conditions.rest_s
        self.spent_s += wall_s
        if record.status is Status.OK:
            self._walls[record.cell].append(wall_s)
            if not record.cell.is_server:
                sizes = self._latencies_s[curve_of(record.cell)]
                sizes.setdefault(record.cell.batch_size, record.latency_s["0.5"])
        return wall_s

    def batch_s(self, cell: Cell) -> float | None:
        """Predict how long a batch takes, from the nearest measured one of the curve, in s.

        Returns:
            ``None`` where the curve has none: a cost per image that is constant is assumed.
        """
        sizes = self._latencies_s.get(curve_of(cell))
        if not sizes or cell.is_server:
            return None
        nearest = _nearest(sizes, cell.batch_size)
        return sizes[nearest] * cell.batch_size / nearest

    def expected_s(self, cell: Cell) -> float:
        """Predict how long a repetition takes, with its start and its rest, in s."""
        if walls := self._walls.get(cell):
            return fmean(walls)
        sizes = self._latencies_s.get(curve_of(cell))
        batch_s = self.batch_s(cell)
        if not sizes or batch_s is None:
            known = [wall for walls in self._walls.values() for wall in walls]
            return fmean(known) if known else self._unknown_s
        nearest = replace(cell, batch_size=_nearest(sizes, cell.batch_size))
        busy_s = max(self._least_s, self._batches * sizes[nearest.batch_size])
        return fmean(self._walls[nearest]) + max(0.0, self._batches * batch_s - busy_s)


def _nearest(sizes: dict[int, float], size: int) -> int:
    return min(sizes, key=lambda each: (abs(math.log(each / size)), each))
