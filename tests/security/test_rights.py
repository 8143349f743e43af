"""``gb doctor --fix-permissions --apply`` changes RAPL's counters and nothing else."""

import grp
import os
import shlex
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from greenbatch.cli import main
from greenbatch.errors import UsageError
from greenbatch.runners.doctor import permissions
from tests.fakes.powercap import Powercap

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
DEDICATED = "gb-test-no-such-group"


@pytest.fixture
def tree(tmp_path: Path) -> Powercap:
    tree = Powercap(tmp_path / "sys", layout="kernel")
    tree.add("intel-rapl:0", "package-0")
    (tree.path("intel-rapl:0") / "energy_uj").chmod(0o400)
    return tree


@pytest.fixture
def group(monkeypatch: pytest.MonkeyPatch) -> str:
    """A group of this tool's own that seems to exist, with a gid that no other has."""
    entry = grp.struct_group((permissions.GROUP, "x", 54321, []))
    monkeypatch.setattr(permissions, "_group", lambda name: entry)
    return permissions.GROUP


def _apply(tree: Powercap, group: str, ran: list[Sequence[str]], *, sysfs: bool = True) -> None:
    remedy = permissions.plan(group, sysfs=tree.sysfs, etc=tree.sysfs.parent / "etc")
    permissions.apply(
        remedy, ran.append, devices=tree.sysfs / "devices", is_sysfs=lambda descriptor: sysfs
    )


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return stat.S_IMODE(found.st_mode), found.st_gid


def test_a_counter_is_opened_to_the_group_and_the_rule_is_readable(
    tree: Powercap, group: str
) -> None:
    old = os.umask(0o077)
    try:
        _apply(tree, group, [])
    finally:
        os.umask(old)
    assert _state(tree.path("intel-rapl:0") / "energy_uj") == (0o440, 54321)
    (rule,) = (tree.sysfs.parent / "etc/udev/rules.d").iterdir()
    assert stat.S_IMODE(rule.stat().st_mode) == 0o644


@pytest.mark.parametrize("place", ["file", "zone"])
def test_a_link_to_another_file_is_refused_and_nothing_is_changed(
    tree: Powercap, group: str, tmp_path: Path, place: str
) -> None:
    secret = tmp_path / "elsewhere/intel-rapl:1/energy_uj"
    secret.parent.mkdir(parents=True)
    secret.write_text("root:x:0:0\n")
    secret.chmod(0o600)
    if place == "zone":
        (tree.root / "intel-rapl:1").symlink_to(secret.parent)
    else:
        zone = tree.add("intel-rapl:1", "package-1")
        (zone / "energy_uj").unlink()
        (zone / "energy_uj").symlink_to(secret)
    before = _state(secret), _state(tree.path("intel-rapl:0") / "energy_uj")
    ran: list[Sequence[str]] = []
    with pytest.raises(UsageError, match=r"is not a counter of RAPL below .*nothing was changed"):
        _apply(tree, group, ran)
    assert (_state(secret), _state(tree.path("intel-rapl:0") / "energy_uj")) == before
    assert ran == []
    assert not (tmp_path / "etc").exists()


def test_a_link_that_takes_the_place_of_a_counter_after_the_plan_is_refused(
    tree: Powercap, group: str, tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.touch(0o600)
    remedy = permissions.plan(group, sysfs=tree.sysfs, etc=tmp_path / "etc")
    (counter,) = remedy.counters
    counter.unlink()
    counter.symlink_to(secret)
    with pytest.raises(UsageError, match="it is a symbolic link"):
        permissions.apply(remedy, lambda _: None, devices=tree.sysfs, is_sysfs=lambda _: True)
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def test_a_file_that_is_not_of_sysfs_is_refused(tree: Powercap, group: str) -> None:
    with pytest.raises(UsageError, match="mount the kernel's sysfs at /sys"):
        _apply(tree, group, [], sysfs=False)
    assert _state(tree.path("intel-rapl:0") / "energy_uj")[0] == 0o400


def test_sysfs_is_recognised_by_the_list_of_mounts(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path, expected in (("/sys/kernel/uevent_seqnum", True), (tmp_path / "file", False)):
        if not Path(path).exists():
            pytest.skip("no sysfs is mounted here")
        descriptor = os.open(path, os.O_RDONLY)
        try:
            assert permissions._on_sysfs(descriptor) is expected
        finally:
            os.close(descriptor)


def test_no_path_from_the_environment_reaches_the_command_or_the_sudo_line(
    tree: Powercap, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GB_SYSFS", str(tree.sysfs))
    with pytest.raises(SystemExit):
        main(["doctor", "--fix-permissions"])
    assert str(tree.sysfs) not in capsys.readouterr().out
    assert "GB_SYSFS" not in permissions.sudo_line()


def test_commands_are_not_searched_in_a_path_of_somebody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted = tmp_path / "groupadd"
    planted.write_text(f"#!/bin/sh\ntouch {tmp_path}/planted-ran\n")
    planted.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError):
        permissions._run(("groupadd", "--gb-no-such-option"))
    assert not (tmp_path / "planted-ran").exists()


@pytest.mark.slow
def test_the_sudo_line_imports_nothing_from_the_current_folder(tmp_path: Path) -> None:
    for module in ("typer", "re", "psutil", "greenbatch"):
        (tmp_path / f"{module}.py").write_text(f"open({str(tmp_path / 'planted-ran')!r}, 'w')\n")
    sudo, *command = shlex.split(permissions.sudo_line())
    assert sudo == "sudo"
    command.remove("--apply")  # the plan alone: it changes nothing
    # As sudo by default, it leaves PYTHONPATH out; kept, it is not obeyed either.
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Nothing was changed" in done.stdout
    assert not (tmp_path / "planted-ran").exists()
    assert command[0] == sys.executable


@pytest.mark.parametrize("name", ["root", "disk", "shadow", "sudo", "wheel", "docker"])
def test_a_group_that_is_powerful_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="use --group greenbatch"):
        permissions.plan(name, sysfs=tmp_path, etc=tmp_path)


def test_a_group_of_the_system_is_refused_unless_this_tool_made_it(tmp_path: Path) -> None:
    name = next(
        entry.gr_name
        for entry in grp.getgrall()
        if 0 < entry.gr_gid < 1000 and entry.gr_name not in permissions._POWERFUL
    )
    with pytest.raises(UsageError, match="belongs to the system"):
        permissions.plan(name, sysfs=tmp_path, etc=tmp_path)
    rule = tmp_path / permissions._RULES
    rule.parent.mkdir(parents=True)
    rule.write_text(permissions._rule(name))
    assert permissions.plan(name, sysfs=tmp_path, etc=tmp_path).commands == ()


def test_names_are_no_options_of_the_commands(tmp_path: Path) -> None:
    remedy = permissions.plan(DEDICATED, sysfs=tmp_path, etc=tmp_path, user="-G")
    for command in remedy.commands:
        assert command[-2] == "--"


def test_the_user_who_joins_is_the_one_who_called_sudo(tmp_path: Path) -> None:
    assert permissions.calling_user({"SUDO_USER": "nobody", "USER": "disk"}) == "nobody"
    assert permissions.calling_user({"USER": "nobody"}) == "root"
    for wrong in ("-G", "gb-no-such-user"):
        with pytest.raises(UsageError, match="there is no such user"):
            permissions.calling_user({"SUDO_USER": wrong})
