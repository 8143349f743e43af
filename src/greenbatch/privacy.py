"""What a run keeps is often published: it says nothing of the person, and holds no secret.

>>> masked("cannot read /home/ada/data/x.png: permission denied")
'cannot read ~/data/x.png: permission denied'
>>> masked("wall:http://plug.local/status?id=0&auth_key=abc#power=apower")
'wall:http://plug.local/status?id=0&auth_key=***#power=apower'
>>> masked("Example GPU GPU-1a2b3c4d-0000-1111-2222-333344445555")
'Example GPU GPU-1a2b3c4d'
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

HIDDEN = "***"

_SECRET = re.compile(
    r"auth|key|token|secret|pass|pwd|cred|session|jwt|(?:^|[^a-z])(?:sig|signature)$", re.IGNORECASE
)
_USER = re.compile(r"(?<=://)[^/?#@\s'\"]*@")
_PARAMETER = re.compile(r"(?<=[?&;])([^=&;#?\s]+)=([^&;#\s'\"<>]+)")
_UUID = re.compile(r"\b((?:GPU|MIG)-[0-9a-f]{8})(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", re.IGNORECASE)
_ENDS = r"(?=[/\s:;,'\")\]}]|$)"


def is_secret(key: str) -> bool:
    """Whether a parameter of a URL is by its name a password, a token or a key."""
    return _SECRET.search(unquote(key)) is not None


def secret_parameters(query: str, placeholder: str) -> list[str]:
    """List the parameters of a URL's query that hold a secret themselves.

    Args:
        query: As behind the ``?`` of a URL.
        placeholder: A value that stands for a secret kept elsewhere.
    """
    found = _PARAMETER.findall(f"?{query}")
    return [key for key, value in found if is_secret(key) and value != placeholder]


def masked(text: str) -> str:
    """Return a text without home folders (``~``), secrets of URLs and most of a GPU's UUID.

    Of a UUID the first 8 hex digits stay, enough to distinguish the GPUs of one machine.
    """
    text = _USER.sub(f"{HIDDEN}@", text)
    text = _PARAMETER.sub(_without_secret, text)
    text = _UUID.sub(r"\1", text)
    return _homes(_home()).sub("~", text)


def masked_members(value: Any) -> Any:
    """Return what JSON or YAML holds, each text in it as `masked` returns it."""
    if isinstance(value, str):
        return masked(value)
    if isinstance(value, Mapping):
        return {key: masked_members(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [masked_members(inner) for inner in value]
    return value


def contracted(path: str) -> str:
    """Return a path below this user's home folder from ``~`` on, another one as it is."""
    home = _home()
    inside = home != "/" and path.startswith(f"{home}/")
    return f"~{path.removeprefix(home)}" if inside else path


def expanded(path: str) -> str:
    """Return the path that `contracted` was given, or one that a user wrote with ``~/``."""
    return f"{_home()}{path[1:]}" if path.startswith("~/") else path


def _without_secret(found: "re.Match[str]") -> str:
    key, value = found.groups()
    literal = is_secret(key) and not value.startswith("{")
    return f"{key}={HIDDEN}" if literal else found[0]


def _home() -> str:
    try:
        return str(Path.home())
    except RuntimeError:  # a user without a name in a container
        return "/"


@cache
def _homes(home: str) -> "re.Pattern[str]":
    """Return what finds home folders: those of the usual places, and this user's."""
    kinds = [r"/home/[^/\s:;,'\")\]}]+", r"/Users/[^/\s:;,'\")\]}]+", "/root"]
    if home.count("/") > 1:
        kinds.insert(0, re.escape(home))
    return re.compile(rf"(?<![\w.~-])(?:{'|'.join(kinds)}){_ENDS}")
