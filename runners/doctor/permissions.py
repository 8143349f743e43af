"""RAPL's counters for a group that is not root, after every boot.

Since November 2020 the kernel lets root alone read ``energy_uj`` (CVE-2020-8694): who reads it
often enough can infer what other programs compute, keys included (PLATYPUS, Lipp et al., IEEE
S&P 2021). Opening it to everybody would open that door too; a group is the narrower way.

A udev rule does it, not a line for tmpfiles.d. Every zone, nested ones too, is a device of the
class ``powercap`` whose attributes exist when its ``add`` event is sent (drivers/powercap/
powercap_sys.c), so the rule also meets a driver that is loaded late or again; systemd-tmpfiles
sets modes once, early at boot, and misses zones that appear after it.

Root's part takes nothing from its environment but the name of the user who called sudo. A counter
is opened once, without following a link, checked by its descriptor and changed by it, so that no
other file can take its place in between.
"""

import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch.errors import UsageError
from greenbatch.files import draft, explain, make_folder

if TYPE_CHECKING:
    import grp

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
_COUNTER = re.compile(r"(.*/)?intel-rapl(-[a-z0-9]+)?:\d+(:\d+)?/energy_uj")
_SYSFS = Path("/sys")
_RULE_MODE = 0o644
_ADMIN_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"  # a PATH of somebody else's is not searched as root
_FIRST_GID = 1000  # below it are the groups of the system (login.defs(5), GID_MIN)
# Who is in one of these is root, can become root or reads what root alone should; or is nobody's.
_POWERFUL = frozenset(
    {"adm", "admin", "disk", "docker", "incus", "incus-admin", "kmem", "libvirt", "lxd", "mem"}
    | {"nobody", "nogroup", "podman", "root", "shadow", "sudo", "sys", "systemd-journal", "wheel"}
)

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
    """Return the command that applies the remedy with root's rights, from any folder.

    It runs Python isolated (``-I``): neither the current folder nor ``PYTHONPATH`` nor a user's
    own packages can put a module in the place of one that it imports.
    """
    command = [sys.executable, "-I", "-m", "greenbatch.cli", "doctor"]
    command += ["--fix-permissions", "--apply"]
    if group != GROUP:
        command += ["--group", group]
    return shlex.join(["sudo", *command])


def calling_user(environ: Mapping[str, str] = os.environ) -> str | None:
    """Return who is to join the group: who called sudo, else who runs this, where that has a name.

    Raises:
        UsageError: ``SUDO_USER`` names nobody.
    """
    import pwd

    name = environ.get("SUDO_USER")
    if os.geteuid() != 0 or not name:
        try:
            return pwd.getpwuid(os.geteuid()).pw_name
        except KeyError:  # a number that a container was given has no name
            return None
    try:
        return pwd.getpwnam(name).pw_name
    except KeyError as error:
        raise UsageError(
            f"SUDO_USER is {name!r}, and there is no such user; run the command by sudo as the "
            "user who is to read the counters"
        ) from error


def plan(
    group: str = GROUP,
    *,
    sysfs: Path = _SYSFS,
    etc: Path = Path("/etc"),
    user: str | None = None,
) -> Remedy:
    """Work out what is to be done; nothing is changed.

    Args:
        group: Whose members may read.
        sysfs: Root of sysfs.
        etc: Where the system's settings are.
        user: Who is to join the group; ``None``: nobody.

    Raises:
        UsageError: The group's name cannot be one, or its members have other rights too.
    """
    if not _NAME.fullmatch(group):
        raise UsageError(
            f"group {group!r} is no name of a group; use small letters, digits, '-' and '_', "
            f"as in --group {GROUP}"
        )
    rule_path, rule = etc / _RULES, _rule(group)
    entry = _group(group)
    own = group == GROUP or _reads(rule_path, rule)
    if group in _POWERFUL or (entry and not own and entry.gr_gid < _FIRST_GID):
        raise UsageError(
            f"the group {group!r} belongs to the system, and its members have other rights too; "
            f"use --group {GROUP}, which is created for this, or a group of users (gid "
            f"{_FIRST_GID} or more)"
        )
    commands: list[tuple[str, ...]] = []
    if entry is None:
        commands.append(("groupadd", "--system", "--", group))
    if user not in (None, "root", *(entry.gr_mem if entry else ())):
        commands.append(("usermod", "--append", "--groups", group, "--", str(user)))
    return Remedy(
        group=group,
        rule_path=rule_path,
        rule=rule,
        counters=tuple(counters(sysfs)),
        commands=tuple(commands),
    )


