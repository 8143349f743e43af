"""The machine: processor, memory, frequency control, and what is around it.

Where facts come from: ``/proc/cpuinfo``, Documentation/ABI/testing/sysfs-devices-system-cpu and
Documentation/admin-guide/pm in the kernel tree, the cgroups of this process. Nothing is guessed:
what is not reported is ``None``.
"""

import hashlib
import os
import platform
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from greenbatch.errors import UsageError
from greenbatch.runners.doctor import power_modes
from greenbatch.runners.host.cores import affine_cpus, granted_cores, memory_limit_bytes

# What hypervisors write into the DMI tables, as systemd-detect-virt(1) lists them.
_HYPERVISORS = {
    "QEMU": "QEMU",
    "KVM": "KVM",
    "OpenStack": "KVM (OpenStack)",
    "Amazon EC2": "Amazon EC2",
    "Google Compute Engine": "Google Compute Engine",
    "VMware": "VMware",
    "VirtualBox": "VirtualBox",
    "innotek": "VirtualBox",
    "Virtual Machine": "Hyper-V",
    "Xen": "Xen",
    "BHYVE": "bhyve",
    "Parallels": "Parallels",
    "Bochs": "Bochs",
}
NAME_VARIABLE = "GB_MACHINE"
_NAME = re.compile(r"[\w.+-][\w .+-]{0,39}", re.ASCII)
_ENGINES = ("docker", "podman", "kubepods", "containerd", "lxc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What this machine is; ``None`` is 'not known'.

    Attributes:
        name: What its user calls it, by ``GB_MACHINE``; the host's name is not kept.
        id: Tells machines of one kind apart: a keyed hash of its host's name.
        cpu: The processor's name.
        architecture: Of the processor, as ``x86_64``.
        sockets, cores, hardware_threads: Processors, their physical cores, their threads.
        sockets_used: Numbers of the sockets that the granted cores lie on.
        cores_granted: Cores that affinity and the cgroup's quota leave to this process.
        smt: Whether a core runs several threads.
        governor: Who chooses the frequency; several, comma between, where cores differ.
        boost: Whether cores may run above their base frequency.
        power_mode: Of a Jetson, as ``nvpmodel`` names it; ``None`` elsewhere.
        platform_profile: As the firmware of a laptop names it; ``None`` where it has none.
        memory_bytes: Of the machine.
        memory_limit_bytes: What the cgroup allows; ``None``: no limit.
        os, kernel: The system's name, and the kernel's release.
        virtualized: Whether a hypervisor is under this machine.
        hypervisor: Which one, where it says.
        container: Around this process, as ``docker``; ``None``: no sign of one.
    """

    name: str | None
    id: str
    cpu: str | None
    architecture: str
    sockets: int | None
    cores: int | None
    hardware_threads: int | None
    cores_granted: float
    smt: bool | None
    governor: str | None
    boost: bool | None
    memory_bytes: int
    memory_limit_bytes: int | None
    os: str
    kernel: str
    virtualized: bool | None
    hypervisor: str | None
    container: str | None
    sockets_used: tuple[int, ...] | None = None
    power_mode: str | None = None
    platform_profile: str | None = None


def sysfs_root() -> Path:
    """Return where sysfs is: ``$GB_SYSFS``, else ``/sys``."""
    return Path(os.environ.get("GB_SYSFS") or "/sys")


def look(
    sysfs: Path | None = None,
    root: Path = Path("/"),
    environ: Mapping[str, str] = os.environ,
) -> Machine:
    """Describe this machine.

    Args:
        sysfs: Root of sysfs; by default `sysfs_root`.
        root: Where ``proc``, ``run`` and ``.dockerenv`` are; another one only in tests.
        environ: The environment, which may name the machine and a container.

    Raises:
        UsageError: ``GB_MACHINE`` is not a name.
    """
    import psutil

    sysfs = sysfs or sysfs_root()
    about = _cpuinfo(root / "proc/cpuinfo")
    virtualized, hypervisor = _hypervisor(sysfs, about.get("flags"))
    cpus = sysfs / "devices/system/cpu"
    return Machine(
        name=_name(environ.get(NAME_VARIABLE)),
        id=_id(root),
        cpu=about.get("model name"),
        architecture=platform.machine(),
        sockets=_sockets(cpus),
        cores=psutil.cpu_count(logical=False),
        hardware_threads=psutil.cpu_count(logical=True),
        cores_granted=granted_cores(),
        smt=_switch(cpus / "smt/active"),
        governor=_governor(cpus),
        boost=_boost(cpus),
        memory_bytes=psutil.virtual_memory().total,
        memory_limit_bytes=memory_limit_bytes(),
        os=_os(),
        kernel=platform.release(),
        virtualized=virtualized,
        hypervisor=hypervisor,
        container=_container(root, environ),
        sockets_used=_sockets_used(cpus, affine_cpus()),
        power_mode=power_modes.jetson_mode(environ),
        platform_profile=power_modes.platform_profile(sysfs),
    )


def _name(given: str | None) -> str | None:
    if given and not _NAME.fullmatch(given):
        raise UsageError(
            f"{NAME_VARIABLE} is {given!r}; wanted up to 40 letters, digits, spaces and ._+-, e.g. "
            f"{NAME_VARIABLE}=lab-3"
        )
    return given or None


def _id(root: Path) -> str:
    """Hash the host's name, keyed by systemd's secret number of this installation.

    machine-id(5) asks that the number itself is not published, and only keyed hashes of it are.
    The host's name tells containers and clones with one number apart. Without the number, who
    guesses the host's name can check the guess.
    """
    number = text_of(root / "etc/machine-id") or "greenbatch"
    key = hashlib.sha256(f"greenbatch {number}".encode()).digest()
    return hashlib.blake2b(platform.node().encode(), key=key, digest_size=4).hexdigest()


def text_of(path: Path) -> str | None:
    """Return what a file of sysfs or proc says, stripped; ``None`` where it cannot be read."""
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return None


def _cpuinfo(path: Path) -> dict[str, str]:
    """Return the members of the first processor."""
    first = (text_of(path) or "").partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _sockets(cpus: Path) -> int | None:
    packages = {text_of(p) for p in cpus.glob("cpu[0-9]*/topology/physical_package_id")}
    known = packages - {None, "-1"}  # -1: the platform does not report it
    return len(known) or None


def _sockets_used(cpus: Path, granted: Iterable[int]) -> tuple[int, ...] | None:
    """Return the sockets of some hardware threads; ``None`` where the platform hides one."""
    texts = [text_of(cpus / f"cpu{number}/topology/physical_package_id") for number in granted]
    if not texts or not all(text and text.isdecimal() for text in texts):
        return None
    return tuple(sorted({int(text or 0) for text in texts}))


def _governor(cpus: Path) -> str | None:
    found = {text_of(path) for path in cpus.glob("cpu[0-9]*/cpufreq/scaling_governor")}
    return ", ".join(sorted(name for name in found if name)) or None


def _boost(cpus: Path) -> bool | None:
    no_turbo = _switch(cpus / "intel_pstate/no_turbo")
    return _switch(cpus / "cpufreq/boost") if no_turbo is None else not no_turbo


def _switch(path: Path) -> bool | None:
    return {"0": False, "1": True}.get(text_of(path) or "")


def _os() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _hypervisor(sysfs: Path, flags: str | None) -> tuple[bool | None, str | None]:
    """Return whether a hypervisor is there, and which.

    x86 processors have a flag for it. A name in the DMI tables alone proves nothing: the same
    vendor rents machines without a hypervisor too.
    """
    kind = text_of(sysfs / "hypervisor/type")
    flagged = None if flags is None else "hypervisor" in flags.split()
    if not flagged and not kind:
        return flagged, None
    dmi = [text_of(sysfs / "class/dmi/id" / name) or "" for name in ("product_name", "sys_vendor")]
    named = (name for text in dmi for mark, name in _HYPERVISORS.items() if mark in text)
    return True, next(named, None) or (kind.capitalize() if kind else None)


def _container(root: Path, environ: Mapping[str, str]) -> str | None:
    if named := environ.get("container"):  # systemd's convention, kept by podman and lxc
        return named
    if (root / "run/.containerenv").exists():
        return "podman"
    if (root / ".dockerenv").exists():
        return "docker"
    if "KUBERNETES_SERVICE_HOST" in environ:
        return "kubernetes"
    groups = text_of(root / "proc/self/cgroup") or ""
    return next((engine for engine in _ENGINES if engine in groups), None)
