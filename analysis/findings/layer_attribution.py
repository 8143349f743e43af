"""Time and energy by operator and by layer, and the check by parts, from what was measured.

A profiler reports times. Energy is attributed: the network's net energy in a window without the
profiler, shared out by time. That takes it for granted that every operator draws the same power,
which is what the parts, measured by themselves, are held against.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from greenbatch.analysis.statistics.intervals import Interval, interval, ratio
from greenbatch.records import EnergySource
from greenbatch.records.layers import (
    PROFILED,
    WHOLE,
    LayerBlock,
    LayerRun,
    LayerWindow,
    OperatorTime,
    Part,
)
from greenbatch.records.provenance import Provenance, combine

BETWEEN = "between operators"
"""The row of the time in which no operator ran: launches, the scheduler, the loop around."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Net:
    """Net energy of a window: above idle power, over the domains that count.

    Attributes:
        energy_j: In J; ``None`` where it is missing, ``reason`` says why.
        uncertainty_j: Half-width of the band that metering leaves, in J.
        common_j: The part of it that is the calibration of sensors, which a ratio does not have.
        source: ``measured``, ``estimated``, ``mixed`` or ``missing``.
        reason: Why it is missing.
    """

    energy_j: float | None = None
    uncertainty_j: float | None = None
    common_j: float = 0.0
    source: Provenance = Provenance.MISSING
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An operator, a kind of operator or a layer, per image.

    Attributes:
        name: Of the row.
        operator: Its kind; of a layer, all kinds in it.
        layer: Path of the module; of a kind of operator, empty.
        origin: ``network``, ``runtime`` or ``unknown``; `BETWEEN` has ``runtime``.
        part: The part that holds it, where there are parts and one holds all of it.
        calls: In a batch.
        share: Of the window, 0..1, mean of the blocks.
        time_s: Per image, in s: the share of the time that is measured without the profiler.
        energy_j: Net, per image, in J: attributed by that share; ``None``: not known.
        energy_uncertainty_j: What metering leaves, and how far the part's own share of the energy
            is from the attributed one; in J.
    """

    name: str
    operator: str
    layer: str
    origin: str
    part: int | None
    calls: float
    share: Interval
    time_s: float
    energy_j: float | None
    energy_uncertainty_j: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartShare:
    """A part measured by itself against what is attributed to its operators.

    Attributes:
        part: Which.
        time_s: Per image, in s.
        time_share: Of the parts' times.
        energy_share: Of the parts' net energies; ``None``: not known.
        attributed_share: Of the times that the profiler reports of operators.
    """

    part: Part
    time_s: float
    time_share: Interval
    energy_share: Interval | None
    attributed_share: Interval

    @property
    def deviation(self) -> float:
        """How far the attributed share is from the measured one, relative to that.

        Of net energy; of time where energy is not known.
        """
        measured = self.energy_share or self.time_share
        if not measured.centre:
            return math.inf
        return abs(self.attributed_share.centre / measured.centre - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The sum of the parts against the whole.

    Attributes:
        time: Their times over the whole's.
        energy: The same of net energies; ``None`` where it is not known, ``reason`` says why.
        parts: Each part.
        reason: Why there is no ratio of energies.
    """

    time: Interval
    energy: Interval | None
    parts: tuple[PartShare, ...]
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribution:
    """Where time and energy of an inference go.

    Attributes:
        run: What was measured.
        time_s: Per image, without the profiler, in s.
        net: Of the whole, per image, mean of the blocks.
        net_interval: Over the blocks, in J per image; ``None``: not known.
        profiler_time, profiler_energy: With the profiler over without; ``None``: not known.
        operators: Each operator, in the order of their first call, then `BETWEEN`.
        check: By parts; ``None`` where the network was not cut.
    """

    run: LayerRun
    time_s: Interval
    net: Net
    net_interval: Interval | None
    profiler_time: Interval
    profiler_energy: Interval | None
    operators: tuple[Row, ...]
    check: Check | None

    def by_operator(self) -> tuple[Row, ...]:
        """Add up operators of one kind, largest share first; `BETWEEN` is the last."""
        return self._added(lambda row: (row.operator, ""))

    def by_layer(self, depth: int | None = None) -> tuple[Row, ...]:
        """Add up operators of one layer, largest share first; `BETWEEN` is the last.

        Args:
            depth: Of the path: 1 is ``features`` of ``features.denseblock1``; ``None``: all of it.
        """
        return self._added(lambda row: (layer_name(row, depth), layer_name(row, depth)))

    def _added(self, key: Callable[[Row], tuple[str, str]]) -> tuple[Row, ...]:
        groups: dict[tuple[str, str], list[Row]] = {}
        for row in self.operators[:-1]:
            groups.setdefault(key(row), []).append(row)
        rows = [_sum(name, layer, rows) for (name, layer), rows in groups.items()]
        return (*sorted(rows, key=lambda row: -row.share.centre), self.operators[-1])


