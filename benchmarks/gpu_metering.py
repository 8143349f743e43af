"""The meters of a real GPU: what `make gpu-check` prints for docs/method.md.

- how often the energy counter ticks, as probed and as seen over ten seconds;
- idle power, by the counter and by power at this instant;
- what each call of NVML takes, and what the load loses while its meters are read;
- square-wave loads (matrix products and pauses) at random phase: energy by the counter against the
  integral of power at this instant, and against zeus where it is installed.

Of several GPUs it is the one that a process of CUDA takes first; the load is such a process, and
reports the UUID by which the meter is restricted to its device.

    python -m benchmarks.gpu_metering [--windows 8] [--output FILE.md] [--json FILE.jsonl]
"""

import argparse
import json
import os
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks.gpu_load import Load, LoadFailed
from greenbatch.errors import MeterUnavailable
from greenbatch.records import EnergyFigure
from greenbatch.runners.metering import Domain, EnergyFunction, MeterOptions, Recorder
from greenbatch.runners.metering.sources.nvml import NvmlMeter
from greenbatch.runners.metering.sources.nvml_cost import call_costs_s

PERIODS_S = (0.05, 0.2, 1.0)
WINDOW_S = 4.0
IDLE_S = 10.0
RATE_S, TURNS = 0.5, 5
_ALIKE = 0.05  # as the flag meter_disagrees
_LEAST_RATE = 0.97
_NOT_MEASURED = "not measured"
_OVER = ", at most"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the table.

    Attributes:
        what: Was measured.
        value: With its unit; empty where there is none.
        fault: What is wrong with it, one sentence; empty: nothing.
        missing: Why it was not measured, one sentence.
        of_load: Whether the load is needed for it.
    """

    what: str
    value: str = ""
    fault: str = ""
    missing: str = ""
    of_load: bool = False

    @property
    def markdown(self) -> str:
        """The line of a table."""
        verdict = self.fault or (f"not run: {self.missing}" if self.missing else "ok")
        return f"| {self.what} | {self.value or '-'} | {verdict} |"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """How long is measured.

    Attributes:
        windows: For each load.
        window_s, idle_s: Of a window, and of the stretch without load, in s.
        rate_s: Of one measurement of the load's rate, in s.
    """

    windows: int = 8
    window_s: float = WINDOW_S
    idle_s: float = IDLE_S
    rate_s: float = RATE_S


def main() -> None:
    """Print the table, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--windows", type=int, default=8, help="for each load")
    parser.add_argument("--window", type=float, default=WINDOW_S, help="length in s")
    parser.add_argument("--idle", type=float, default=IDLE_S, help="length in s")
    parser.add_argument("--output", type=Path, help="a file for the table, Markdown")
    parser.add_argument("--json", type=Path, help="a file to append each row to, a line of JSON")
    options = parser.parse_args()
    lengths = Lengths(windows=options.windows, window_s=options.window, idle_s=options.idle)
    lines = ["| what | value | verdict |", "|---|---|---|"]
    print(*lines, sep="\n", flush=True)
    with Load() as load:
        for row in report(load, lengths):
            print(row.markdown, flush=True)
            lines.append(row.markdown)
            if options.json:
                with options.json.open("a") as file:
                    print(json.dumps(asdict(row)), file=file)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n")


def report(load: Load, lengths: Lengths | None = None) -> Iterator[Row]:
    """Measure, and give the rows of the table as they come.

    Args:
        load: Its process runs; what it lacks is in the rows that need it.
        lengths: How long is measured.
    """
    lengths = lengths or Lengths()
    environ = dict(os.environ)
    if load.uuid:
        environ["CUDA_VISIBLE_DEVICES"] = load.uuid
    try:
        meter = NvmlMeter.open(MeterOptions(environ=environ))
    except MeterUnavailable as error:
        yield Row(what="meter", missing=str(error))
        return
    with meter:
        domain = meter.domains[0]
        yield _device(domain, len(meter.domains), load)
        yield from _at_rest(meter, domain, lengths.idle_s)
        yield from _calls(domain)
        try:
            yield _rate(meter, load, lengths.rate_s)
            for period_s in PERIODS_S:
                yield _wave(meter, domain, load, period_s, lengths)
        except LoadFailed as error:
            yield Row(what="load", fault=f"its process failed: {error}", of_load=True)


