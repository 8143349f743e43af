"""The options of the conformance suite; only a command that names the suite gets them.

A ``conftest.py`` inside a package that ``--pyargs`` names is read too late to add an option.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

SUITE = "greenbatch.testing"


def pytest_load_initial_conftests(args: list[str], parser: "pytest.Parser") -> None:
    """Add the options."""
    if not any(word.startswith(SUITE) for word in args):
        return
    group = parser.getgroup(SUITE)
    group.addoption(
        "--backend",
        action="append",
        default=[],
        metavar="NAME",
        help="Backend to check. Repeatable.",
    )
    group.addoption(
        "--meter",
        action="append",
        default=[],
        metavar="NAME",
        help="Meter to check, with its argument if it takes one, e.g. mine:BAT1. Repeatable.",
    )
    group.addoption(
        "--most-watts",
        type=float,
        default=None,
        help="Power that no domain of the meter exceeds, in W. Default: by its part.",
    )
    group.addoption(
        "--artifacts",
        type=Path,
        default=None,
        help="Folder of artifacts. Default: new exports.",
    )
    group.addoption(
        "--model", default="shufflenet_v2_x0_5", help="Model to run. Default: %(default)s."
    )
