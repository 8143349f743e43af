"""RAPL opened to a group, against a simulated sysfs and /etc."""

import grp
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path

import pytest

from greenbatch.cli import main
from greenbatch.errors import UsageError
from greenbatch.runners.doctor import permissions
from tests.fakes.powercap import Powercap, as_nobody

pytestmark = pytest.mark.alone


NEW_GROUP = "gb-test-no-such-group"
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture
def tree(tmp_path: Path) -> Powercap:
    tree = Powercap(tmp_path / "sys", layout="kernel")
    tree.add("intel-rapl:0", "package-0")
    tree.add("intel-rapl:0:0", "dram")
    for path in permissions.counters(tree.sysfs):
        path.chmod(0o400)
    return tree


def test_the_plan_names_every_counter_once_and_the_missing_group(tree: Powercap) -> None:
    remedy = permissions.plan(NEW_GROUP, sysfs=tree.sysfs, etc=Path("/etc"), user="alice")
    assert [path.parent.name for path in remedy.counters] == ["intel-rapl:0", "intel-rapl:0:0"]
    assert remedy.commands == (
        ("groupadd", "--system", "--", NEW_GROUP),
        ("usermod", "--append", "--groups", NEW_GROUP, "--", "alice"),
    )
    assert str(remedy.rule_path) == "/etc/udev/rules.d/60-greenbatch-rapl.rules"
    comment, rule = remedy.rule.splitlines()
    assert comment.startswith("# ")
    keys = re.findall(r'(\w+)(==|\+=)"([^"]*)"', rule)
    assert ", ".join('{}{}"{}"'.format(*key) for key in keys) == rule, "not a udev rule"
    assert keys == [
        ("ACTION", "==", "add"),
        ("SUBSYSTEM", "==", "powercap"),
        ("KERNEL", "==", "intel-rapl*:*"),
        ("TEST", "==", "energy_uj"),
        ("RUN", "+=", f"/bin/chgrp {NEW_GROUP} %S%p/energy_uj"),
        ("RUN", "+=", "/bin/chmod 0440 %S%p/energy_uj"),
    ]


def _apply(remedy: permissions.Remedy, tree: Powercap, run: permissions.Run | None = None) -> None:
    permissions.apply(remedy, run, devices=tree.sysfs / "devices", is_sysfs=lambda _: True)


@root_only
def test_apply_writes_the_rule_and_opens_the_counters_to_the_group_alone(
    tree: Powercap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.which", lambda name, path: "/bin/udevadm")
    group = next(entry.gr_name for entry in grp.getgrall() if entry.gr_gid != os.getgid())
    monkeypatch.setattr(permissions, "GROUP", group)
    monkeypatch.setattr(permissions, "_POWERFUL", ())
    ran: list[Sequence[str]] = []
    remedy = permissions.plan(group, sysfs=tree.sysfs, etc=tmp_path / "etc")
    assert remedy.commands == ()
    _apply(remedy, tree, ran.append)
    assert (tmp_path / "etc/udev/rules.d/60-greenbatch-rapl.rules").read_text() == remedy.rule
    for path in permissions.counters(tree.sysfs):
        assert stat.S_IMODE(path.stat().st_mode) == 0o440
        assert path.group() == group
    assert ran == [("udevadm", "control", "--reload")]


@root_only
def test_a_command_that_fails_changes_nothing(tree: Powercap, tmp_path: Path) -> None:
    remedy = permissions.plan(NEW_GROUP, sysfs=tree.sysfs, etc=tmp_path / "etc")
    failing = permissions.Remedy(
        group=remedy.group,
        rule_path=remedy.rule_path,
        rule=remedy.rule,
        counters=remedy.counters,
        commands=(("ls", "/gb-no-such-folder"),),
    )
    with pytest.raises(UsageError, match=r"'ls /gb-no-such-folder' failed \(2\): ls: "):
        _apply(failing, tree)
    with pytest.raises(UsageError, match=f"cannot open RAPL to the group {NEW_GROUP}"):
        _apply(remedy, tree, lambda command: None)  # the group was not made after all
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o400 for path in remedy.counters)


def test_without_root_nothing_is_changed_and_the_sudo_line_is_told(
    tree: Powercap, tmp_path: Path
) -> None:
    remedy = permissions.plan("energy", sysfs=tree.sysfs, etc=tmp_path / "etc")
    with as_nobody(), pytest.raises(UsageError, match="only root can") as caught:
        permissions.apply(remedy)
    assert re.search(
        r"run: sudo \S+ -I -m greenbatch.cli doctor --fix-permissions --apply --group energy$",
        str(caught.value),
    )
    assert not (tmp_path / "etc").exists()


@pytest.mark.parametrize("name", ["", "a b", "Energy", 'x", RUN+="reboot', "-x"])
def test_a_group_that_cannot_be_one_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="is no name of a group"):
        permissions.plan(name, sysfs=tmp_path)


def test_the_command_shows_the_plan_and_changes_nothing(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["doctor", "--fix-permissions", "--group", NEW_GROUP])
    out = capsys.readouterr().out
    assert exit_.value.code == 0
    assert "CVE-2020-8694" in out
    assert f"groupadd --system -- {NEW_GROUP}" in out
    assert "Nothing was changed" in out
    assert not Path("/etc/udev/rules.d/60-greenbatch-rapl.rules").exists()
