"""Opens the requested meters, or those that the machine has.

A distribution of its own adds a meter by an entry point in the group ``greenbatch.meters``: its
name is what ``--meter`` takes, its value names a class derived from `EnergyMeter`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import import_module, metadata
from typing import Self

from greenbatch.errors import GreenbatchError, MeterUnavailable, UnknownNameError, UsageError
from greenbatch.privacy import masked
from greenbatch.runners.metering.energy.idle_power import settles_slowly
from greenbatch.runners.metering.meter import Domain, EnergyMeter, MeterOptions

GROUP = "greenbatch.meters"
_HERE = "greenbatch.runners.metering"
METERS = {
    "nvml": f"{_HERE}.sources.nvml:NvmlMeter",
    "rapl": f"{_HERE}.sources.rapl:RaplMeter",
    "perf": f"{_HERE}.sources.perf_events:PerfMeter",
    "hwmon": f"{_HERE}.sources.hwmon:HwmonMeter",
    "hwmon-power": f"{_HERE}.sources.hwmon_power:HwmonPowerMeter",
    "intel-gpu": f"{_HERE}.sources.intel_gpu:IntelGpuMeter",
    "npu": f"{_HERE}.sources.npu:NpuMeter",
}
ESTIMATE = "estimate"
# Each is another door to what the one before it reads: `auto` takes the first that opens.
_CPU_METERS = ("rapl", "perf", "hwmon", "hwmon-power", ESTIMATE)


@dataclass(frozen=True, slots=True)
class Metering:
    """The meters of a run; closed by leaving its context.

    Attributes:
        meters: Those that are open.
        absent: Why each other one is not, one sentence by name.
    """

    meters: tuple[EnergyMeter, ...] = ()
    absent: dict[str, str] = field(default_factory=dict)

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The domains of all meters."""
        return tuple(domain for meter in self.meters for domain in meter.domains)

    @property
    def slowest_period_s(self) -> float | None:
        """The longest time between two news of a meter that counts: a window needs many, in s."""
        periods = [
            max(meter.tick_s, meter.focus_interval_s or meter.interval_s)
            for meter in self.meters
            if any(domain.counts for domain in meter.domains)
        ]
        return max(periods) if periods else None

    @property
    def settles(self) -> bool:
        """Whether idle power takes its time to settle after a load, as that of a GPU does."""
        return any(domain.counts and settles_slowly(domain) for domain in self.domains)

    def follow(self, pid: int | None) -> None:
        """Attribute what follows to this process and its descendants."""
        for meter in self.meters:
            meter.follow(pid)

    def close(self) -> None:
        """Close every meter."""
        for meter in self.meters:
            meter.close()

    def __enter__(self) -> Self:
        """Return the meters."""
        return self

    def __exit__(self, *exc_info: object) -> None:
        """Close every meter."""
        self.close()


@cache
def targets() -> dict[str, str]:
    """Return where each meter's class is, ``module:class`` by name; the estimate comes last."""
    plugins = {point.name: point.value for point in metadata.entry_points(group=GROUP)}
    return METERS | {**plugins, **METERS} | {ESTIMATE: f"{_HERE}.sources.estimate:EstimateMeter"}


def check_names(names: Sequence[str]) -> None:
    """Refuse names that no meter has.

    Raises:
        UnknownNameError: A name, without its argument, is neither a meter, ``auto`` nor ``none``.
        UsageError: ``none`` stands beside another name, or a meter is named twice.
    """
    heads = [name.partition(":")[0] for name in names]
    for head in heads:
        if head not in ("auto", "none", *targets()):
            raise UnknownNameError("meter", head, ("auto", *targets(), "none"))
        if heads.count(head) > 1:
            raise UsageError(f"meter {head!r} is named twice; name each once")
    if "none" in heads and len(heads) > 1:
        others = ", ".join(head for head in heads if head != "none")
        raise UsageError(f"meter 'none' cannot stand beside {others}; leave one of them out")


