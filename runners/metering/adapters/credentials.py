"""A plug's user name and password, each bound to a host: GB_WALL_AUTH, else ``~/.netrc``.

Whoever writes a study chooses the addresses in it; a password goes to the host alone that its
owner wrote beside it.
"""

import base64
import netrc
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from greenbatch.errors import MeterUnavailable, UsageError

VARIABLE = "GB_WALL_AUTH"
HOW = f"set {VARIABLE}=HOST=USER:PASSWORD, or name the host in ~/.netrc"
PLACEHOLDER = "{password}"
_ENTRY = re.compile(
    r"(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])=(?P<user>[^:]*):(?P<password>.*)"
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user name and a password; neither is shown."""

    user: str = field(repr=False)
    password: str = field(repr=False)

    @property
    def header(self) -> str:
        """The value of the header ``Authorization``."""
        pair = f"{self.user}:{self.password}".encode()
        return "Basic " + base64.b64encode(pair).decode("ascii")


def find(host: str, environ: Mapping[str, str]) -> Credentials | None:
    """Return the credentials of a host; ``None`` where there are none.

    Args:
        host: Its name or address, in small letters.
        environ: The environment.

    Raises:
        UsageError: The variable has an entry without a host.
        MeterUnavailable: ``~/.netrc`` cannot be read.
    """
    for number, text in enumerate(environ.get(VARIABLE, "").split(), start=1):
        entry = _ENTRY.fullmatch(text)
        if entry is None:
            raise UsageError(
                f"entry {number} of {VARIABLE} names no host; write {VARIABLE}=HOST=USER:PASSWORD "
                "(several with a space between), so that the password goes to that host alone"
            )
        if entry["host"].strip("[]").lower() == host:
            return Credentials(entry["user"], entry["password"])
    return _of_netrc(host)


def _of_netrc(host: str) -> Credentials | None:
    try:
        entry = netrc.netrc().hosts.get(host)  # not its default, which is for any host
    except FileNotFoundError:
        return None
    except (OSError, ValueError, netrc.NetrcParseError) as error:
        cause = getattr(error, "msg", None) or getattr(error, "strerror", None) or "it is not text"
        raise MeterUnavailable(f"cannot read ~/.netrc: {cause}; correct it") from error
    return Credentials(entry[0], entry[2] or "") if entry else None
