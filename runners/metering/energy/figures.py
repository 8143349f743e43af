"""From what was read of a domain to the figures of a window."""

from dataclasses import replace

import numpy as np

from greenbatch.records import EnergyFigure, EnergySource
from greenbatch.runners.metering.energy.energy_function import (
    EnergyFunction,
    FloatArray,
    PowerFunction,
    Refusal,
    Stretch,
)
from greenbatch.runners.metering.energy.sensor_doubt import counter_doubt_j
from greenbatch.runners.metering.meter import Domain
from greenbatch.runners.metering.sampling.unwrapping import History

_GAP_PERIODS = 10
_GAP_LEAST_S = 0.5  # a loaded machine may hold a sleeping thread back this long
_PEAK_LEAST_S = 0.1  # highest power is over at least this long, and several ticks
_PEAK_TICKS = 5
_SHAPES_PERIODS = 3  # power shapes a tick in which it is refreshed at least so often
_POWER_STEP_W = 1e-3  # NVML states milliwatts


def energy_function(
    history: History,
    tick_s: float,
    ends_s: tuple[float, ...] = (),
    shape: PowerFunction | None = None,
) -> EnergyFunction:
    """Build E(t) from the reads that had a counter's value."""
    has = np.isfinite(history.energy_j)
    return EnergyFunction.from_reads(
        history.before_s[has], history.after_s[has], history.energy_j[has], tick_s, shape, ends_s
    )


def power_function(history: History, domain: Domain) -> PowerFunction:
    """Build P(t) from the reads that had a power.

    Each counts at the middle of its read, less the age of what the domain's sensor shows.
    """
    has = np.isfinite(history.power_w)
    t_s = (history.before_s[has] + history.after_s[has]) / 2
    if domain.sensor:
        t_s -= domain.sensor.age_s
    power_w = history.power_w[has]
    return PowerFunction(t_s, power_w, domain.lag_s, _POWER_STEP_W, domain.sensor)


def shapes_ticks(domain: Domain) -> bool:
    """Return whether a domain's power shows how the energy of a tick lies inside it."""
    finest_s = domain.tick_s / _SHAPES_PERIODS
    refreshed = domain.refresh_s is not None and domain.refresh_s <= finest_s
    return refreshed and (domain.sensor is None or domain.sensor.window_s <= finest_s)


def energy_figure(
    domain: Domain, history: History, t0_s: float, t1_s: float, interval_s: float
) -> EnergyFigure:
    """Make the figure of a window.

    The counter (or the model of an estimate) comes first; power samples are the second way, or
    the first where there is no counter or where it failed in the window while power did not.

    Args:
        domain: What was read.
        history: All that was read.
        t0_s, t1_s: The window.
        interval_s: How often it was to be read.

    Returns:
        The figure; missing, with the reason, where the reads do not cover the window.
    """
    limit_s = max(_GAP_LEAST_S, _GAP_PERIODS * max(domain.tick_s, interval_s))
    power = power_function(history, domain)
    unread_s = max(_GAP_LEAST_S, _GAP_PERIODS * interval_s)
    integrated = _integrated(power, history, t0_s, t1_s, unread_s)
    peak_w = power.power_max_w(t0_s, t1_s)
    first: Stretch | Refusal = integrated
    source, reason = EnergySource.INTEGRATED, None
    if domain.source is not EnergySource.INTEGRATED:
        shape = power if len(power.t_s) > 0 and shapes_ticks(domain) else None
        energy = energy_function(history, domain.tick_s, (t0_s, t1_s), shape)
        counted = _counted(energy, history, t0_s, t1_s, limit_s)
        if domain.sensor and isinstance(counted, Stretch) and isinstance(integrated, Stretch):
            missed_j = counter_doubt_j(domain.sensor, power.t_s, power.power_w, t0_s, t1_s)
            counted = replace(counted, uncertainty_j=counted.uncertainty_j + missed_j)
        if isinstance(counted, Stretch) or isinstance(integrated, Refusal):
            first, source, reason = counted, domain.source, domain.note
        else:
            reason = f"integrated from power samples, as the counter failed: {counted.reason}"
        if peak_w is None:
            span_s = max(_PEAK_LEAST_S, _PEAK_TICKS * domain.tick_s)
            peak_w = energy.power_max_w(t0_s, t1_s, span_s)
    if isinstance(first, Refusal):
        return EnergyFigure(
            domain=domain.name,
            source=EnergySource.MISSING,
            counts=domain.counts,
            reason=f"{domain.name}: {first.reason}",
        )
    window_s = t1_s - t0_s
    mean_w = first.energy_j / window_s if window_s > 0 else None
    model_j = domain.band_relative * first.energy_j + domain.band_power_w * window_s
    second = integrated if source is not EnergySource.INTEGRATED else None
    both = isinstance(second, Stretch)
    return EnergyFigure(
        domain=domain.name,
        source=source,
        counts=domain.counts,
        energy_j=max(first.energy_j, 0.0),
        uncertainty_j=first.uncertainty_j + model_j,
        common_j=0.0 if source is EnergySource.ESTIMATED else model_j,
        power_mean_w=mean_w,
        power_max_w=max(peak_w, mean_w) if peak_w is not None and mean_w is not None else peak_w,
        other_source=EnergySource.INTEGRATED if both else None,
        other_energy_j=second.energy_j if isinstance(second, Stretch) else None,
        other_uncertainty_j=second.uncertainty_j if isinstance(second, Stretch) else None,
        reason=reason,
    )


