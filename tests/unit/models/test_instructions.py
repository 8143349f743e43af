"""Which instructions for int8 a processor has, as an artifact's manifest names them."""

import ctypes
import platform
from pathlib import Path

import pytest

from greenbatch.models import instructions
from greenbatch.models.instructions import instruction_set

SERVER = "fpu avx2 avx512f avx512dq avx512bw avx512vl avx512_vnni avx_vnni amx_tile amx_int8"


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "expected"),
    [
        ("x86_64", f"flags\t\t: {SERVER}", "x86_64 avx2 avx512 avx512_vnni avx_vnni amx_int8"),
        ("x86_64", "flags\t: fpu avx avx2 bmi2", "x86_64 avx2"),
        ("x86_64", "flags\t: avx2 avx512f amx_tile", "x86_64 avx2"),  # int8 needs more of each
        ("x86_64", "", "x86_64"),
        ("aarch64", "Features\t: fp asimd asimddp i8mm", "aarch64 asimddp i8mm"),
        ("aarch64", "Features\t: fp asimd", "aarch64"),
    ],
)
def test_flags_name_the_instructions_where_the_c_library_does_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, machine: str, cpuinfo: str, expected: str
) -> None:
    def none_there(name: None) -> object:
        return object()

    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(ctypes, "CDLL", none_there)
    monkeypatch.setattr(instructions, "_CPUINFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\n{cpuinfo}\n\nprocessor\t: 1\n")
    assert instruction_set() == expected


def test_without_either_there_is_the_architecture(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    monkeypatch.setattr(instructions, "_CPUINFO", tmp_path / "nowhere")
    assert instruction_set() == "arm64"


@pytest.mark.skipif(
    platform.machine() != "x86_64" or not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"),
    reason="needs x86-64 and glibc",
)
def test_the_c_library_names_no_other_than_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    found = instruction_set()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    assert instruction_set() == found
