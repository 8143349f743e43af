"""The machine as the doctor sees it, from simulated sysfs, proc and cgroup trees."""

import math
from pathlib import Path

import pytest

from greenbatch.runners.doctor.machine import look
from greenbatch.runners.host.cores import memory_limit_bytes, quota_cores

pytestmark = pytest.mark.alone


def write(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_topology_and_frequency_control_come_from_sysfs(tmp_path: Path) -> None:
    cpus = "devices/system/cpu"
    write(
        tmp_path,
        {
            f"{cpus}/cpu0/topology/physical_package_id": "0\n",
            f"{cpus}/cpu1/topology/physical_package_id": "1\n",
            f"{cpus}/cpu0/cpufreq/scaling_governor": "powersave\n",
            f"{cpus}/cpu1/cpufreq/scaling_governor": "performance\n",
            f"{cpus}/intel_pstate/no_turbo": "1\n",
            f"{cpus}/cpufreq/boost": "1\n",
            f"{cpus}/smt/active": "1\n",
        },
    )
    machine = look(tmp_path)
    assert machine.sockets == 2
    assert machine.governor == "performance, powersave"
    assert machine.boost is False, "intel_pstate's own switch decides where there is one"
    assert machine.smt is True
    (tmp_path / cpus / "intel_pstate/no_turbo").unlink()
    assert look(tmp_path).boost is True


@pytest.mark.parametrize(
    ("granted", "used"), [([0, 1], (0,)), ([1, 2], (0, 1)), ([3], (1,)), ([], None), ([9], None)]
)
def test_the_sockets_of_the_granted_cores_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, granted: list[int], used: tuple[int, ...]
) -> None:
    cpus = "devices/system/cpu"
    packages = {f"{cpus}/cpu{n}/topology/physical_package_id": f"{n // 2}\n" for n in range(4)}
    write(tmp_path, packages)
    monkeypatch.setattr("greenbatch.runners.doctor.machine.affine_cpus", lambda: granted)
    assert look(tmp_path).sockets_used == used


def test_what_nothing_tells_is_not_known(tmp_path: Path) -> None:
    machine = look(tmp_path, root=tmp_path, environ={})
    for name in ("cpu", "sockets", "smt", "governor", "boost", "virtualized", "hypervisor"):
        assert getattr(machine, name) is None, name
    assert machine.container is None


@pytest.mark.parametrize(
    ("flags", "files", "expected"),
    [
        ("fpu hypervisor", {}, (True, None)),
        ("fpu hypervisor", {"class/dmi/id/sys_vendor": "QEMU\n"}, (True, "QEMU")),
        (
            "fpu hypervisor",
            {
                "class/dmi/id/sys_vendor": "Microsoft Corporation",
                "class/dmi/id/product_name": "Virtual Machine",
            },
            (True, "Hyper-V"),
        ),
        ("fpu", {"hypervisor/type": "xen\n"}, (True, "Xen")),
        ("fpu", {"class/dmi/id/sys_vendor": "Amazon EC2"}, (False, None)),
        (None, {"class/dmi/id/sys_vendor": "Amazon EC2"}, (None, None)),
    ],
)
def test_a_hypervisor_is_told_by_flag_and_named_by_dmi(
    tmp_path: Path,
    flags: str | None,
    files: dict[str, str],
    expected: tuple[bool | None, str | None],
) -> None:
    write(tmp_path / "sys", files)
    about = f"model name\t: Example 9000\nflags\t\t: {flags}\n" if flags else "BogoMIPS : 50\n"
    write(tmp_path, {"proc/cpuinfo": f"processor\t: 0\n{about}\nprocessor\t: 1\n"})
    machine = look(tmp_path / "sys", root=tmp_path, environ={})
    assert (machine.virtualized, machine.hypervisor) == expected
    assert machine.cpu == ("Example 9000" if flags else None)


@pytest.mark.parametrize(
    ("files", "environ", "container"),
    [
        ({".dockerenv": ""}, {}, "docker"),
        ({"run/.containerenv": ""}, {}, "podman"),
        ({".dockerenv": ""}, {"container": "lxc"}, "lxc"),
        ({}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, "kubernetes"),
        ({"proc/self/cgroup": "4:cpu:/kubepods/burstable/pod1\n"}, {}, "kubepods"),
        ({"proc/self/cgroup": "0::/user.slice\n"}, {}, None),
    ],
)
def test_a_container_leaves_signs(
    tmp_path: Path, files: dict[str, str], environ: dict[str, str], container: str | None
) -> None:
    write(tmp_path, files)
    assert look(tmp_path / "sys", root=tmp_path, environ=environ).container == container


@pytest.mark.parametrize(
    ("membership", "files", "cores", "limit_bytes"),
    [
        # version 2: the limit of the slice above is the smaller one
        (
            "0::/user.slice/run.scope\n",
            {
                "user.slice/cpu.max": "150000 100000",
                "user.slice/run.scope/cpu.max": "400000 100000",
                "user.slice/memory.max": "1073741824\n",
                "user.slice/run.scope/memory.max": "max\n",
            },
            1.5,
            1 << 30,
        ),
        # version 1: a path that only the host sees, and this cgroup mounted as the root
        (
            "4:memory:/docker/abc\n3:cpu,cpuacct:/docker/abc\n",
            {
                "cpu/cpu.cfs_quota_us": "50000",
                "cpu/cpu.cfs_period_us": "100000",
                "memory/memory.limit_in_bytes": "536870912",
            },
            0.5,
            1 << 29,
        ),
        (
            "3:cpu:/\n",
            {
                "cpu/cpu.cfs_quota_us": "-1",
                "cpu/cpu.cfs_period_us": "100000",
                "memory/memory.limit_in_bytes": "9223372036854771712",
            },
            math.inf,
            None,
        ),
        ("", {}, math.inf, None),
    ],
)
def test_the_limits_of_all_cgroups_above_count(
    tmp_path: Path,
    membership: str,
    files: dict[str, str],
    cores: float,
    limit_bytes: int | None,
) -> None:
    write(tmp_path, {"self": membership, **{f"groups/{name}": files[name] for name in files}})
    assert quota_cores(tmp_path / "groups", tmp_path / "self") == cores
    assert memory_limit_bytes(tmp_path / "groups", tmp_path / "self") == limit_bytes
