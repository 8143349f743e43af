"""Backends that other distributions bring, by entry points in the group ``greenbatch.backends``.

An entry point's name is the backend's, ``RUNTIME-PROVIDER``; its value is ``module:Class``. What
the provider is called is the device: ``cpu``, ``cuda``, or the maker's own word. The class is not
imported here.
"""

import re
from collections.abc import Iterable
from importlib import metadata

from greenbatch.errors import StudyError
from greenbatch.runners.backends.spec import BackendSpec

GROUP = "greenbatch.backends"
_NAME = re.compile(r"[a-z0-9_.]+(-[a-z0-9_.]+)+")
_TARGET = re.compile(r"[\w.]+:\w+")


def discover(taken: Iterable[str] = ()) -> dict[str, BackendSpec]:
    """Return the backends of the installed distributions by name.

    Args:
        taken: Names that are built in.

    Raises:
        StudyError: An entry point's name or value is malformed, or its name is another's too.
    """
    owners = dict.fromkeys(taken, "greenbatch")
    found = {}
    for point in metadata.entry_points(group=GROUP):
        owner = point.dist.name if point.dist else "a distribution without a name"
        found[point.name] = _spec(point, owner)
        if owners.setdefault(point.name, owner) != owner:
            raise StudyError(
                f"the backend {point.name!r} of {owner} is one of {owners[point.name]} too; "
                "uninstall one of the two"
            )
    return found


def _spec(point: metadata.EntryPoint, owner: str) -> BackendSpec:
    for what, text, pattern, wanted in (
        ("name", point.name, _NAME, "RUNTIME-PROVIDER in lower case, e.g. mine-cpu"),
        ("value", point.value, _TARGET, "module:Class"),
    ):
        if not pattern.fullmatch(text):
            raise StudyError(
                f"the backend of {owner} has the {what} {text!r}; wanted {wanted}; correct the "
                f"entry point in {GROUP}, or uninstall {owner}"
            )
    runtime, _, provider = point.name.rpartition("-")
    return BackendSpec(point.name, runtime, provider, provider, point.value)
