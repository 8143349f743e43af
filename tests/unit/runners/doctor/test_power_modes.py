"""Modes of power: what nvpmodel and the firmware report."""

import os
from pathlib import Path

import pytest

from greenbatch.runners.doctor.machine import look
from greenbatch.runners.doctor.power_modes import jetson_mode, platform_profile
from greenbatch.runners.run.directory import differences

WARNED = "NVPM WARN: fan mode is not set!\\nNV Power Mode: MODE_15W_6CORE\\n2"


def _environ(folder: Path, script: str) -> dict[str, str]:
    """Return an environment whose nvpmodel runs a script."""
    program = folder / "nvpmodel"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return {"PATH": f"{folder}{os.pathsep}{os.environ['PATH']}"}


@pytest.mark.parametrize(
    ("script", "mode"),
    [
        ('test "$1" = -q && printf "NV Power Mode: MAXN\\n0\\n"', "MAXN (0)"),
        (f'printf "{WARNED}\\n"', "MODE_15W_6CORE (2)"),
        ('printf "NV Fan Mode:quiet\\nNV Power Mode: 15W\\n"', "15W"),
    ],
)
def test_a_jetsons_mode_is_its_name_and_number(tmp_path: Path, script: str, mode: str) -> None:
    assert jetson_mode(_environ(tmp_path, script)) == mode


def test_a_mode_that_is_not_reported_is_not_known_with_the_reason(tmp_path: Path) -> None:
    environ = _environ(tmp_path, "echo 'NVPM ERROR: need root' >&2; exit 255")
    assert jetson_mode(environ) == ("not known: nvpmodel -q ended with 255 (NVPM ERROR: need root)")


def test_elsewhere_there_is_none(tmp_path: Path) -> None:
    assert jetson_mode({"PATH": str(tmp_path)}) is None
    assert platform_profile(tmp_path) is None


def test_the_machine_has_them(tmp_path: Path) -> None:
    firmware = tmp_path / "firmware" / "acpi"
    firmware.mkdir(parents=True)
    (firmware / "platform_profile").write_text("low-power\n")
    machine = look(tmp_path, environ=_environ(tmp_path, 'printf "NV Power Mode: MAXN\\n0\\n"'))
    assert machine.platform_profile == "low-power"
    assert machine.power_mode == "MAXN (0)"


def test_a_resumed_run_has_the_same_modes_where_its_beginning_recorded_them() -> None:
    before, now = {"power mode": "MAXN (0)"}, {"power mode": "15W (1)", "platform profile": "quiet"}
    assert differences({"matters": before}, {"matters": now}) == [
        "power mode was 'MAXN (0)' and is '15W (1)'"
    ]
    assert differences({"matters": {}}, {"matters": now}) == []
