"""Modes of a whole machine that bound its power: a Jetson's, and a laptop's platform profile.

- NVIDIA Jetson Linux Developer Guide, 'Supported Modes and Power Efficiency': ``nvpmodel -q``
  writes ``NV Power Mode: MAXN`` and its number on the next line, between warnings.
- Documentation/userspace-api/sysfs-platform_profile.rst in the kernel tree:
  ``/sys/firmware/acpi/platform_profile`` names the profile in effect.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

_PROGRAM = "nvpmodel"
_FOLDERS = "/usr/sbin:/sbin"  # where it is, which is not on every user's PATH
_TIMEOUT_S = 5.0
_MODE = re.compile(r"NV Power Mode:[ \t]*(\S[^\n]*)(?:\s*^(\d+)\s*$)?", re.MULTILINE)


def platform_profile(sysfs: Path) -> str | None:
    """Return the platform profile, such as ``balanced``; ``None`` where there is none."""
    try:
        text = (sysfs / "firmware/acpi/platform_profile").read_text(errors="replace").strip()
    except OSError:
        return None
    return text[:80] or None


def jetson_mode(environ: Mapping[str, str]) -> str | None:
    """Return a Jetson's power mode, such as ``MODE_30W (2)``; ``None`` elsewhere.

    Where ``nvpmodel`` is there and does not report a mode, that is what is returned.

    Args:
        environ: Has the PATH.
    """
    path = os.pathsep.join(filter(None, [environ.get("PATH"), _FOLDERS]))
    program = shutil.which(_PROGRAM, path=path)
    if program is None:
        return None
    try:
        run = subprocess.run(
            [program, "-q"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"not known: {_PROGRAM} -q failed ({type(error).__name__})"
    found = _MODE.search(run.stdout)
    if found is None:
        cause = " ".join((run.stderr.strip() or run.stdout.strip()).split())[:80]
        return f"not known: {_PROGRAM} -q ended with {run.returncode} ({cause or 'no words'})"
    name = found[1].strip()[:80]
    return f"{name} ({found[2]})" if found[2] else name