def apply(
    remedy: Remedy,
    run: Run | None = None,
    *,
    devices: Path = _SYSFS / "devices",
    is_sysfs: Callable[[int], bool] | None = None,
) -> None:
    """Write the rule, create the group, and open the counters that are there now.

    Args:
        remedy: What `plan` returned.
        run: Runs a command, and raises if it fails.
        devices: The folder below which counters lie, without links on the way.
        is_sysfs: Says of an open file whether it is sysfs'.

    Raises:
        UsageError: This user may not do that, a counter is not one of sysfs, or a command failed.
    """
    if os.geteuid() != 0:
        raise UsageError(f"only root can change permissions; run: {sudo_line(remedy.group)}")
    run = run or _run
    with contextlib.ExitStack() as stack:
        opened = []
        for path in remedy.counters:  # all of them are checked before anything is changed
            descriptor = _open_counter(path, devices, is_sysfs or _on_sysfs)
            stack.callback(os.close, descriptor)
            opened.append(descriptor)
        for command in remedy.commands:
            run(command)
        if (entry := _group(remedy.group)) is None:
            raise UsageError(f"cannot open RAPL to the group {remedy.group}: it does not exist")
        make_folder(remedy.rule_path.parent)
        with draft(remedy.rule_path, durable=True) as unfinished:
            unfinished.write_text(remedy.rule)
            unfinished.chmod(_RULE_MODE)
        try:
            for descriptor in opened:
                os.fchown(descriptor, -1, entry.gr_gid)
                os.fchmod(descriptor, MODE)
        except OSError as error:
            cause, _ = explain(error)
            raise UsageError(
                f"cannot open RAPL to the group {remedy.group}: {cause}; run it outside of a "
                "container"
            ) from error
    if shutil.which("udevadm", path=_ADMIN_PATH):
        run(("udevadm", "control", "--reload"))


def _reads(path: Path, text: str) -> bool:
    try:
        return path.read_text() == text
    except OSError:
        return False


def _open_counter(path: Path, devices: Path, is_sysfs: Callable[[int], bool]) -> int:
    """Open a counter and check that it is one; return its descriptor.

    Raises:
        UsageError: It is a link, lies elsewhere, or is no counter of sysfs.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        cause, cure = explain(error)
        raise UsageError(f"cannot open the counter {path}: {cause}; {cure}") from error
    real = Path(f"/proc/self/fd/{descriptor}").readlink()
    inside = real.is_relative_to(devices.resolve()) and _COUNTER.fullmatch(str(real))
    if inside and is_sysfs(descriptor):
        return descriptor
    os.close(descriptor)
    raise UsageError(
        f"{real} is not a counter of RAPL below {devices}, and nothing was changed; mount the "
        "kernel's sysfs at /sys"
    )


def _on_sysfs(descriptor: int) -> bool:
    """Whether an open file is of the kernel's sysfs, by the kernel's list of mounts."""
    device = os.fstat(descriptor).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        about, _, kind = line.partition(" - ")
        if about.split()[2] == number and kind.split()[0] == "sysfs":
            return True
    return False


def _rule(group: str) -> str:
    counter = "%S%p/energy_uj"
    return (
        f"# Written by 'gb doctor --fix-permissions': the group {group} may read RAPL's counters.\n"
        'ACTION=="add", SUBSYSTEM=="powercap", KERNEL=="intel-rapl*:*", TEST=="energy_uj", '
        f'RUN+="/bin/chgrp {group} {counter}", RUN+="/bin/chmod {MODE:04o} {counter}"\n'
    )


def _group(name: str) -> "grp.struct_group | None":
    """Return a group; ``None`` where there is none of that name."""
    import grp

    try:
        return grp.getgrnam(name)
    except KeyError:
        return None


def _run(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": _ADMIN_PATH, "LC_ALL": "C"},
        )
    except OSError as error:
        raise UsageError(f"cannot run '{shlex.join(command)}': {error.strerror}") from error
    if done.returncode:
        errors = done.stderr.strip().splitlines()
        raise UsageError(
            f"'{shlex.join(command)}' failed ({done.returncode})"
            + (f": {errors[-1]}" if errors else "")
        )