def trace(name: str, history: History, t0_s: float, t1_s: float) -> dict[str, FloatArray]:
    """Cut a domain's reads to a window, with one read on either side; see `Recorder.trace`."""
    t_s = (history.before_s + history.after_s) / 2
    first = max(int(np.searchsorted(t_s, t0_s, side="right")) - 1, 0)
    last = min(int(np.searchsorted(t_s, t1_s, side="left")) + 1, len(t_s))
    if first >= last:
        return {}
    columns = {f"{name}_t_s": t_s[first:last] - t0_s}
    energy_j, power_w = history.energy_j[first:last], history.power_w[first:last]
    if len(known := np.flatnonzero(np.isfinite(energy_j))):
        columns[f"{name}_energy_j"] = energy_j - energy_j[known[0]]
    if np.isfinite(power_w).any():
        columns[f"{name}_power_w"] = power_w
    return columns


def _counted(
    energy: EnergyFunction, history: History, t0_s: float, t1_s: float, limit_s: float
) -> Stretch | Refusal:
    """Ask E(t), unless the counter broke in or next to the window, or could not be read for long.

    Time in which nobody tried to read does no harm inside a window: the counter went on.
    """
    for fault in history.faults:
        reach_s = limit_s if fault.broken else 0.0
        lasting = fault.broken or fault.to_s - fault.from_s > limit_s
        if lasting and fault.from_s <= t1_s + reach_s and fault.to_s >= t0_s - reach_s:
            return Refusal(fault.reason)
    found = energy.between(t0_s, t1_s)
    if isinstance(found, Refusal):
        return _caused(found, history, t0_s, t1_s)
    back = (history.back_s >= t0_s - limit_s) & (history.back_s <= t1_s + limit_s)
    return replace(found, uncertainty_j=found.uncertainty_j + float(history.back_j[back].sum()))


def _integrated(
    power: PowerFunction, history: History, t0_s: float, t1_s: float, limit_s: float
) -> Stretch | Refusal:
    """Ask P(t), unless there are no samples for a long part of the window."""
    found = power.between(t0_s, t1_s)
    if isinstance(found, Stretch):
        has = np.isfinite(history.power_w)
        before_s, after_s = history.before_s[has], history.after_s[has]
        touching = (after_s[1:] >= t0_s) & (before_s[:-1] <= t1_s)
        longest_s = float((after_s[1:] - before_s[:-1])[touching].max(initial=0.0))
        if longest_s <= limit_s:
            return found
        found = Refusal(f"its power was not read for {longest_s:.2f} s in the window")
    return _caused(found, history, t0_s, t1_s)


def _caused(refusal: Refusal, history: History, t0_s: float, t1_s: float) -> Refusal:
    """Put the cause in place of the symptom, where a fault in the window is one."""
    causes = (f for f in history.faults if f.from_s <= t1_s and f.to_s >= t0_s and not f.broken)
    return next((Refusal(fault.reason) for fault in causes), refusal)