def _device(domain: Domain, others: int, load: Load) -> Row:
    import pynvml

    driver = pynvml.nvmlSystemGetDriverVersion()
    of = "" if others == 1 or load.uuid else f", the first of {others}"
    return Row(what="device", value=f"{domain.device}{of}, driver {driver}")


def _at_rest(meter: NvmlMeter, domain: Domain, idle_s: float) -> Iterator[Row]:
    """Give the counter's period and idle power."""
    with Recorder([meter], interval_s=0.001) as recorder:
        start_s = recorder.begin()
        time.sleep(idle_s)
        end_s = recorder.end()
        figure = _figure(recorder, domain, start_s, end_s)
        trace = recorder.trace(start_s, end_s)
    if figure.energy_j is None or figure.power_mean_w is None:
        yield Row(what="idle power", missing=str(figure.reason))
        return
    if f"{domain.name}_energy_j" in trace:
        yield Row(what="energy counter's period, as probed", value=f"{domain.tick_s * 1e3:.1f} ms")
        t_s, joules = trace[f"{domain.name}_t_s"], trace[f"{domain.name}_energy_j"]
        ticks = EnergyFunction.from_reads(t_s, t_s, joules, domain.tick_s).t_s
        what = f"the same over {idle_s:g} s: 5 %, median, 95 %"
        if len(ticks) < 2:
            yield Row(what=what, fault=f"the counter did not tick in {idle_s:g} s")
        else:
            low, mid, high = np.percentile(np.diff(ticks), [5, 50, 95]) * 1e3
            yield Row(what=what, value=f"{low:.1f}, {mid:.1f}, {high:.1f} ms")
    by = "the counter" if f"{domain.name}_energy_j" in trace else "power alone"
    yield Row(what=f"idle power by {by}", value=f"{figure.power_mean_w:.1f} W")
    if figure.other_energy_j is not None:
        idle_w = figure.other_energy_j / (end_s - start_s)
        fault = _apart([figure.disagreement or 0.0], [_share(figure)])
        what = "idle power by samples at this instant"
        yield Row(what=what, value=f"{idle_w:.1f} W", fault=fault)


def _calls(domain: Domain) -> Iterator[Row]:
    """Give the time of each call of NVML."""
    index = domain.name.removeprefix("gpu-")
    if not index.isdecimal():
        yield Row(what="time of NVML's calls", missing=f"{domain.name} is a part of a GPU")
        return
    for what, call_s in call_costs_s(int(index)).items():
        yield Row(what=f"time of a call for {what}", value=f"{call_s * 1e6:.0f} us")


def _rate(meter: NvmlMeter, load: Load, rate_s: float) -> Row:
    """Compare the load's rate alone with that while its meter is read as at a window's end."""
    what = "rate of the load while it is read, at a window's end"
    if load.missing:
        return Row(what=what, missing=load.missing, of_load=True)
    alone: list[float] = []
    beside: list[float] = []
    for _ in range(TURNS):
        alone.append(load.rate_hz(rate_s))
        with Recorder([meter]) as recorder:
            now_s = time.perf_counter()
            recorder.focus(now_s, now_s + 2 * rate_s)
            beside.append(load.rate_hz(rate_s))
    share = median(beside) / median(alone)
    slower = f"reading takes {1 - share:.1%} of the load's rate, wanted at most 3 %"
    return Row(
        what=what,
        value=f"{share:.1%} of {median(alone):.0f} Hz",
        fault=slower if share < _LEAST_RATE else "",
        of_load=True,
    )


