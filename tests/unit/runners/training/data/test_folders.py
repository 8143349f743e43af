"""Folders of classes as people have them: hidden and empty ones, and other names of the parts."""

import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from greenbatch.errors import UsageError
from greenbatch.runners.training.data.folders import find_parts


def fill(folder: Path, count: int = 5) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pixels = np.full((8, 8, 3), number, np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")


def counts(parts: object) -> dict[int, int]:
    return dict(Counter(parts.labels.tolist()))  # type: ignore[attr-defined]


def test_hidden_folders_those_of_a_system_and_empty_ones_are_no_classes(tmp_path: Path) -> None:
    for name in ("cat", "dog", ".ipynb_checkpoints", "__MACOSX/cat"):
        fill(tmp_path / name)
    fill(tmp_path / "cat/.ipynb_checkpoints")
    (tmp_path / "cat/._0.png").write_bytes(b"\0\5\x16\7 Mac OS X")
    (tmp_path / "bird").mkdir()
    (tmp_path / "bird/notes.txt").touch()
    parts = find_parts(tmp_path, seed=0)
    assert parts.classes == ("cat", "dog")
    assert (counts(parts.train), counts(parts.validation)) == ({0: 4, 1: 4}, {0: 1, 1: 1})
    assert parts.split.endswith(
        "these are no classes: '.ipynb_checkpoints' (hidden), '__MACOSX' (hidden), "
        "'bird' (no image)"
    )


@pytest.mark.parametrize("emptied", [False, True])
def test_a_class_without_images_to_validate_with_keeps_its_index(
    tmp_path: Path, emptied: bool
) -> None:
    for name in ("ape", "bee", "cow"):
        fill(tmp_path / "train" / name)
        if name != "bee":
            fill(tmp_path / "val" / name, 2)
    if emptied:
        (tmp_path / "val/bee").mkdir()
    parts = find_parts(tmp_path, seed=0)
    assert parts.classes == ("ape", "bee", "cow")
    assert counts(parts.validation) == {0: 2, 2: 2}
    assert parts.split.endswith("val has no image of 'bee'")


def test_a_class_without_images_to_train_on_is_passed_over_or_refused(tmp_path: Path) -> None:
    for part in ("train", "val"):
        for name in ("ape", "cow"):
            fill(tmp_path / part / name)
        (tmp_path / part / "bee").mkdir()
    parts = find_parts(tmp_path, seed=0)
    assert parts.classes == ("ape", "cow")
    assert "'bee' (no image)" in parts.split
    fill(tmp_path / "val/bee")
    with pytest.raises(UsageError, match=r"the class 'bee', of which .*train has no image; name"):
        find_parts(tmp_path, seed=0)


@pytest.mark.parametrize(
    ("train", "validation", "unused"),
    [
        ("train", "val", "test"),
        ("training", "validation", "testing"),
        ("Train", "Valid", "TEST"),
        ("train", "dev", "extra"),
        ("train", "test", ""),
    ],
)
def test_the_parts_have_the_usual_names(
    tmp_path: Path, train: str, validation: str, unused: str
) -> None:
    for part, count in ((train, 5), (validation, 2), (unused, 9)):
        for name in ("cat", "dog"):
            if part:
                fill(tmp_path / part / name, count)
    parts = find_parts(tmp_path, seed=0)
    assert parts.classes == ("cat", "dog")
    assert (counts(parts.train), counts(parts.validation)) == ({0: 5, 1: 5}, {0: 2, 1: 2})
    assert parts.split.startswith(f"{train} and {validation} are given")
    assert parts.split.endswith("is not used") is bool(unused)


def test_two_folders_to_validate_with_are_refused(tmp_path: Path) -> None:
    for part in ("train", "val", "valid"):
        fill(tmp_path / part / "cat")
    with pytest.raises(UsageError, match="holds both val and valid; rename one of them"):
        find_parts(tmp_path, seed=0)


def test_a_class_may_be_called_as_a_part(tmp_path: Path) -> None:
    for name in ("bus", "train", "test"):
        fill(tmp_path / name)
    assert find_parts(tmp_path, seed=0).classes == ("bus", "test", "train")


def test_parts_without_classes_are_not_taken_as_classes(tmp_path: Path) -> None:
    fill(tmp_path / "train")
    fill(tmp_path / "val")
    with pytest.raises(UsageError, match="train holds no folders; wanted one with images for"):
        find_parts(tmp_path, seed=0)


def test_a_class_may_be_named_in_any_bytes(tmp_path: Path) -> None:
    fill(tmp_path / "cat")
    fill(tmp_path / "dog")
    (tmp_path / "dog").rename(os.fsdecode(os.fsencode(tmp_path) + b"/d\xf6g"))
    assert counts(find_parts(tmp_path, seed=0).train) == {0: 4, 1: 4}