def layer_name(row: Row, depth: int | None = None) -> str:
    """Return what a row's layer is called; what has none is named for where it comes from."""
    if row.layer:
        return ".".join(row.layer.split(".")[:depth])
    return {"runtime": "(put there by the runtime)", "unknown": "(not reported)"}.get(
        row.origin, "(the network itself)"
    )


def attribute(run: LayerRun) -> Attribution:
    """Attribute time and energy to operators and layers.

    Raises:
        ValueError: There is no block.
    """
    size = run.batch_size
    time_s = _over(run.blocks, lambda block: _of(block, WHOLE).batch_s / size)
    nets = {block.block: _net(_of(block, WHOLE), block) for block in run.blocks}
    net = _mean([_per_image(nets[b.block], _of(b, WHOLE).iterations * size) for b in run.blocks])
    check = _check(run) if run.parts else None
    return Attribution(
        run=run,
        time_s=time_s,
        net=net,
        net_interval=_energy_interval(run, WHOLE),
        profiler_time=_ratio(
            {b.block: _of(b, PROFILED).batch_s for b in run.blocks},
            {b.block: _of(b, WHOLE).batch_s for b in run.blocks},
        ),
        profiler_energy=_energy_ratio(run.blocks, (PROFILED,), WHOLE)[0],
        operators=_rows(run, time_s.centre, net, check),
        check=check,
    )


def _rows(run: LayerRun, time_s: float, net: Net, check: Check | None) -> tuple[Row, ...]:
    deviations: dict[int | None, float] = {}
    if check:
        deviations = {each.part.number: each.deviation for each in check.parts}
    shares: dict[tuple[str, str], dict[int, float]] = {}
    first: dict[tuple[str, str], OperatorTime] = {}
    calls: dict[tuple[str, str], list[float]] = {}
    between: dict[int, float] = {}
    for block in run.blocks:
        window = _of(block, PROFILED)
        told_s = 0.0
        for each in block.operators:
            key = (each.name, each.layer)
            first.setdefault(key, each)
            shares.setdefault(key, {})[block.block] = each.time_s / window.duration_s
            calls.setdefault(key, []).append(each.calls / window.iterations)
            told_s += each.time_s
        between[block.block] = 1 - told_s / window.duration_s
    numbers = [block.block for block in run.blocks]

    def row(each: OperatorTime, found: Mapping[int, float], each_calls: float) -> Row:
        share = _summary([found.get(number, 0.0) for number in numbers])
        energy_j = None if net.energy_j is None else share.centre * net.energy_j
        return Row(
            name=each.name,
            operator=each.operator,
            layer=each.layer,
            origin=each.origin,
            part=each.part,
            calls=each_calls,
            share=share,
            time_s=share.centre * time_s,
            energy_j=energy_j,
            energy_uncertainty_j=_doubt(energy_j, share.centre, net, deviations.get(each.part)),
        )

    rows = [row(each, shares[key], fmean(calls[key])) for key, each in first.items()]
    rest = OperatorTime(
        name=BETWEEN, operator=BETWEEN, layer="", origin="runtime", calls=0, time_s=0.0
    )
    return (*rows, row(rest, between, 0.0))