def _wave(meter: NvmlMeter, domain: Domain, load: Load, period_s: float, lengths: Lengths) -> Row:
    """Compare the ways to the energy under a square-wave load."""
    what = f"square-wave load of {period_s * 1e3:g} ms, {lengths.windows} windows"
    if load.missing:
        return Row(what=what, missing=load.missing, of_load=True)
    powers_w, uncertainties, by_power, by_zeus = [], [], [], []
    zeus = zeus_monitor(domain)
    reason = "no window was measured"
    with _running(load, period_s), Recorder([meter]) as recorder:
        for _ in range(lengths.windows):
            time.sleep(random.uniform(0, period_s))
            start_s = recorder.begin()
            end_zeus = zeus() if zeus else None
            time.sleep(random.uniform(0.9, 1.1) * lengths.window_s)
            zeus_j = end_zeus() if end_zeus else None
            end_s = recorder.end()
            figure = _figure(recorder, domain, start_s, end_s)
            if not figure.energy_j:
                reason = figure.reason or "the energy is 0 J under load"
                continue
            powers_w.append(figure.energy_j / (end_s - start_s))
            uncertainties.append(_share(figure))
            if figure.disagreement is not None:
                by_power.append(figure.disagreement)
            if zeus_j is not None:
                by_zeus.append(zeus_j / figure.energy_j - 1)
    if not powers_w:
        return Row(what=what, fault=reason, of_load=True)
    return Row(
        what=what,
        value=(
            f"{median(powers_w):.0f} W ±{median(uncertainties):.1%}; against the counter, "
            f"median{_OVER}: integrated power {_spread(by_power)}, zeus {_spread(by_zeus)}"
        ),
        fault=_apart(by_power, uncertainties),
        of_load=True,
    )


@contextmanager
def _running(load: Load, period_s: float) -> Iterator[None]:
    load.wave(period_s)
    try:
        time.sleep(1.0)
        yield
    finally:
        load.rest()


def _figure(recorder: Recorder, domain: Domain, start_s: float, end_s: float) -> EnergyFigure:
    """Return the figure of the one device, whatever else its meter reads."""
    figures = recorder.energy(start_s, end_s)
    return next(figure for figure in figures if figure.domain == domain.name)


def _share(figure: EnergyFigure) -> float:
    return (figure.uncertainty_j or 0.0) / figure.energy_j if figure.energy_j else 0.0


def _apart(differences: list[float], uncertainties: list[float]) -> str:
    """Say what is wrong where counter and power differ by more than is stated."""
    if not differences:
        return ""
    found, stated = median(differences), max(_ALIKE, median(uncertainties))
    if abs(found) <= stated:
        return ""
    return f"counter and power differ by {found:+.1%}, wanted within ±{stated:.1%}"


def _spread(differences: list[float]) -> str:
    if not differences:
        return _NOT_MEASURED
    return f"{median(differences):+.2%} ({max(differences, key=abs):+.2%})"


def zeus_monitor(domain: Domain) -> "Callable[[], Callable[[], float]] | None":
    """Return what begins a window of zeus and gives what ends it, in J; ``None`` without zeus."""
    index = domain.name.removeprefix("gpu-")
    try:
        from zeus.monitor import ZeusMonitor
    except ImportError:
        return None
    if not index.isdecimal() or os.environ.get("CUDA_VISIBLE_DEVICES") is not None:
        return None  # zeus counts the visible devices alone, from 0
    monitor = ZeusMonitor(gpu_indices=[int(index)], approx_instant_energy=False)

    def begin() -> Callable[[], float]:
        monitor.begin_window("window", sync_execution=False)

        def end() -> float:
            return float(monitor.end_window("window", sync_execution=False).total_energy)

        return end

    return begin


if __name__ == "__main__":
    main()