def network_meters(names: Sequence[str]) -> list[str]:
    """Return the meters that reach where their argument says, such as ``wall:http://...``.

    Whoever wrote the argument chose where requests from this machine go. Meters of other
    distributions may do the same, so each of them with an argument is one. Secrets are masked.

    Args:
        names: As `open_meters` takes them.
    """
    return [
        masked(name)
        for name in names
        if (parts := name.partition(":"))[2] and parts[0] not in (*METERS, ESTIMATE)
    ]


def open_meters(names: Sequence[str] = ("auto",), options: MeterOptions | None = None) -> Metering:
    """Open meters by name.

    Args:
        names: ``auto``: what the machine has; of the CPU's meters the first that can be read, the
            estimate the last of them. The name of a meter, with ``:ARGUMENT`` where it takes one:
            exactly this one. ``none``: no meter.
        options: What opening may depend on.

    Returns:
        The open meters, and why the others are absent.

    Raises:
        UsageError: See `check_names`; or two meters measure the same domain.
        MeterUnavailable: A meter that was named cannot be opened.
    """
    check_names(names)
    options = options or MeterOptions()
    arguments = {head: argument for head, _, argument in (name.partition(":") for name in names)}
    opened: dict[str, EnergyMeter] = {}
    absent: dict[str, str] = {}
    try:
        for name in targets():
            named = name in arguments
            if not named and "auto" not in arguments:
                absent[name] = "it was not asked for"
            elif not named and name in _CPU_METERS and (door := _reads_cpu(opened)):
                absent[name] = f"it is not needed: {door} reads the CPU"
            else:
                try:
                    meter = _open(name, replace(options, argument=arguments.get(name, "")))
                except MeterUnavailable as error:
                    if named:
                        raise
                    absent[name] = str(error)
                else:
                    _add(opened, meter, name)
    except BaseException:
        for meter in opened.values():
            meter.close()
        raise
    _without_parts_of_modules(opened.values())
    return Metering(tuple(opened.values()), absent)


def load(name: str) -> type[EnergyMeter]:
    """Import the class of a meter.

    Raises:
        MeterUnavailable: It cannot be imported.
    """
    module, _, attribute = targets()[name].partition(":")
    try:
        found: type[EnergyMeter] = getattr(import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise MeterUnavailable(
            f"the meter {name} cannot be imported from {module} ({error}); install it again"
        ) from error
    return found


def _open(name: str, options: MeterOptions) -> EnergyMeter:
    meter = load(name)
    if name in METERS or name == ESTIMATE:
        return meter.open(options)
    try:
        return meter.open(options)
    except GreenbatchError:
        raise
    except Exception as error:  # another author's code: it must not end a run that works without
        raise MeterUnavailable(
            f"the meter {name} failed to open: {type(error).__name__}: {error}"
        ) from error


def _reads_cpu(opened: dict[str, EnergyMeter]) -> str | None:
    """Return the name of an open meter that counts the CPU, alone or in a whole."""
    for name, meter in opened.items():
        if any(domain.part in ("cpu", "machine") and domain.counts for domain in meter.domains):
            return name
    return None


def is_module(domain: Domain) -> bool:
    """Return whether a domain is a superchip: a GPU, by its UUID, with its CPU and memory."""
    return domain.part == "machine" and bool(domain.uuid)


def _without_parts_of_modules(meters: Iterable[EnergyMeter]) -> None:
    """Leave the CPU and its memory out where a superchip's module counts, for it holds both."""
    every = list(meters)
    modules = [d.name for meter in every for d in meter.domains if is_module(d) and d.counts]
    for meter in every if modules else ():
        meter.domains = tuple(
            replace(domain, counts=False, note=f"{', '.join(modules)} holds its energy")
            if domain.part in ("cpu", "memory") and domain.counts
            else domain
            for domain in meter.domains
        )


def _add(opened: dict[str, EnergyMeter], meter: EnergyMeter, name: str) -> None:
    owners = {domain.name: other for other, m in opened.items() for domain in m.domains}
    opened[name] = meter
    if twin := next((domain.name for domain in meter.domains if domain.name in owners), None):
        raise UsageError(
            f"the meters {owners[twin]} and {name} both measure {twin}; choose one by --meter"
        )
