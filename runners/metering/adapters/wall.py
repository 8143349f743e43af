"""The whole machine through a wall plug or a power distribution unit that answers over HTTP.

``--meter 'wall:URL#power=EXPRESSION&energy_wh=EXPRESSION'``: the URL gives JSON, and JMESPath
expressions (https://jmespath.org) find the numbers in it.

A plug measures well and reports late: it refreshes its numbers about once a second, and most count
energy in steps of 1 Wh (3600 J). Power, integrated, is then the better of the two.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self
from urllib.parse import SplitResult, quote, unquote, urlsplit

from greenbatch import privacy
from greenbatch.errors import MeterUnavailable, UsageError, first_line
from greenbatch.records import EnergySource
from greenbatch.runners.metering.adapters import credentials
from greenbatch.runners.metering.adapters.credentials import HOW, PLACEHOLDER, Credentials
from greenbatch.runners.metering.meter import (
    Domain,
    EnergyMeter,
    MeterLost,
    MeterOptions,
    Reading,
)
from greenbatch.runners.metering.sampling.ticks import probe_ticks

if TYPE_CHECKING:
    from jmespath.parser import ParsedResult

_EXAMPLE = "--meter 'wall:http://plug.local/rpc/Switch.GetStatus?id=0#power=apower'"
_UNITS_J = {"energy_j": 1.0, "energy_wh": 3600.0, "energy_kwh": 3.6e6}
_REFRESH_S = 1.0  # what plugs with Shelly's or Tasmota's firmware do
_COARSEST_STEP_J = 1.0  # half of it at each end is 1 % of 2 s at 50 W
_PROBE_LIMIT_S = 5.0
_LONGEST_S = 60.0
_DIGITS = 15  # what a double holds of a decimal number


@dataclass(frozen=True, slots=True)
class _Source:
    """What ``--meter wall:`` was given; ``None``: not named."""

    url: str
    power: str | None
    energy: str | None
    unit_j: float
    timeout_s: float
    interval_s: float
    name: str
    counts: bool

    def __str__(self) -> str:
        return self.url


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

    def __init__(self, source: _Source, domain: Domain, login: Credentials | None) -> None:
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
                f"it needs to know where to read: {_EXAMPLE}; docs/meters.md has more"
            )
        try:
            import jmespath  # noqa: F401
        except ImportError as error:
            raise MeterUnavailable(
                "cannot read a wall plug: the Python package jmespath is not installed; "
                "run pip install 'greenbatch[wall]'"
            ) from error
        source = _parse(options.argument)
        login = _login(source, options.environ)
        first = _first(source, login)
        step_j = first.step_j
        counter = step_j is not None and (not source.power or step_j <= _COARSEST_STEP_J)
        tick_s = _tick_s(source, login, options) if counter else _REFRESH_S
        domain = Domain(
            name=source.name,
            source=EnergySource.COUNTER if counter else EnergySource.INTEGRATED,
            tick_s=max(tick_s, source.interval_s),
            counts=source.counts,
            part="machine",
            device=_described(source, step_j),
            lag_s=_REFRESH_S,
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


def _parse(argument: str) -> _Source:
    """Take apart what stands behind ``wall:``.

    Raises:
        UsageError: It is not a URL with a fragment of known words.
    """
    url, _, fragment = argument.partition("#")
    parts = _checked_url(url)
    words: dict[str, str] = {}
    for field in fragment.split("&") if fragment else ():
        key, _, value = field.partition("=")
        if key not in ("power", *_UNITS_J, "timeout", "interval", "name", "counts") or not value:
            raise UsageError(
                f"{field!r} behind the # of {parts.geturl()} is invalid; "
                "wanted power=, energy_j=, energy_wh=, energy_kwh=, timeout=, interval=, name= "
                "or counts=yes, joined by & (within an expression, write %26 for &)"
            )
        if key in words:
            raise UsageError(f"{key}= stands twice behind the # of {parts.geturl()}; write it once")
        words[key] = unquote(value)
    energies = [key for key in _UNITS_J if key in words]
    if len(energies) > 1 or not (energies or "power" in words):
        given = " and ".join(f"{key}=" for key in energies) or "neither power nor energy"
        raise UsageError(
            f"{given} behind the # of {url}; wanted power= or one of {', '.join(_UNITS_J)}, "
            f"or both, as in {_EXAMPLE}"
        )
    for key in ("power", *energies):
        if key in words:
            _compiled(words[key])
    if words.get("counts", "no") not in ("yes", "no"):
        raise UsageError(f"counts={words['counts']} behind the # of {url}; wanted yes or no")
    return _Source(
        url=url,
        power=words.get("power"),
        energy=words[energies[0]] if energies else None,
        unit_j=_UNITS_J[energies[0]] if energies else 1.0,
        timeout_s=_seconds("timeout", words.get("timeout", "2")),
        interval_s=_seconds("interval", words.get("interval", "0.5")),
        name=words.get("name", "wall"),
        counts=words.get("counts") == "yes",
    )


def _checked_url(url: str) -> SplitResult:
    shown = privacy.masked(url)
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # raises where it is no number
    except ValueError as error:
        cause = privacy.masked(str(error))
        raise UsageError(f"wall:{shown} is no URL ({cause}); write it as in {_EXAMPLE}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"wall:{shown} is no http or https URL; write it as in {_EXAMPLE}")
    if "@" in parts.netloc:
        raise UsageError(
            f"the URL of {parts.hostname} holds a user name, which would be written into "
            f"study.yaml; leave it out and {HOW}"
        )
    if secrets := privacy.secret_parameters(parts.query, PLACEHOLDER):
        raise UsageError(
            f"the URL of {parts.hostname} holds a secret, {secrets[0]}=..., which would be written "
            f"into study.yaml; write {secrets[0]}={PLACEHOLDER} and {HOW}"
        )
    return parts


def _login(source: _Source, environ: Mapping[str, str]) -> Credentials | None:
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


def _seconds(key: str, text: str) -> float:
    try:
        value_s = float(text)
    except ValueError:
        value_s = math.nan
    if not 0 < value_s <= _LONGEST_S:
        raise UsageError(
            f"{key}={text} of the wall meter; wanted a number of seconds above 0 and up to "
            f"{_LONGEST_S:g}"
        )
    return value_s


def _compiled(expression: str) -> "ParsedResult":
    import jmespath

    try:
        return jmespath.compile(expression)  # it keeps those it has seen
    except (jmespath.exceptions.JMESPathError, RecursionError) as error:
        raise UsageError(
            f"{expression[:80]!r} is no JMESPath expression ({first_line(error)}); see https://jmespath.org"
        ) from error


def _first(source: _Source, login: Credentials | None) -> _Look:
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


def _look(source: _Source, login: Credentials | None) -> _Look:
    """Ask once.

    Raises:
        MeterLost: No answer, or not in JSON.
    """
    answer = _fetch(source, login)
    power_w = energy_j = step_j = None
    faults = []
    if source.power:
        power_w, fault = _number(source, answer, source.power, "W")
        faults.append(fault)
    if source.energy:
        energy, fault = _number(source, answer, source.energy, "of energy")
        faults.append(fault)
        if energy is not None:
            energy_j, step_j = energy * source.unit_j, _step(energy) * source.unit_j
    return _Look(power_w, energy_j, step_j, tuple(fault for fault in faults if fault))


def _fetch(source: _Source, login: Credentials | None) -> object:
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
    text = fetch(url, str(source), authorization, source.timeout_s)
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
    source: _Source, answer: object, expression: str, unit: str
) -> tuple[float | None, str | None]:
    """Find a number that is not negative; else say why there is none."""
    import jmespath

    where = f"{expression!r} in the answer of {source}"
    try:
        found = _compiled(expression).search(answer)
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


def _tick_s(source: _Source, login: Credentials | None, options: MeterOptions) -> float:
    """Watch the counter for a while; one that is not seen to change is taken for a slow one."""

    def counter() -> dict[str, float]:
        return {source.name: _first(source, login).energy_j or 0.0}

    periods = probe_ticks(counter, options.clock, _PROBE_LIMIT_S, source.interval_s)
    return periods.get(source.name) or _PROBE_LIMIT_S


def _described(source: _Source, step_j: float | None) -> str:
    parts = [source.url]
    if source.power:
        parts.append(f"power {source.power}")
    if source.energy:
        step = f" in steps of {step_j:.3g} J" if step_j is not None else ""
        parts.append(f"energy {source.energy}{step}")
    return ", ".join(parts)