def _doubt(energy_j: float | None, share: float, net: Net, deviation: float | None) -> float | None:
    if energy_j is None or net.uncertainty_j is None:
        return None
    apart = deviation if deviation is not None and math.isfinite(deviation) else 0.0
    return share * net.uncertainty_j + abs(energy_j) * apart


def _sum(name: str, layer: str, rows: Sequence[Row]) -> Row:
    """Add rows up; their bounds are added too, as what makes one too high makes others so."""

    def added(values: Iterable[float | None]) -> float | None:
        known = list(values)
        return None if None in known else math.fsum(v for v in known if v is not None)

    parts = {row.part for row in rows}
    origins = {row.origin for row in rows}
    shares = [row.share for row in rows]
    return Row(
        name=name,
        operator=", ".join(dict.fromkeys(row.operator for row in rows)),
        layer=layer,
        origin=origins.pop() if len(origins) == 1 else "network",
        part=parts.pop() if len(parts) == 1 else None,
        calls=math.fsum(row.calls for row in rows),
        share=Interval(
            added(share.low for share in shares),
            math.fsum(share.centre for share in shares),
            added(share.high for share in shares),
            shares[0].n,
            shares[0].method,
        ),
        time_s=math.fsum(row.time_s for row in rows),
        energy_j=added(row.energy_j for row in rows),
        energy_uncertainty_j=added(row.energy_uncertainty_j for row in rows),
    )


def _check(run: LayerRun) -> Check:
    names = tuple(part.what for part in run.parts)
    time = _ratio(
        {b.block: sum(_of(b, name).batch_s for name in names) for b in run.blocks},
        {b.block: _of(b, WHOLE).batch_s for b in run.blocks},
    )
    energy, reason = _energy_ratio(run.blocks, names, WHOLE)
    return Check(
        time=time,
        energy=energy,
        parts=tuple(_part_share(part, names, run) for part in run.parts),
        reason=reason,
    )


def _part_share(part: Part, names: Sequence[str], run: LayerRun) -> PartShare:
    times, energies, attributed = [], [], []
    for block in run.blocks:
        seconds = {name: _of(block, name).batch_s for name in names}
        times.append(seconds[part.what] / sum(seconds.values()))
        located = [each for each in block.operators if each.part is not None]
        own_s = sum(each.time_s for each in located if each.part == part.number)
        attributed.append(own_s / sum(each.time_s for each in located))
        joules = {name: _batch_j(block, name) for name in names}
        known = [value for value in joules.values() if value is not None]
        own_j = joules[part.what]
        if len(known) == len(names) and sum(known) > 0 and own_j is not None:
            energies.append(own_j / sum(known))
    all_known = len(energies) == len(run.blocks)
    return PartShare(
        part=part,
        time_s=fmean(_of(block, part.what).batch_s for block in run.blocks) / run.batch_size,
        time_share=_summary(times),
        energy_share=_summary(energies) if all_known else None,
        attributed_share=_summary(attributed),
    )


def _energy_ratio(
    blocks: Sequence[LayerBlock], over: Sequence[str], under: str
) -> tuple[Interval | None, str | None]:
    """Return the ratio of net energies of a batch, or why there is none."""
    above: dict[int, float] = {}
    below: dict[int, float] = {}
    for block in blocks:
        for name in (*over, under):
            net = _net(_of(block, name), block)
            if net.energy_j is None or net.uncertainty_j is None:
                return None, net.reason
            # The band of an estimate is the model's, the same for both, and leaves the ratio alone;
            # so does the calibration of a sensor.
            estimated = net.source is Provenance.ESTIMATED
            doubt_j = 0.0 if estimated else net.uncertainty_j - net.common_j
            if net.energy_j <= (doubt_j if name == under else 0.0):
                return None, (
                    f"the net energy of {name} in block {block.block} is {net.energy_j:.3g} J, "
                    f"known to ± {net.uncertainty_j:.3g} J, which is too little to compare"
                )
        above[block.block] = sum(_batch_j(block, name) or 0.0 for name in over)
        below[block.block] = _batch_j(block, under) or 0.0
    return _ratio(above, below), None


