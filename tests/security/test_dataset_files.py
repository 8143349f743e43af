"""A dataset file that is torn, or holds anything but plain data, is refused before it is read."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from greenbatch.analysis import open_run
from greenbatch.analysis.runs import merge
from greenbatch.errors import FileError, RunError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_figures")]


def _external(file: h5py.File, secret: Path) -> None:
    size = secret.stat().st_size
    file.create_dataset("leak", (size,), "u1", external=[(str(secret), 0, size)])


def _external_in_place(file: h5py.File, secret: Path) -> None:
    del file["foreign_load"]
    file.create_dataset("foreign_load", (3,), "f8", external=[(str(secret), 0, 24)])


def _external_link(file: h5py.File, secret: Path) -> None:
    file["leak"] = h5py.ExternalLink(str(secret), "/x")


def _soft_link(file: h5py.File, secret: Path) -> None:
    file["leak"] = h5py.SoftLink("/status")


def _virtual(file: h5py.File, secret: Path) -> None:
    layout = h5py.VirtualLayout((4,), "f8")
    layout[:] = h5py.VirtualSource(str(secret), "x", (4,))
    file.create_virtual_dataset("leak", layout)


def _huge(file: h5py.File, secret: Path) -> None:
    file.create_dataset("leak", (10**9, 10), "f8", chunks=(1000, 10), compression="gzip")


def _huge_chunk(file: h5py.File, secret: Path) -> None:
    file.create_dataset("leak", (1,), "f8", chunks=(5 * 10**8,), maxshape=(None,))


def _group(file: h5py.File, secret: Path) -> None:
    file.create_group("more")


def _compound(file: h5py.File, secret: Path) -> None:
    file.create_dataset("leak", (3,), np.dtype([("a", "f8"), ("b", "i4")]))


def _references(file: h5py.File, secret: Path) -> None:
    file.create_dataset("leak", (3,), h5py.ref_dtype)


def _unknown_filter(file: h5py.File, secret: Path) -> None:
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_chunk((4,))
    plan.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, ())
    space = h5py.h5s.create_simple((4,))
    h5py.h5d.create(file.id, b"leak", h5py.h5t.IEEE_F64LE, space, plan)


@pytest.mark.parametrize(
    ("plant", "says"),
    [
        (_external, "has its data in another file"),
        (_external_in_place, "has its data in another file"),
        (_external_link, "is a link"),
        (_soft_link, "is a link"),
        (_virtual, "view of other variables"),
        (_huge, "more than 4 GB"),
        (_huge_chunk, "more than 4 GB"),
        (_group, "is a group"),
        (_compound, "neither a number nor text"),
        (_references, "neither a number nor text"),
        (_unknown_filter, "the filter 32015"),
    ],
)
def test_a_file_with_data_from_elsewhere_is_refused_before_it_is_read(
    run: Path, other: Path, plant: Callable[[h5py.File, Path], None], says: str
) -> None:
    secret = run.parent / "secret.txt"
    secret.write_text("-----BEGIN OPENSSH PRIVATE KEY-----")
    path = shutil.copy(run / "dataset.nc", run.parent / "planted.nc")
    with h5py.File(path, "a") as file:
        plant(file, secret)
    with pytest.raises(RunError, match=says) as raised:
        open_run(path)
    assert "\n" not in str(raised.value)
    with pytest.raises(RunError, match=says):
        merge([path, other], along="run")


def test_a_run_whose_dataset_has_data_from_elsewhere_is_compiled_from_its_journal(
    run: Path,
) -> None:
    secret = run.parent / "secret.txt"
    secret.write_text("token")
    with h5py.File(run / "dataset.nc", "a") as file:
        _external(file, secret)
    assert "leak" not in open_run(run)
    with h5py.File(run / "dataset.nc") as file:
        assert "leak" not in file


@pytest.mark.parametrize("data", [b"", b"<html>404</html>", b"\x89HDF\r\n\x1a\n" + bytes(100)])
def test_a_file_that_is_no_dataset_is_one_sentence(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "dataset.nc"
    path.write_bytes(data)
    with pytest.raises(RunError, match=r"cannot read .*dataset\.nc as a dataset"):
        open_run(path)


def test_a_dataset_that_was_cut_in_half_is_one_sentence(run: Path) -> None:
    data = (run / "dataset.nc").read_bytes()
    path = run.parent / "half.nc"
    path.write_bytes(data[: len(data) // 2])
    with pytest.raises(RunError, match=r"cannot read .*half\.nc as a dataset"):
        open_run(path)


def test_a_dataset_that_is_a_named_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "dataset.nc")
    with pytest.raises((FileError, RunError)):
        open_run(tmp_path / "dataset.nc")
