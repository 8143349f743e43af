"""An installation without extras: packages that are installed here look as if they were not."""

import os
from collections.abc import Mapping
from pathlib import Path

from greenbatch.extras import EXTRAS

_HIDING = """
from importlib.machinery import PathFinder

found = PathFinder.find_spec

def find_spec(name, *given):
    return None if name.partition(".")[0] in {hidden} else found(name, *given)

PathFinder.find_spec = find_spec
"""


def without_extras(folder: Path) -> Mapping[str, str]:
    """Return the environment of a process, and of its children, in which no extra is installed.

    Nothing stands in ``sys.modules`` for a hidden package: scipy looks there for torch.

    Args:
        folder: Takes the module that every interpreter imports when it starts.
    """
    hidden = [package for packages in EXTRAS.values() for package in packages]
    (folder / "sitecustomize.py").write_text(_HIDING.format(hidden=hidden))
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path}
