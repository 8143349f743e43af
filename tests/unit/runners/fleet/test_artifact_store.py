"""Artifacts travel by content: once to a machine, and whole."""

import hashlib
from pathlib import Path

import pytest

from greenbatch.errors import ArtifactError
from greenbatch.runners.fleet.artifact_store import ArtifactStore
from greenbatch.runners.fleet.messages import FileRef

CONTENT = b"weights" * 1000
FILE = FileRef("alexnet-fp32.onnx", hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    (tmp_path / "store").mkdir()
    return ArtifactStore(tmp_path / "store")


def test_a_file_that_came_in_pieces_is_laid_out_and_not_needed_again(
    store: ArtifactStore, tmp_path: Path
) -> None:
    assert store.lacking([FILE]) == [FILE]
    store.add(FILE, CONTENT[:100], 0)
    assert store.lacking([FILE]) == [FILE]
    with pytest.raises(ArtifactError, match="did not reach this machine"):
        store.lay_out([FILE], tmp_path / "laid out")
    store.add(FILE, CONTENT[100:], 100)
    assert store.lacking([FILE]) == []
    store.lay_out([FILE], tmp_path / "laid out")
    store.lay_out([FILE], tmp_path / "laid out")
    assert (tmp_path / "laid out" / FILE.name).read_bytes() == CONTENT


def test_a_file_that_was_altered_on_the_way_is_refused(store: ArtifactStore) -> None:
    with pytest.raises(ArtifactError, match="arrived with the hash"):
        store.add(FILE, b"x" + CONTENT[1:], 0)
    assert store.lacking([FILE]) == [FILE]


def test_a_folder_that_the_machine_sees_is_copied_from_if_the_content_is_the_same(
    store: ArtifactStore, tmp_path: Path
) -> None:
    path = tmp_path / FILE.name
    path.write_bytes(CONTENT[:-1] + b"x")
    assert store.lacking([FILE], str(tmp_path)) == [FILE]
    path.write_bytes(CONTENT)
    assert store.lacking([FILE], str(tmp_path)) == []
    path.write_bytes(b"changed later")
    store.lay_out([FILE], tmp_path / "laid out")
    assert (tmp_path / "laid out" / FILE.name).read_bytes() == CONTENT
