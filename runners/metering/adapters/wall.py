"""The whole machine through a wall plug or a power distribution unit that answers over HTTP.

``--meter 'wall:URL#power=EXPRESSION&energy_wh=EXPRESSION'``: the URL gives JSON, and JMESPath
expressions (https://jmespath.org) find the numbers in it. For a Redfish service see `redfish`.

A plug measures well and reports late: it refreshes its numbers about once a second, and most count
energy in steps of 1 Wh (3600 J). Power, integrated, is then the better of the two.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import quote, urlsplit

from greenbatch.errors import MeterUnavailable, first_line
from greenbatch.records import EnergySource
from greenbatch.runners.metering.adapters import credentials, redfish
from greenbatch.runners.metering.adapters.credentials import HOW, PLACEHOLDER, Credentials
from greenbatch.runners.metering.adapters.wall_option import EXAMPLE, WallSource, compiled, parse
from greenbatch.runners.metering.meter import (
    Domain,
    EnergyMeter,
    MeterLost,
    MeterOptions,
    Reading,
)
from greenbatch.runners.metering.sampling.ticks import probe_ticks

_COARSEST_STEP_J = 1.0  # half of it at each end is 1 % of 2 s at 50 W
_PROBE_LIMIT_S = 5.0
_DIGITS = 15  # what a double holds of a decimal number


@dataclass(frozen=True, slots=True)
class _Look:
    """One answer: power, the energy counter and its step, and why one of them is ``None``."""

    power_w: float | None
    energy_j: float | None
    step_j: float | None
    faults: tuple[str, ...]


class WallMeter(EnergyMeter):
    """Reads a plug: one domain, part ``machine``, which holds the energy of all other domains.

    Args:
        source: Where and how to read.
        domain: What it reports.
        login: The credentials of its host; ``None``: none.
    """

    name = "wall"

    def __init__(self, source: WallSource, domain: Domain, login: Credentials | None) -> None:
        self._source = source
        self._login = login
        self.domains = (domain,)
        self.interval_s = source.interval_s

    @classmethod
    def open(cls, options: MeterOptions) -> Self:
        """Read the plug once and see what it reports, and how fine.

        Raises:
            UsageError: What stands behind ``wall:`` cannot be meant.
            MeterUnavailable: No URL to read was given, jmespath is not installed, or the
                plug does not answer with the numbers.
        """
        if not options.argument:
            raise MeterUnavailable(
                f"it needs to know where to read: {EXAMPLE}; docs/meters.md has more"
            )
        try:
            import jmespath  # noqa: F401
        except ImportError as error:
            raise MeterUnavailable(
                "cannot read a wall plug: the Python package jmespath is not installed; "
                "run pip install 'greenbatch[wall]'"
            ) from error
        source = parse(options.argument)
        login = _login(source, options.environ)
        source = _completed(source, login)
        first = _first(source, login)
        step_j = first.step_j
        counter = step_j is not None and (not source.power or step_j <= _COARSEST_STEP_J)
        tick_s = _tick_s(source, login, options) if counter else source.refresh_s
        domain = Domain(
            name=source.name,
            source=EnergySource.COUNTER if counter else EnergySource.INTEGRATED,
            tick_s=max(tick_s, source.interval_s),
            counts=source.counts,
            part="machine",
            device=_described(source, step_j),
            lag_s=source.refresh_s,
        )
        return cls(source, domain, login)

    def read(self) -> Mapping[str, Reading]:
        """Ask the plug once; where one of two numbers is missing, the other is read alone.

        Raises:
            MeterLost: It does not answer, or not in JSON.
        """
        seen = _look(self._source, self._login)
        if seen.power_w is None and seen.energy_j is None:
            reading = Reading(reason="; ".join(seen.faults))
        else:
            reading = Reading(energy_j=seen.energy_j, power_w=seen.power_w)
        return {self._source.name: reading}


def _login(source: WallSource, environ: Mapping[str, str]) -> Credentials | None:
    """Return the credentials of the plug's host, where there are any.

    Raises:
        MeterUnavailable: The URL asks for a password, and none is known for its host.
    """
    host = str(urlsplit(source.url).hostname)
    login = credentials.find(host, environ)
    if login is None and PLACEHOLDER in source.url:
        raise MeterUnavailable(
            f"cannot read {source}: it wants the password of {host}, and none is known; {HOW}"
        )
    return login


def _completed(source: WallSource, login: Credentials | None) -> WallSource:
    """Ask a Redfish service where its numbers are, if none was named.

    Raises:
        MeterUnavailable: It does not answer, or with no such number.
    """
    if source.power or source.energy:
        return source
    try:
        found = redfish.numbers(_fetch(source, login), str(source))
    except MeterLost as error:
        raise MeterUnavailable(str(error)) from error
    return replace(source, power=found.power, energy=found.energy, unit_j=found.unit_j)


def _first(source: WallSource, login: Credentials | None) -> _Look:
    """Ask for the first time: all that was named must be there.

    Raises:
        MeterUnavailable: It is not.
    """
    try:
        seen = _look(source, login)
    except MeterLost as error:
        raise MeterUnavailable(str(error)) from error
    if seen.faults:
        raise MeterUnavailable("; ".join(seen.faults))
    return seen


def _look(source: WallSource, login: Credentials | None) -> _Look:
    """Ask once.

    Raises:
        MeterLost: No answer, or not in JSON.
    """
    answer = _fetch(source, login)
    power_w = energy_j = step_j = None
    faults = []
    if source.power:
        power_w, fault = _number(source, answer, source.power, "W")
        if power_w == 0:  # of a controller without a sensor, or of another machine's plug
            power_w, fault = (
                None,
                f"{source.power!r} of {source} is 0 W; a machine that runs draws more",
            )
        faults.append(fault)
    if source.energy:
        energy, fault = _number(source, answer, source.energy, "of energy")
        faults.append(fault)
        if energy is not None:
            energy_j, step_j = energy * source.unit_j, _step(energy) * source.unit_j
    return _Look(power_w, energy_j, step_j, tuple(fault for fault in faults if fault))


def _fetch(source: WallSource, login: Credentials | None) -> object:
    # `auto` imports this module everywhere: what opens a connection waits until there is one
    from greenbatch.runners.metering.adapters.http_answer import fetch

    url = urlsplit(source.url)
    authorization = login.header if login else None
    if login and PLACEHOLDER in source.url:
        authorization, password = None, quote(login.password, safe="")
        url = url._replace(
            path=url.path.replace(PLACEHOLDER, password),
            query=url.query.replace(PLACEHOLDER, password),
        )
    text = fetch(url, str(source), authorization, source.timeout_s, source.fingerprint)
    try:
        return json.loads(text)
    except RecursionError as error:
        raise MeterLost(
            f"cannot read {source}: the answer is nested too deep; check the URL"
        ) from error
    except ValueError as error:
        begin = text[:40].decode("utf-8", "replace")
        raise MeterLost(
            f"cannot read {source}: the answer is not JSON but begins with {begin!r}; check the URL"
        ) from error


def _number(
    source: WallSource, answer: object, expression: str, unit: str
) -> tuple[float | None, str | None]:
    """Find a number that is not negative; else say why there is none."""
    import jmespath

    where = f"{expression!r} in the answer of {source}"
    try:
        found = compiled(expression).search(answer)
    except jmespath.exceptions.JMESPathError as error:
        return None, f"cannot evaluate {where}: {first_line(error)}"
    if found is None:
        known = [key[:40] for key in list(answer)[:8]] if isinstance(answer, dict) else []
        keys = f"; it holds {', '.join(map(repr, known))}" if known else ""
        return None, f"there is no {where}{keys}"
    if isinstance(found, str):
        return None, f"{where} is the text {found[:40]!r}; write to_number({expression})"
    if isinstance(found, bool) or not isinstance(found, int | float):
        return None, f"{where} is {_text(found)[:40]}, wanted a number"
    try:
        number = float(found)
    except OverflowError:  # an integer of hundreds of digits
        number = math.inf
    if not math.isfinite(number) or number < 0:
        return None, f"{where} is {number} {unit}, wanted a number that is not negative"
    return number, None


def _text(found: object) -> str:
    try:
        return json.dumps(found)
    except RecursionError:
        return "nested too deep"


def _step(value: float) -> float:
    """Return the step of a decimal number, judged by its last digit: 0.01 for 12.34."""
    digits = f"{value:.{_DIGITS}g}"
    mantissa, _, exponent = digits.partition("e")
    decimals = len(mantissa.partition(".")[2])
    return float(10.0 ** (int(exponent or 0) - decimals))


def _tick_s(source: WallSource, login: Credentials | None, options: MeterOptions) -> float:
    """Watch the counter for a while; one that is not seen to change is taken for a slow one."""

    def counter() -> dict[str, float]:
        return {source.name: _first(source, login).energy_j or 0.0}

    periods = probe_ticks(counter, options.clock, _PROBE_LIMIT_S, source.interval_s)
    return periods.get(source.name) or _PROBE_LIMIT_S


def _described(source: WallSource, step_j: float | None) -> str:
    parts = [source.url]
    if source.power:
        parts.append(f"power {source.power}")
    if source.energy:
        step = f" in steps of {step_j:.3g} J" if step_j is not None else ""
        parts.append(f"energy {source.energy}{step}")
    return ", ".join(parts)
