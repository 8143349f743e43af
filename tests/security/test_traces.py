"""A damaged or hostile trace costs its own repetition's curve, and nothing else."""

import io
import os
import pickle
import shutil
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from greenbatch import arrays
from greenbatch.analysis import write_report
from greenbatch.analysis.dataset.run_files import read_run
from greenbatch.analysis.dataset.traces import open_traces
from greenbatch.analysis.report.charts.power_traces import power_traces
from greenbatch.errors import FileError, RunError
from tests.conftest import Gb
from tests.fakes.traced_run import traced_run

T_S = np.linspace(0.0, 2.0, 25)
ROWS = {"package-0_t_s": T_S, "package-0_energy_j": 20.0 * T_S}


def packed(path: Path, **rows: Any) -> None:
    np.savez_compressed(path, **(ROWS | rows))


def header_of(shape: str, kind: str = "<f8") -> bytes:
    """An array's header, with eight bytes of it."""
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + b"\0" * 8


def holding(path: Path, data: bytes, **options: Any) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as file:
        file.writestr("package-0_t_s.npy", data)


def flipped(path: Path) -> None:
    packed(path)
    data = bytearray(path.read_bytes())
    for place in range(80, 180):
        data[place] ^= 0x55
    path.write_bytes(data)


def encrypted(path: Path) -> None:
    packed(path)
    data = bytearray(path.read_bytes())
    for sign, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.find(sign)
        while at >= 0:
            data[at + place] |= 1
            at = data.find(sign, at + 4)
    path.write_bytes(data)


def too_many(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for number in range(20_000):
            file.writestr(f"{number}_t_s.npy", b"")


def claims_much(path: Path) -> None:
    """Say in the directory that an array unpacks to 1.9 GB."""
    holding(path, header_of("(237500000,)"))
    data = bytearray(path.read_bytes())
    at = data.find(b"PK\x01\x02")
    data[at + 24 : at + 28] = struct.pack("<L", 1_900_000_000)
    path.write_bytes(data)


class Loud:
    """Leaves a file when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, ...]]:
        return os.system, ("touch unpickled",)


def pickled(path: Path) -> None:
    hostile = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        hostile, {"descr": "|O", "fortran_order": False, "shape": (1,)}
    )
    holding(path, hostile.getvalue() + pickle.dumps([Loud()]))


DAMAGES: dict[str, Callable[[Path], None]] = {
    "flipped bytes": flipped,
    "cut off": lambda path: _cut(path),
    "empty": lambda path: path.touch(),
    "no zip file": lambda path: _text(path),
    "larger than its file": lambda path: holding(path, header_of("(10**12,)")),
    "a shape of 10^12": lambda path: holding(path, header_of("(1000000000000,)")),
    "a negative shape": lambda path: holding(path, header_of("(-1,)")),
    "two axes": lambda path: packed(path, **{"package-0_t_s": T_S.reshape(5, 5)}),
    "strings": lambda path: packed(path, **{"package-0_t_s": np.array(["a", "b"])}),
    "complex numbers": lambda path: packed(path, **{"package-0_t_s": T_S * 1j}),
    "objects": pickled,
    "encrypted": encrypted,
    "another packing": lambda path: _bzip2(path),
    "too many arrays": too_many,
    "larger than 1 GB": claims_much,
    "no array": lambda path: holding(path, b"text"),
    "nested header": lambda path: holding(path, header_of("(" * 3000 + ")" * 3000)),
}


def _cut(path: Path) -> None:
    packed(path)
    os.truncate(path, path.stat().st_size - 60)


def _text(path: Path) -> None:
    path.write_bytes(b"PK\x05\x06" + b"\x41" * 18)


def _bzip2(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as file:
        file.writestr("package-0_t_s.npy", header_of("(1,)"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return traced_run(
        tmp_path_factory.mktemp("whole") / "run",
        models=("alexnet",),
        backends=("torch-cpu",),
        batch_sizes=(1,),
        blocks=2,
    )


@pytest.fixture
def run(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return shutil.copytree(whole, tmp_path / "run")


@pytest.mark.slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_trace_costs_its_own_curve_with_a_reason(
    run: Path, tmp_path: Path, damage: str
) -> None:
    first, second = sorted((run / "traces").iterdir())
    first.unlink()
    DAMAGES[damage](first)
    with pytest.warns(UserWarning, match="1 of 2 power traces is not shown") as warned:
        found = power_traces(run, read_run(run).journal.repetitions)
    assert [trace.block for trace in found] == [1]
    assert f"cannot read {first}: it is damaged (" in str(warned[0].message)
    assert "\n" not in str(warned[0].message)
    with pytest.raises(FileError, match="it is damaged"):
        arrays.stored_arrays(first)
    with pytest.raises(RunError, match="leave the trace out"):
        open_traces(run)[0].open()
    assert second.exists()
    assert not (tmp_path / "unpickled").exists()


@pytest.mark.slow
def test_the_report_of_a_run_with_a_damaged_trace_is_written(run: Path, gb: Gb) -> None:
    flipped(sorted((run / "traces").iterdir())[0])
    printed, follows = gb("report", run).stderr.splitlines()
    assert (run / "report/index.html").exists()
    assert printed.startswith("gb: warning: 1 of 2 power traces is not shown: cannot read ")
    assert follows.startswith("choose a policy for a request rate: gb recommend ")


@pytest.mark.slow
def test_whole_traces_are_read_without_a_word(run: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = power_traces(run, read_run(run).journal.repetitions)
        write_report(run)
    assert [trace.block for trace in found] == [0, 1]


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_a_trace_is_a_regular_file(run: Path, tmp_path: Path, kind: str) -> None:
    first = sorted((run / "traces").iterdir())[0]
    records = read_run(run).journal.repetitions
    first.rename(tmp_path / "moved.npz")
    if kind == "link":
        first.symlink_to(tmp_path / "moved.npz")
    else:
        os.mkfifo(first)
    with pytest.warns(UserWarning, match="cannot read"):
        assert [trace.block for trace in power_traces(run, records)] == [1]


def test_arrays_are_read_as_numpy_wrote_them(tmp_path: Path) -> None:
    rows = {
        "halves": np.array([0.5, np.nan, np.inf], np.float16),
        "whole": np.arange(-2, 3, dtype=">i4"),
        "none": np.empty(0),
    }
    np.savez(tmp_path / "a.npz", **rows)  # type: ignore[arg-type]
    found = arrays.read_arrays(tmp_path / "a.npz", lambda name: name in rows)
    for name, row in rows.items():
        np.testing.assert_array_equal(found[name], row)
    np.save(tmp_path / "a.npy", np.ones((4, 10), np.float32))
    assert arrays.read_array(tmp_path / "a.npy").shape == (4, 10)
    (tmp_path / "b.npy").write_bytes(header_of("(4, 10)"))
    with pytest.raises(FileError, match="has 8 bytes"):
        arrays.read_array(tmp_path / "b.npy")
