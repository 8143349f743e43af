"""RAPL's counters for a group that is not root, after every boot.

Since November 2020 the kernel lets root alone read ``energy_uj`` (CVE-2020-8694): who reads it
often enough can infer what other programs compute, keys included (PLATYPUS, Lipp et al., IEEE
S&P 2021). Opening it to everybody would open that door too; a group is the narrower way.

A udev rule does it, not a line for tmpfiles.d. Every zone, nested ones too, is a device of the
class ``powercap`` whose attributes exist when its ``add`` event is sent (drivers/powercap/
powercap_sys.c), so the rule also meets a driver that is loaded late or again; systemd-tmpfiles
sets modes once, early at boot, and misses zones that appear after it.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from greenbatch.errors import UsageError

GROUP = "greenbatch"
MODE = 0o440
PROTECTION = (
    "Only root may read RAPL's counters, since November 2020: whoever reads them often can infer\n"
    "what other programs compute, keys included (PLATYPUS, CVE-2020-8694). Let in whom you trust."
)
WHY_UDEV = (
    "A udev rule acts whenever a zone appears: at every boot, and when its driver is loaded late;\n"
    "a line for tmpfiles.d would act once, early at boot, and miss zones that appear after it."
)
_RULES = "udev/rules.d/60-greenbatch-rapl.rules"
_NAME = re.compile(r"[a-z_][a-z0-9_-]{0,30}")  # what groupadd(8) takes

Run = Callable[[Sequence[str]], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Remedy:
    """What makes RAPL readable for a group.

    Attributes:
        group: Whose members may read.
        rule_path, rule: The udev rule, and its file.
        counters: The counters of this machine, which are opened at once too.
        commands: What creates the group and lets this user join it; empty where that is done.
    """

    group: str
    rule_path: Path
    rule: str
    counters: tuple[Path, ...]
    commands: tuple[tuple[str, ...], ...]


def counters(sysfs: Path) -> list[Path]:
    """List the energy counters below ``sysfs``, nested zones once."""
    powercap = sysfs / "class/powercap"
    found = [
        *powercap.glob("intel-rapl*:*/energy_uj"),
        *powercap.glob("intel-rapl*:*/intel-rapl*:*/energy_uj"),
    ]
    return sorted({path.resolve() for path in found})


def unreadable(sysfs: Path) -> list[Path]:
    """List the counters that are there, but not for this user."""
    effective = os.access in os.supports_effective_ids
    return [
        path for path in counters(sysfs) if not os.access(path, os.R_OK, effective_ids=effective)
    ]


def sudo_line(group: str = GROUP) -> str:
    """Return the command that applies the remedy with root's rights, from any folder."""
    command = [sys.executable, "-m", "greenbatch.cli", "doctor", "--fix-permissions", "--apply"]
    if group != GROUP:
        command += ["--group", group]
    moved = os.environ.get("GB_SYSFS")
    return shlex.join(["sudo", *([f"GB_SYSFS={moved}"] if moved else []), *command])


def plan(
    group: str = GROUP, *, sysfs: Path, etc: Path = Path("/etc"), user: str | None = None
) -> Remedy:
    """Work out what is to be done; nothing is changed.

    Args:
        group: Whose members may read.
        sysfs: Root of sysfs.
        etc: Where the system's settings are.
        user: Who is to join the group; ``None``: nobody.

    Raises:
        UsageError: The group's name cannot be one.
    """
    if not _NAME.fullmatch(group):
        raise UsageError(
            f"group {group!r} is no name of a group; use small letters, digits, '-' and '_', "
            f"as in --group {GROUP}"
        )
    members = _members(group)
    commands: list[tuple[str, ...]] = []
    if members is None:
        commands.append(("groupadd", "--system", group))
    if user not in (None, "root", *(members or ())):
        commands.append(("usermod", "--append", "--groups", group, str(user)))
    return Remedy(
        group=group,
        rule_path=etc / _RULES,
        rule=_rule(group),
        counters=tuple(counters(sysfs)),
        commands=tuple(commands),
    )


def apply(remedy: Remedy, run: Run | None = None) -> None:
    """Write the rule, create the group, and open the counters that are there now.

    Args:
        remedy: What `plan` returned.
        run: Runs a command, and raises if it fails.

    Raises:
        UsageError: This user may not do that, or a command failed.
    """
    if os.geteuid() != 0:
        raise UsageError(f"only root can change permissions; run: {sudo_line(remedy.group)}")
    run = run or _run
    for command in remedy.commands:
        run(command)
    try:
        remedy.rule_path.parent.mkdir(parents=True, exist_ok=True)
        remedy.rule_path.write_text(remedy.rule)
        for path in remedy.counters:
            shutil.chown(path, group=remedy.group)
            path.chmod(MODE)
    except (OSError, LookupError) as error:
        raise UsageError(f"cannot open RAPL to the group {remedy.group}: {error}") from error
    if shutil.which("udevadm"):
        run(("udevadm", "control", "--reload"))


def _rule(group: str) -> str:
    counter = "%S%p/energy_uj"
    return (
        f"# Written by 'gb doctor --fix-permissions': the group {group} may read RAPL's counters.\n"
        'ACTION=="add", SUBSYSTEM=="powercap", KERNEL=="intel-rapl*:*", TEST=="energy_uj", '
        f'RUN+="/bin/chgrp {group} {counter}", RUN+="/bin/chmod {MODE:04o} {counter}"\n'
    )


def _members(group: str) -> list[str] | None:
    """Return who is in a group; ``None`` where there is none of that name."""
    import grp

    try:
        return grp.getgrnam(group).gr_mem
    except KeyError:
        return None


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise UsageError(f"cannot run '{shlex.join(command)}': {error.strerror}") from error
    if done.returncode:
        said = done.stderr.strip().splitlines()
        raise UsageError(
            f"'{shlex.join(command)}' failed ({done.returncode})"
            + (f": {said[-1]}" if said else "")
        )
