"""Where the power is in the answer of a server's management controller (BMC) by Redfish.

The resources of DSP0268, the Redfish Data Model Specification (https://www.dmtf.org/dsp/DSP0268):

- ``Power`` of a chassis (deprecated since 2020.4): ``PowerControl[].PowerConsumedWatts``, in W;
- ``EnvironmentMetrics`` of a chassis or processor: ``PowerWatts.Reading`` in W,
  ``EnergyJoules.Reading`` in J, ``EnergykWh.Reading`` in kWh;
- ``Sensor``: ``Reading`` in ``ReadingUnits``, which are UCUM's: ``W``, ``J``, ``kW.h``.

A ``Chassis`` holds links to the first two. No link is followed: a request goes to the named URL.
"""

from dataclasses import dataclass
from urllib.parse import SplitResult

from greenbatch.errors import MeterUnavailable

_ENERGIES = {"EnergyJoules": 1.0, "EnergykWh": 3.6e6}
_UNITS_J = {"J": 1.0, "kW.h": 3.6e6}
_LINKS = ("EnvironmentMetrics", "Power")


@dataclass(frozen=True, slots=True)
class RedfishNumbers:
    """JMESPath expressions of power (in W) and energy, and the energy's unit in J."""

    power: str | None
    energy: str | None = None
    unit_j: float = 1.0


def is_service(url: SplitResult) -> bool:
    """Return whether a URL is that of a Redfish service: DSP0266 fixes where its path begins."""
    return url.path.startswith("/redfish/v1/")


def numbers(answer: object, shown: str) -> RedfishNumbers:
    """Find the numbers by the type of the resource.

    Args:
        answer: The resource.
        shown: What to call its URL in messages.

    Raises:
        MeterUnavailable: It is no resource with a power or an energy, or several would do.
    """
    resource = answer if isinstance(answer, dict) else {}
    kind = str(resource.get("@odata.type", "")).rpartition(".")[2][:60]
    if kind == "Power":
        return _of_power(resource.get("PowerControl"), shown)
    if kind == "EnvironmentMetrics" and (found := _of_metrics(resource)):
        return found
    unit = str(resource.get("ReadingUnits"))
    if kind == "Sensor" and unit == "W":
        return RedfishNumbers("Reading")
    if kind == "Sensor" and unit in _UNITS_J:
        return RedfishNumbers(None, "Reading", _UNITS_J[unit])
    links = [_link(resource, name) for name in _LINKS]
    raise MeterUnavailable(
        f"{shown} is a resource of type {kind or 'not known'} without a power; name one that has "
        f"it, such as {' or '.join(filter(None, links)) or '.../Chassis/1/EnvironmentMetrics'}, or "
        "write power= behind the #"
    )


def _of_power(controls: object, shown: str) -> RedfishNumbers:
    """Take the only member that has a power: others may be parts of the first."""
    listed = controls if isinstance(controls, list) else []
    names = {
        number: str(control.get("Name", ""))
        for number, control in enumerate(listed)
        if isinstance(control, dict) and _is_number(control.get("PowerConsumedWatts"))
    }
    if len(names) == 1:
        return RedfishNumbers(f"PowerControl[{next(iter(names))}].PowerConsumedWatts")
    listing = ", ".join(f"[{number}] {name[:40]!r}" for number, name in list(names.items())[:8])
    raise MeterUnavailable(
        f"{shown} has {len(names)} members of PowerControl with a power"
        + (f" ({listing}), and one may be a part of another" if names else "; is the host on?")
        + "; name one behind the #, such as power=PowerControl[0].PowerConsumedWatts"
    )


def _of_metrics(resource: dict[str, object]) -> RedfishNumbers | None:
    energy = next((name for name in _ENERGIES if _has_reading(resource, name)), None)
    power = "PowerWatts.Reading" if _has_reading(resource, "PowerWatts") else None
    if energy:
        return RedfishNumbers(power, f"{energy}.Reading", _ENERGIES[energy])
    return RedfishNumbers(power) if power else None


def _has_reading(resource: dict[str, object], name: str) -> bool:
    excerpt = resource.get(name)
    return isinstance(excerpt, dict) and _is_number(excerpt.get("Reading"))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _link(resource: dict[str, object], name: str) -> str | None:
    link = resource.get(name)
    target = link.get("@odata.id") if isinstance(link, dict) else None
    return target[:120] if isinstance(target, str) else None
