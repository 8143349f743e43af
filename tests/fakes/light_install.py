"""An installation without extras: packages that are installed here look as if they were not."""

import os
from collections.abc import Mapping
from pathlib import Path

from greenbatch.extras import EXTRAS


def without_extras(folder: Path) -> Mapping[str, str]:
    """Return the environment of a process, and of its children, in which no extra is installed.

    Args:
        folder: Takes the module that every interpreter imports when it starts.
    """
    hidden = [package for packages in EXTRAS.values() for package in packages]
    (folder / "sitecustomize.py").write_text(
        f"import sys\nfor name in {hidden}:\n    sys.modules[name] = None\n"
    )
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    return {**os.environ, "PYTHONPATH": path}
