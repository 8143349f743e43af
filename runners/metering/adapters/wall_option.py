"""What stands behind ``--meter wall:``: a URL, and behind its # what to read in the answer."""

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urlsplit

from greenbatch import privacy
from greenbatch.errors import UsageError, first_line
from greenbatch.runners.metering.adapters import redfish
from greenbatch.runners.metering.adapters.credentials import HOW, PLACEHOLDER

if TYPE_CHECKING:
    from jmespath.parser import ParsedResult

EXAMPLE = "--meter 'wall:http://plug.local/rpc/Switch.GetStatus?id=0#power=apower'"
UNITS_J = {"energy_j": 1.0, "energy_wh": 3600.0, "energy_kwh": 3.6e6}
_OTHERS = ("timeout", "interval", "refresh", "name", "counts", "fingerprint")
_LONGEST_S = 60.0
_FINGERPRINT = re.compile(r"[0-9A-Fa-f]{64}")


@dataclass(frozen=True, slots=True)
class WallSource:
    """What ``--meter wall:`` was given.

    Attributes:
        url: Where to ask.
        power, energy: JMESPath expressions; ``None``: not named. Both are ``None`` where the
            answer of a Redfish service is to decide, see `redfish.numbers`.
        unit_j: Of the energy, in J.
        timeout_s, interval_s: How long to wait for an answer, how often to ask, in s.
        refresh_s: How often the numbers are renewed, in s.
        name: The domain's.
        counts: Whether it is added to the total.
        fingerprint: SHA-256 of the certificate that is accepted, in hex digits; empty: any that
            a known authority vouches for.
    """

    url: str
    power: str | None
    energy: str | None
    unit_j: float
    timeout_s: float
    interval_s: float
    refresh_s: float
    name: str
    counts: bool
    fingerprint: str

    def __str__(self) -> str:
        return self.url


def parse(argument: str) -> WallSource:
    """Take apart what stands behind ``wall:``.

    Raises:
        UsageError: It is not a URL with a fragment of known words.
    """
    url, _, fragment = argument.partition("#")
    parts = _checked_url(url)
    words: dict[str, str] = {}
    for field in fragment.split("&") if fragment else ():
        key, _, value = field.partition("=")
        if key not in ("power", *UNITS_J, *_OTHERS) or not value:
            raise UsageError(
                f"{field!r} behind the # of {parts.geturl()} is invalid; "
                "wanted power=, energy_j=, energy_wh=, energy_kwh=, timeout=, interval=, refresh=, "
                "name=, fingerprint= or counts=yes, joined by & (within an expression, write %26 "
                "for &)"
            )
        if key in words:
            raise UsageError(f"{key}= stands twice behind the # of {parts.geturl()}; write it once")
        words[key] = unquote(value)
    energies = [key for key in UNITS_J if key in words]
    known = energies or "power" in words or redfish.is_service(parts)
    if len(energies) > 1 or not known:
        given = " and ".join(f"{key}=" for key in energies) or "neither power nor energy"
        raise UsageError(
            f"{given} behind the # of {url}; wanted power= or one of {', '.join(UNITS_J)}, "
            f"or both, as in {EXAMPLE}"
        )
    for key in ("power", *energies):
        if key in words:
            compiled(words[key])
    if words.get("counts", "no") not in ("yes", "no"):
        raise UsageError(f"counts={words['counts']} behind the # of {url}; wanted yes or no")
    return WallSource(
        url=url,
        power=words.get("power"),
        energy=words[energies[0]] if energies else None,
        unit_j=UNITS_J[energies[0]] if energies else 1.0,
        timeout_s=_seconds("timeout", words.get("timeout", "2")),
        interval_s=_seconds("interval", words.get("interval", "0.5")),
        refresh_s=_seconds("refresh", words.get("refresh", "1")),
        name=words.get("name", "wall"),
        counts=words.get("counts") == "yes",
        fingerprint=_fingerprint(words.get("fingerprint"), parts),
    )


def _checked_url(url: str) -> SplitResult:
    shown = privacy.masked(url)
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018  # raises where it is no number
    except ValueError as error:
        cause = privacy.masked(str(error))
        raise UsageError(f"wall:{shown} is no URL ({cause}); write it as in {EXAMPLE}") from error
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"wall:{shown} is no http or https URL; write it as in {EXAMPLE}")
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


def compiled(expression: str) -> "ParsedResult":
    import jmespath

    try:
        return jmespath.compile(expression)  # it keeps those it has seen
    except (jmespath.exceptions.JMESPathError, RecursionError) as error:
        raise UsageError(
            f"{expression[:80]!r} is no JMESPath expression ({first_line(error)}); see https://jmespath.org"
        ) from error


def _fingerprint(text: str | None, url: SplitResult) -> str:
    if text is None:
        return ""
    digits = text.replace(":", "")
    if not _FINGERPRINT.fullmatch(digits) or url.scheme != "https":
        raise UsageError(
            f"fingerprint={text[:80]} of the wall meter; wanted the SHA-256 of a certificate, 64 "
            "hex digits, of an https URL"
        )
    return digits.lower()
