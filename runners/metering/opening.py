"""Opens the meters that were asked for, or those that the machine has."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Self, cast

from greenbatch.errors import MeterUnavailable, UnknownNameError, UsageError
from greenbatch.runners.metering.meter import Domain, Meter, MeterOptions

METERS = {
    "nvml": "greenbatch.runners.metering.nvml:NvmlMeter",
    "rapl": "greenbatch.runners.metering.rapl:RaplMeter",
    "estimate": "greenbatch.runners.metering.estimate:EstimateMeter",
}
_CHOICES = ("auto", *METERS, "none")


@dataclass(frozen=True, slots=True)
class Metering:
    """The meters of a run; closed by leaving its context.

    Attributes:
        meters: Those that are open.
        absent: Why each other one is not, one sentence by name.
    """

    meters: tuple[Meter, ...] = ()
    absent: dict[str, str] = field(default_factory=dict)

    @property
    def domains(self) -> tuple[Domain, ...]:
        """The domains of all meters."""
        return tuple(domain for meter in self.meters for domain in meter.domains)

    @property
    def slowest_period_s(self) -> float | None:
        """The longest time between two news of a meter, in s: a window needs many of them."""
        periods = [max(meter.tick_s, meter.interval_s) for meter in self.meters]
        return max(periods) if periods else None

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


def open_meters(names: Sequence[str] = ("auto",), options: MeterOptions | None = None) -> Metering:
    """Open meters by name.

    Args:
        names: ``auto``: what the machine has, with the estimate where no CPU counter can be
            read. ``nvml``, ``rapl``, ``estimate``: exactly these. ``none``: no meter.
        options: What opening may depend on.

    Returns:
        The open meters, and why the others are absent.

    Raises:
        UnknownNameError: A name is none of these.
        UsageError: ``none`` stands beside another name.
        MeterUnavailable: A meter that was named cannot be opened.
    """
    for name in names:
        if name not in _CHOICES:
            raise UnknownNameError("meter", name, _CHOICES)
    if "none" in names and len(set(names)) > 1:
        others = ", ".join(name for name in names if name != "none")
        raise UsageError(f"meter 'none' cannot stand beside {others}; leave one of them out")
    options = options or MeterOptions()
    opened: dict[str, Meter] = {}
    absent: dict[str, str] = {}
    automatic = "auto" in names
    try:
        for name in METERS:
            if name in names:
                opened[name] = _open(name, options)
            elif not automatic:
                absent[name] = "it was not asked for"
            elif name == "estimate" and "rapl" in opened:
                absent[name] = "it is not needed: rapl reads the CPU"
            else:
                try:
                    opened[name] = _open(name, options)
                except MeterUnavailable as error:
                    absent[name] = str(error)
    except BaseException:
        for meter in opened.values():
            meter.close()
        raise
    return Metering(tuple(opened.values()), absent)


def _open(name: str, options: MeterOptions) -> Meter:
    module, _, attribute = METERS[name].partition(":")
    opener = cast("Callable[[MeterOptions], Meter]", getattr(import_module(module), attribute).open)
    return opener(options)
