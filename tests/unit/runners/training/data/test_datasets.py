"""Data sets that are trained on: splits, sizes, normalisation, and what cannot be used."""

import hashlib
import pickle
import struct
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR10

from greenbatch.errors import UnknownNameError, UsageError
from greenbatch.runners.training.data import datasets
from greenbatch.runners.training.data.datasets import Split
from greenbatch.runners.training.data.parts import divide, draw

COLOURS = {"green": (10, 200, 30), "red": (220, 20, 10), "blue": (0, 30, 240)}


def load(name: str, data_dir: Path = Path("unused"), **given: Any) -> Split:
    wanted = {"image_size": None, "train_images": None, "validation_images": None, "seed": 0}
    return datasets.load(name, data_dir, **(wanted | given))


def tensors(part: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return all images (N, C, H, W) and labels (N) of a part, whatever it is."""
    pairs = [part[index] for index in range(len(part))]
    return torch.stack([image for image, _ in pairs]), torch.tensor([int(at) for _, at in pairs])


def draw_image(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (12, 10)) -> None:
    """Draw a noisy image of a colour, width by height."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(list(path.parent.iterdir())))
    noise = rng.integers(-9, 10, (size[1], size[0], 3))
    pixels = np.clip(np.array(colour) + noise, 0, 255).astype(np.uint8)
    Image.fromarray(pixels, "RGB").save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Ten images in a folder for each of three colours."""
    path = tmp_path / "colours"
    for name, colour in COLOURS.items():
        for number in range(10):
            draw_image(path / name / f"{number}.png", colour)
    return path


def test_the_digits_are_split_four_to_one_within_each_class_and_nothing_is_in_both() -> None:
    split = load("digits")
    (train, train_labels), (held_out, labels) = tensors(split.train), tensors(split.validation)
    assert (len(train), len(held_out)) == (1437, 360)
    assert (split.shape, split.skipped) == ((1, 8, 8), 0)
    assert split.classes == tuple("0123456789")
    counts, held_out_counts = np.bincount(train_labels), np.bincount(labels)
    assert np.all(np.abs(held_out_counts - (counts + held_out_counts) / 5) <= 1)
    seen = {image.numpy().tobytes() for image in train}
    twins = sum(image.numpy().tobytes() in seen for image in held_out)
    assert twins <= 2  # scikit-learn's digits hold hardly any image twice


@pytest.mark.slow
def test_the_seed_makes_the_split() -> None:
    first, again, other = load("digits"), load("digits"), load("digits", seed=1)
    assert torch.equal(tensors(first.train)[0], tensors(again.train)[0])
    assert not torch.equal(tensors(first.train)[0], tensors(other.train)[0])


def test_training_images_have_mean_0_and_deviation_1_and_validation_is_scaled_by_the_same() -> None:
    split = load("digits")
    train, held_out = tensors(split.train)[0], tensors(split.validation)[0]
    assert abs(float(train.mean())) < 1e-5
    assert float(train.std(correction=0)) == pytest.approx(1, abs=1e-4)
    assert abs(float(held_out.mean())) > 1e-4  # not by its own
    black, white = (0 - split.mean[0]) / split.std[0], (1 - split.mean[0]) / split.std[0]
    assert float(train.min()) == pytest.approx(black, rel=1e-5)
    assert float(train.max()) == pytest.approx(white, rel=1e-5)
    assert any(f"{split.mean[0]:.4g}" in note for note in split.notes)


def test_images_that_are_not_normalised_are_of_0_to_1() -> None:
    split = load("digits", normalised=False)
    whole = load("digits")
    values, expected = tensors(split.train)[0], tensors(whole.train)[0]
    torch.testing.assert_close(values, expected * whole.std[0] + whole.mean[0])
    assert (float(values.min()), float(values.max())) == (0, 1)
    assert "not normalised: values of 0 to 1" in split.notes


@pytest.mark.slow
def test_images_are_resized_without_aliasing() -> None:
    large = load("digits", image_size=32, train_images=50)
    assert large.shape == (1, 32, 32)
    assert tensors(large.train)[0].shape == (50, 1, 32, 32)
    small = tensors(load("digits", image_size=2).train)[0]
    whole = tensors(load("digits").train)[0]
    # each of 2x2 sees all of its 4x4 below, as a mean over them does, and not only the middle
    mean = torch.nn.functional.avg_pool2d(whole, 4)
    middle = torch.nn.functional.interpolate(whole, (2, 2), mode="bilinear")
    assert (small - mean).abs().mean() < 0.6 * (middle - mean).abs().mean()


def test_a_limit_draws_each_class_with_its_share() -> None:
    split = load("digits", train_images=100, validation_images=20)
    train, held_out = tensors(split.train)[1], tensors(split.validation)[1]
    assert (len(train), len(held_out)) == (100, 20)
    assert set(np.bincount(train)) <= {9, 10, 11}
    assert set(np.bincount(held_out)) <= {1, 2, 3}
    more = load("digits", train_images=5000)
    assert len(tensors(more.train)[0]) == 1437


def test_drawing_keeps_shares_to_a_whole_image_and_divides_without_loss() -> None:
    labels = np.repeat([0, 1, 2], [70, 20, 10])
    rng = np.random.default_rng(0)
    for count in (2, 7, 10, 33, 99):
        drawn = draw(labels, count, rng)
        assert len(set(drawn)) == count
        assert np.all(np.diff(drawn) > 0)
        for each, size in ((0, 70), (1, 20), (2, 10)):
            assert abs(np.sum(labels[drawn] == each) - count * size / 100) < 1
    drawn = draw(labels, 7, rng)  # 4.9, 1.4 and 0.7: the rest goes to the first and the last
    assert np.bincount(labels[drawn]).tolist() == [5, 1, 1]
    first, second = divide(labels, 0.2, rng)
    assert sorted([*first, *second]) == list(range(100))
    assert Counter(labels[second]) == {0: 14, 1: 4, 2: 2}


def test_a_folder_is_split_and_its_classes_are_its_folders(folder: Path) -> None:
    split = load(f"folder:{folder}")
    assert split.classes == ("blue", "green", "red")
    assert split.shape == (3, 10, 12)
    images, labels = tensors(split.train)
    assert np.bincount(labels).tolist() == [8, 8, 8]
    assert np.bincount(tensors(split.validation)[1]).tolist() == [2, 2, 2]
    brightest = [2, 1, 0]  # the channel of blue, green and red
    values = images * torch.tensor(split.std).reshape(3, 1, 1) + torch.tensor(split.mean).reshape(
        3, 1, 1
    )
    assert values.mean((2, 3)).argmax(1).tolist() == [brightest[label] for label in labels]
    torch.testing.assert_close(images.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(images.std((0, 2, 3), correction=0), torch.ones(3))


def test_a_folder_with_train_and_val_is_taken_as_it_is(folder: Path, tmp_path: Path) -> None:
    root = tmp_path / "given"
    root.mkdir()
    folder.rename(root / "train")
    draw_image(root / "val/red/1.png", COLOURS["red"])
    split = load(f"folder:{root}")
    assert len(tensors(split.train)[0]) == 30
    assert tensors(split.validation)[1].tolist() == [2]
    draw_image(root / "val/yellow/1.png", (250, 250, 0))
    with pytest.raises(UsageError, match=r"the class 'yellow', of which .*train has no image"):
        load(f"folder:{root}")
    (root / "val").rename(root / "elsewhere")
    with pytest.raises(UsageError, match="holds train but not val; add it, or name"):
        load(f"folder:{root}")


def test_unreadable_images_are_named_counted_and_left_out(folder: Path) -> None:
    whole = (folder / "red/0.png").read_bytes()
    (folder / "red/torn.png").write_bytes(whole[: len(whole) // 2])
    (folder / "blue/text.jpg").write_text("no image")
    (folder / "blue/notes.txt").write_text("not meant to be one")
    split = load(f"folder:{folder}")
    assert split.skipped == 2
    assert len(tensors(split.train)[0]) + len(tensors(split.validation)[0]) == 30
    named = "\n".join(split.notes)
    assert f"skipped {folder / 'blue/text.jpg'}: it is not an image of a known format" in named
    assert f"skipped {folder / 'red/torn.png'}: " in named


def test_images_that_are_held_in_memory_are_those_that_are_decoded_when_they_are_taken(
    folder: Path,
) -> None:
    for name, channels in ((f"folder:{folder}", 3), ("digits", 1)):
        split = load(name, image_size=16)
        count = len(split.train) + len(split.validation)
        size_bytes = count * channels * 16**2  # a byte for each value
        held = load(name, image_size=16, cache_bytes=size_bytes, workers=3)
        short = load(name, image_size=16, cache_bytes=size_bytes - 1)
        assert (split.held, held.held, short.held) == (False, True, False)
        for part, other in ((split.train, held.train), (split.validation, held.validation)):
            places = torch.randperm(len(part), generator=torch.Generator().manual_seed(1))
            for taken, expected in zip(part.take(places), other.take(places), strict=True):
                assert torch.equal(taken, expected)
            assert part.take(places)[0].dtype == torch.uint8
        assert any("more than cache_gib" in note for note in short.notes)
        assert not any("cache_gib" in note for note in (*split.notes, *held.notes))


def test_resized_digits_use_all_of_a_byte() -> None:
    images, _ = load("digits", image_size=16).train.take(torch.arange(100))
    assert int(images.max()) == 255
    whole, _ = load("digits", image_size=8).train.take(torch.arange(100))
    raw, _ = load("digits").train.take(torch.arange(100))
    assert torch.equal(whole, (raw.float() * 255 / 16).round().to(torch.uint8))


def test_images_of_several_sizes_need_a_size(folder: Path) -> None:
    draw_image(folder / "red/large.png", COLOURS["red"], (30, 20))
    with pytest.raises(UsageError, match=r"of 2 sizes \(10x12, 20x30.*give an image_size"):
        load(f"folder:{folder}")
    split = load(f"folder:{folder}", image_size=8)
    assert split.shape == (3, 8, 8)


def test_one_class_only_is_refused(folder: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    (folder / "red").rename(alone / "red")
    with pytest.raises(UsageError, match=r"images of one class only \(red\) to train on; give"):
        load(f"folder:{alone}")


def test_a_folder_without_readable_images_is_refused_with_the_first_reason(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for number in range(3):
            (tmp_path / name / f"{number}.png").write_text("no image")
    with pytest.raises(UsageError, match=r"none of the \d images to train on .* can be read, the"):
        load(f"folder:{tmp_path}")


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        ((), "there is no folder"),
        (("empty",), "holds no folders; wanted one with images for each class"),
        (("empty/a", "empty/b"), "has no image in any of its folders; give more"),
    ],
)
def test_a_folder_that_holds_nothing_is_refused(
    tmp_path: Path, made: tuple[str, ...], sentence: str
) -> None:
    for name in made:
        (tmp_path / name).mkdir(parents=True)
    with pytest.raises(UsageError, match=sentence):
        load(f"folder:{tmp_path / 'empty'}")


def test_an_unknown_data_set_is_told_with_the_nearest_name() -> None:
    with pytest.raises(UnknownNameError, match="unknown data set 'cifar'; did you mean 'cifar10'"):
        datasets.find("cifar")
    with pytest.raises(UnknownNameError, match="unknown data set 'folder:'"):
        load("folder:")


def write_fashion(data_dir: Path) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Write 40 and 20 images in the files of Fashion-MNIST (idx); return the first ones."""
    raw = data_dir / "FashionMNIST/raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    written = []
    for part, count in (("train", 40), ("t10k", 20)):
        images = rng.integers(0, 256, (count, 28, 28), np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        head = struct.pack(">IIII", 0x803, count, 28, 28)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(head + images.tobytes())
        head = struct.pack(">II", 0x801, count)
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(head + labels.tobytes())
        written.append((images, labels))
    return written[0]


def test_fashion_mnist_is_read_from_its_files_and_its_test_part_validates(tmp_path: Path) -> None:
    images, labels = write_fashion(tmp_path)
    split = load("fashion-mnist", tmp_path)
    assert split.shape == (1, 28, 28)
    assert split.classes[9] == "Ankle boot"
    got, got_labels = tensors(split.train)
    assert len(tensors(split.validation)[0]) == 20
    assert got_labels.tolist() == labels.tolist()
    values = got[:, 0].numpy() * split.std[0] + split.mean[0]
    np.testing.assert_allclose(values * 255, images, atol=1e-3)


def test_cifar10_is_read_from_its_files_with_its_channels_in_their_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = tmp_path / CIFAR10.base_folder
    base.mkdir()
    rng = np.random.default_rng(0)
    written = {}

    def write(name: str, entry: dict[str, Any]) -> str:
        data = pickle.dumps(entry)
        (base / name).write_bytes(data)
        return hashlib.md5(data, usedforsecurity=False).hexdigest()

    for name in ("data_batch_1", "test_batch"):
        written[name] = rng.integers(0, 256, (20, 3, 32, 32), np.uint8)
        entry = {"data": written[name].reshape(20, -1), "labels": [i % 10 for i in range(20)]}
        part = "train_list" if name == "data_batch_1" else "test_list"
        monkeypatch.setattr(CIFAR10, part, [[name, write(name, entry)]])
    classes = [f"class {number}" for number in range(10)]
    meta = {"filename": "batches.meta", "key": "label_names"}
    meta["md5"] = write("batches.meta", {"label_names": classes})
    monkeypatch.setattr(CIFAR10, "meta", meta)
    split = load("cifar10", tmp_path)
    assert (split.shape, split.classes) == ((3, 32, 32), tuple(classes))
    got, _ = tensors(split.train)
    mean, std = (torch.tensor(each).reshape(3, 1, 1) for each in (split.mean, split.std))
    np.testing.assert_allclose((got * std + mean) * 255, written["data_batch_1"], atol=1e-3)


@pytest.mark.parametrize("name", ["cifar10", "fashion-mnist"])
def test_without_a_network_a_download_ends_in_one_sentence_with_what_to_do(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*_: Any, **__: Any) -> None:
        raise URLError("[Errno -2] Name or service not known")

    monkeypatch.setattr("urllib.request.urlopen", offline)
    with pytest.raises(UsageError) as caught:
        datasets.prepare(name, tmp_path)
    printed = str(caught.value)
    assert printed.startswith(f"cannot have {name}: it is not whole in {tmp_path}")
    assert "Name or service not known" in printed
    assert "connect to the network once" in printed
    assert "\n" not in printed
    assert caught.value.exit_code == 2
