"""What the machine was like in a window, and the flags that follow from it."""

from collections.abc import Mapping
from dataclasses import replace

from greenbatch.records import Conditions, EnergyFigure, Flag
from greenbatch.runners.child.messages import Finished, Measured
from greenbatch.runners.host.load import DISTURBED_ABOVE, HostSampler
from greenbatch.runners.metering.sampling.sampler import Recorder

DISAGREES_ABOVE = 0.05
"""Share by which two ways of metering one device may differ."""


def conditions_around(
    reply: Finished, recorder: Recorder, host: HostSampler, cores: float, before: Conditions
) -> Conditions:
    """Add what the machine was like in a window to the conditions before it.

    Args:
        reply: Of the child.
        recorder: That read the meters meanwhile.
        host: Sampled the machine's load meanwhile.
        cores: Granted to this run.
        before: The conditions before.
    """
    start_s, end_s = reply.window
    devices = recorder.conditions(start_s, end_s, own_pids=(reply.pid,))
    return replace(
        before,
        foreign_load=host.foreign_load(start_s, end_s, reply.cpu_s, cores),
        clock_hz=_known({d.device: d.clock_hz for d in devices})
        | _known({f"{d.device}-memory": d.memory_clock_hz for d in devices}),
        power_limit_w=_known({d.device: d.power_limit_w for d in devices}),
        throttle_reasons=tuple(sorted({r for d in devices for r in d.throttle_reasons})),
        power_capped=_known({d.device: d.power_capped for d in devices}),
        utilization=_known({d.device: d.utilization for d in devices}),
        memory_utilization=_known({d.device: d.memory_utilization for d in devices}),
        temperature_mean_c=_known({d.device: d.temperature_mean_c for d in devices}),
        temperature_end_c=_known({d.device: d.temperature_end_c for d in devices}),
        memory_device_bytes={
            d.device: d.memory_bytes for d in devices if d.memory_bytes is not None
        },
        foreign_processes=(
            *before.foreign_processes,
            *(f"{d.device}: {other}" for d in devices for other in d.foreign_pids),
        ),
        processes_unknown=tuple(
            f"{d.device}: {d.processes_unknown}" for d in devices if d.processes_unknown
        ),
    )


def window_flags(energy: tuple[EnergyFigure, ...], conditions: Conditions) -> Flag:
    """Return the flags that follow from energy and conditions of any window."""
    flags = Flag(0)
    if conditions.throttle_reasons:
        flags |= Flag.THROTTLED
    if any(conditions.power_capped.values()):
        flags |= Flag.POWER_CAPPED
    if (conditions.foreign_load or 0.0) > DISTURBED_ABOVE or conditions.foreign_processes:
        flags |= Flag.DISTURBED
    for figure in energy:
        apart = figure.disagreement is not None and abs(figure.disagreement) > DISAGREES_ABOVE
        if apart and figure.contradicted:
            flags |= Flag.METER_DISAGREES
    return flags


def repetition_flags(
    reply: Measured, energy: tuple[EnergyFigure, ...], conditions: Conditions
) -> Flag:
    """Return the flags of a repetition: those of its window, and those that its child reports."""
    flags = window_flags(energy, conditions)
    for found, flag in (
        (not (reply.warm_up.settled and reply.figures.steady), Flag.UNSTEADY),
        (reply.fell_back, Flag.FALLBACK),
        (reply.figures.overloaded, Flag.OVERLOADED),
        (reply.figures.late, Flag.LATE),
    ):
        if found:
            flags |= flag
    return flags


def _known(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}