def _energy_interval(run: LayerRun, what: str) -> Interval | None:
    energies = [_batch_j(block, what) for block in run.blocks]
    known = [energy / run.batch_size for energy in energies if energy is not None]
    return interval(known) if len(known) == len(energies) else None


def _batch_j(block: LayerBlock, what: str) -> float | None:
    window = _of(block, what)
    energy_j = _net(window, block).energy_j
    return None if energy_j is None else energy_j / window.iterations


def _net(window: LayerWindow, block: LayerBlock) -> Net:
    """Take idle power x duration from each domain that counts, and add them up."""
    counted = [figure for figure in window.energy if figure.counts]
    if not counted:
        return Net(reason="no meter was read")
    energies_j, doubts_j, commons_j = [], [], []
    for figure in counted:
        idle = [each for each in block.idle if each.domain == figure.domain]
        if figure.energy_j is None:
            return Net(reason=figure.reason)
        powers_w = [each.power_w for each in idle if each.power_w is not None]
        if not idle or len(powers_w) < len(idle):
            why = next((each.reason for each in idle if each.reason), "it was not measured")
            return Net(reason=f"idle power of {figure.domain} is missing: {why}")
        if any(
            (each.source is EnergySource.ESTIMATED) != (figure.source is EnergySource.ESTIMATED)
            for each in idle
        ):
            return Net(reason=f"of energy and idle power of {figure.domain} one is estimated")
        energies_j.append(figure.energy_j - fmean(powers_w) * window.duration_s)
        own_j = (figure.uncertainty_j or 0.0) - figure.common_j
        idle_own_w = max((each.uncertainty_w or 0.0) - each.common_w for each in idle)
        idle_common_w = fmean(each.common_w for each in idle)
        # a sensor's calibration is off alike in both
        common_j = abs(figure.common_j - idle_common_w * window.duration_s)
        commons_j.append(common_j)
        doubts_j.append(own_j + idle_own_w * window.duration_s + common_j)
    return Net(
        energy_j=math.fsum(energies_j),
        uncertainty_j=math.fsum(doubts_j),
        common_j=math.fsum(commons_j),
        source=_source(figure.source for figure in counted),
    )


def _source(sources: Iterable[EnergySource]) -> Provenance:
    return combine(
        Provenance.ESTIMATED if source is EnergySource.ESTIMATED else Provenance.MEASURED
        for source in sources
    )


def _per_image(net: Net, images: int) -> Net:
    if net.energy_j is None or net.uncertainty_j is None:
        return net
    return Net(
        energy_j=net.energy_j / images,
        uncertainty_j=net.uncertainty_j / images,
        common_j=net.common_j / images,
        source=net.source,
    )


def _mean(nets: Sequence[Net]) -> Net:
    energies_j, doubts_j = [], []
    for net in nets:
        if net.energy_j is None or net.uncertainty_j is None:
            return net
        energies_j.append(net.energy_j)
        doubts_j.append(net.uncertainty_j)
    return Net(
        energy_j=fmean(energies_j),
        uncertainty_j=fmean(doubts_j),  # meters err alike in every block: no smaller by repeating
        common_j=fmean(net.common_j for net in nets),
        source=combine(net.source for net in nets),
    )


def _of(block: LayerBlock, what: str) -> LayerWindow:
    return next(window for window in block.windows if window.what == what)


def _over(blocks: Sequence[LayerBlock], value: Callable[[LayerBlock], float]) -> Interval:
    found = interval(value(block) for block in blocks)
    if found is None:
        raise ValueError("there is no block, so there is nothing to attribute")
    return found


def _ratio(over: Mapping[int, float], under: Mapping[int, float]) -> Interval:
    found = ratio(over, under)
    assert found is not None, "every block has all windows, and none is empty"
    return found


def _summary(values: Sequence[float]) -> Interval:
    found = interval(values, geometric=False)  # shares add up only as plain means
    assert found is not None
    return found
