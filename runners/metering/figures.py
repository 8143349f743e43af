"""From what was read of a domain to the figures of a window."""

import numpy as np

from greenbatch.records import EnergyFigure, EnergySource, IdleFigure
from greenbatch.runners.metering.energy_function import (
    EnergyFunction,
    FloatArray,
    PowerFunction,
    Refusal,
    Stretch,
)
from greenbatch.runners.metering.meter import Domain
from greenbatch.runners.metering.series import History

_GAP_PERIODS = 10
_GAP_LEAST_S = 0.5  # a loaded machine may hold a sleeping thread back this long
_PEAK_LEAST_S = 0.1  # highest power is over at least this long, and several ticks
_PEAK_TICKS = 5
_POWER_STEP_W = 1e-3  # NVML states milliwatts


def energy_function(history: History, tick_s: float) -> EnergyFunction:
    """Build E(t) from the reads that had a counter's value."""
    has = np.isfinite(history.energy_j)
    return EnergyFunction.from_reads(
        history.before_s[has], history.after_s[has], history.energy_j[has], tick_s
    )


def power_function(history: History, lag_s: float) -> PowerFunction:
    """Build P(t) from the reads that had a power; each counts at the middle of its read."""
    has = np.isfinite(history.power_w)
    t_s = (history.before_s[has] + history.after_s[has]) / 2
    return PowerFunction(t_s, history.power_w[has], lag_s, _POWER_STEP_W)


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
    power = power_function(history, domain.lag_s)
    integrated = _guarded(
        power.between(t0_s, t1_s), power.t_s, history, t0_s, t1_s, limit_s, by_counter=False
    )
    peak_w = power.power_max_w(t0_s, t1_s)
    first: Stretch | Refusal = integrated
    source, reason = EnergySource.INTEGRATED, None
    if domain.source is not EnergySource.INTEGRATED:
        energy = energy_function(history, domain.tick_s)
        read_s = history.before_s[np.isfinite(history.energy_j)]
        counted = _guarded(
            energy.between(t0_s, t1_s), read_s, history, t0_s, t1_s, limit_s, by_counter=True
        )
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
    model_j = domain.band_relative * first.energy_j + domain.band_power_w * window_s
    second = integrated if source is not EnergySource.INTEGRATED else None
    both = isinstance(second, Stretch)
    return EnergyFigure(
        domain=domain.name,
        source=source,
        counts=domain.counts,
        energy_j=max(first.energy_j, 0.0),
        uncertainty_j=first.uncertainty_j + model_j,
        power_mean_w=first.energy_j / window_s if window_s > 0 else None,
        power_max_w=peak_w,
        other_source=EnergySource.INTEGRATED if both else None,
        other_energy_j=second.energy_j if isinstance(second, Stretch) else None,
        reason=reason,
    )


def idle_figure(figure: EnergyFigure, window_s: float) -> IdleFigure:
    """Turn the energy of an idle window into a mean power."""
    if figure.energy_j is None or figure.uncertainty_j is None:
        return IdleFigure(domain=figure.domain, source=figure.source, reason=figure.reason)
    return IdleFigure(
        domain=figure.domain,
        source=figure.source,
        power_w=figure.energy_j / window_s,
        uncertainty_w=figure.uncertainty_j / window_s,
        reason=figure.reason,
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


def _guarded(
    result: Stretch | Refusal,
    read_s: FloatArray,
    history: History,
    t0_s: float,
    t1_s: float,
    limit_s: float,
    *,
    by_counter: bool,
) -> Stretch | Refusal:
    """Refuse a window that a failure reaches into, and put the cause in place of the symptom."""
    for fault in history.faults:
        if not fault.broken or not by_counter:
            continue
        if fault.from_s <= t1_s + limit_s and fault.to_s >= t0_s - limit_s:
            return Refusal(fault.reason)
    if isinstance(result, Stretch):
        edges = np.flatnonzero((read_s[1:] >= t0_s) & (read_s[:-1] <= t1_s))
        if not len(edges) or np.diff(read_s)[edges].max() <= limit_s:
            return result
        longest_s = float(np.diff(read_s)[edges].max())
        result = Refusal(f"it was not read for {longest_s:.2f} s in the window")
    causes = [f for f in history.faults if f.from_s <= t1_s and f.to_s >= t0_s and not f.broken]
    return Refusal(causes[0].reason) if causes else result
