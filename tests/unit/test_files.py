"""Files are read within limits and written whole, and no link is followed."""

import errno
import os
import time
from pathlib import Path

import pytest

from greenbatch import files
from greenbatch.errors import FileError


def test_a_regular_file_is_read_up_to_its_limit(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"12345")
    assert files.read_bytes(path, 5) == b"12345"
    with pytest.raises(FileError, match="larger"):
        files.read_bytes(path, 4)


def test_a_missing_file_is_left_to_the_caller(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        files.read_bytes(tmp_path / "none", 1)


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "device"])
def test_only_regular_files_are_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a"
    if kind == "link":
        (tmp_path / "secret").write_text("secret")
        path.symlink_to(tmp_path / "secret")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path = Path("/dev/zero")
    with pytest.raises(FileError, match="cannot read"):
        files.read_bytes(path, 10)


def test_a_write_replaces_a_link_and_leaves_its_target(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "a").symlink_to(target)
    files.write_atomically(tmp_path / "a", "new", durable=True)
    assert target.read_text() == "precious"
    assert not (tmp_path / "a").is_symlink()
    assert (tmp_path / "a").read_text() == "new"


def test_a_draft_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_text("old")

    def fill_the_disk() -> None:
        with files.draft(path) as unfinished:
            unfinished.write_text("half")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(FileError, match="the disk is full"):
        fill_the_disk()
    assert path.read_text() == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_each_disk_error_names_its_cause_and_a_cure(code: int) -> None:
    cause, cure = files.explain(OSError(code, os.strerror(code)))
    assert cause
    assert cure != "check the path"


def test_appending_refuses_links_of_both_kinds(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("precious")
    (tmp_path / "soft").symlink_to(target)
    (tmp_path / "hard").hardlink_to(target)
    for name in ("soft", "hard"):
        with pytest.raises(FileError, match="cannot write"):
            files.open_to_append(tmp_path / name)
    assert target.read_text() == "precious"


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe"])
def test_a_run_with_anything_but_files_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    inside = tmp_path / "run" / "report" / "figures"
    inside.mkdir(parents=True)
    (inside / "energy.svg").write_text("")
    files.require_plain(tmp_path / "run")
    if kind == "pipe":
        os.mkfifo(inside / "odd")
    else:
        (inside / "odd").symlink_to(tmp_path if kind == "link" else tmp_path / "nowhere")
    with pytest.raises(FileError, match="report/figures/odd"):
        files.require_plain(tmp_path / "run")


def test_a_run_that_the_user_reaches_by_a_link_is_read(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "alias").symlink_to(tmp_path / "run")
    files.require_plain(tmp_path / "alias")


def test_a_folder_that_is_a_link_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "report").symlink_to(tmp_path / "there")
    with pytest.raises(FileError, match="symbolic link"):
        files.make_folder(tmp_path / "report")


def test_old_drafts_alone_are_removed(tmp_path: Path) -> None:
    names = [".a.0123456789abcdef.draft", ".b.0123456789abcdef.draft", ".c.draft", "a.draft"]
    for name in names:
        (tmp_path / name).write_text("")
    then = time.time() - 7200
    for name in names[:1] + names[2:]:
        os.utime(tmp_path / name, (then, then))
    files.remove_old_drafts(tmp_path)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == sorted(names[1:])


def test_what_is_appended_is_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old ")
    descriptor = files.open_to_append(path)
    write = os.write
    monkeypatch.setattr(os, "write", lambda to, data: write(to, data[:3]))
    files.append(descriptor, b"one and two", path)
    os.close(descriptor)
    assert path.read_bytes() == b"old one and two"


@pytest.mark.parametrize("fails", ["write", "fsync"])
def test_an_append_that_fails_leaves_the_file_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: str
) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old ")
    descriptor = files.open_to_append(path)
    write = os.write

    def full(*arguments: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def part(to: int, data: bytes) -> int:
        return write(to, data[:3]) if len(data) > 3 else full()

    monkeypatch.setattr(os, fails, part if fails == "write" else full)
    with pytest.raises(FileError, match="a: the disk is full"):
        files.append(descriptor, b"one two", path)
    os.close(descriptor)
    assert path.read_bytes() == b"old "
