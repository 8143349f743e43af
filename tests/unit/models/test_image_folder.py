"""A photograph becomes an input as the published weights were evaluated, and gets its class."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from greenbatch.errors import UsageError
from greenbatch.models import InputSpec, find
from greenbatch.models.image_folder import (
    find_labelled,
    find_photographs,
    load_photograph,
    read_batches,
)
from greenbatch.models.sources.input_option import image_spec

SMALL = InputSpec(shape=(3, 8, 8), resize=8, crop=8)
SIZES = [(224, 224), (640, 480), (333, 251), (257, 500), (31, 500), (100, 100), (2000, 260)]


def draw(path: Path, size: tuple[int, int], mode: str = "RGB", seed: int = 0) -> Path:
    """Write an image of coarse noise, without loss."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 9, 3), np.uint8), "RGB")
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse.resize(size, Image.Resampling.BICUBIC).convert(mode).save(path)
    return path


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
def test_an_input_equals_that_of_torchvisions_own_transforms(
    tmp_path: Path, size: tuple[int, int], interpolation: str
) -> None:
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms._presets import ImageClassification

    form = replace(InputSpec(), resize=232, interpolation=interpolation)
    preset = ImageClassification(
        crop_size=form.crop, resize_size=232, interpolation=InterpolationMode(interpolation)
    )
    path = draw(tmp_path / "a.png", size)
    with Image.open(path) as image:
        wanted = preset(image).numpy()
    got = load_photograph(path, form)
    assert got.dtype == np.float32
    assert got.flags.c_contiguous
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("size", [(150, 190), (101, 224), (223, 222)])
def test_a_photograph_smaller_than_the_crop_is_padded_as_torchvision_pads(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    from torchvision.transforms._presets import ImageClassification

    form = replace(InputSpec(), resize=min(size))  # nothing enlarges it
    path = draw(tmp_path / "a.png", size)
    with Image.open(path) as image:
        wanted = ImageClassification(crop_size=224, resize_size=min(size))(image).numpy()
    np.testing.assert_allclose(load_photograph(path, form), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["alexnet", "convnext_base", "vit_b_16"])
def test_a_models_input_is_prepared_as_its_published_weights_were(
    tmp_path: Path, name: str
) -> None:
    import torchvision

    path = draw(tmp_path / "a.jpg", (341, 287))
    weights = torchvision.models.get_model_weights(name).IMAGENET1K_V1
    with Image.open(path) as image:
        wanted = weights.transforms()(image).numpy()
    np.testing.assert_allclose(load_photograph(path, find(name).input), wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "1"])
def test_any_kind_of_image_becomes_three_channels(tmp_path: Path, mode: str) -> None:
    path = draw(tmp_path / ("a.jpg" if mode == "CMYK" else "a.png"), (20, 30), mode)
    assert load_photograph(path, SMALL).shape == (3, 8, 8)


def test_a_network_of_one_channel_sees_grey(tmp_path: Path) -> None:
    form = InputSpec(shape=(1, 8, 8), resize=8, crop=8, mean=(0.5,), std=(0.5,))
    assert load_photograph(draw(tmp_path / "a.png", (9, 8)), form).shape == (1, 8, 8)


@pytest.mark.parametrize(
    "form",
    [
        InputSpec(shape=(2, 8, 8), resize=8, crop=8, mean=(0, 0), std=(1, 1)),
        replace(SMALL, interpolation="cubic"),
    ],
)
def test_an_input_that_no_photograph_can_become_is_refused(tmp_path: Path, form: InputSpec) -> None:
    with pytest.raises(UsageError, match=r"a photograph has 1 or 3|unknown interpolation 'cubic'"):
        load_photograph(draw(tmp_path / "a.png", (9, 9)), form)


@pytest.mark.parametrize("size", [(9, 9), (40, 7), (3, 50)])
def test_an_input_that_is_no_square_is_covered_and_cut_from_the_centre(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    from PIL import Image

    path = tmp_path / "a.png"
    wide = Image.new("RGB", size, (10, 200, 30))
    wide.save(path)
    found = load_photograph(path, image_spec((3, 6, 20)))
    spec = InputSpec()
    wanted = (np.array([10, 200, 30]) / 255 - spec.mean) / spec.std
    assert found.shape == (3, 6, 20)
    np.testing.assert_allclose(found, np.broadcast_to(wanted[:, None, None], (3, 6, 20)), rtol=1e-5)


def test_what_covers_an_input_keeps_its_proportions(tmp_path: Path) -> None:
    from PIL import Image

    wide = Image.new("RGB", (40, 7), (255, 0, 0))
    wide.paste((0, 255, 0), (6, 0, 34, 7))  # of 34 columns, the 20 in the middle are cut
    wide.save(tmp_path / "a.png")
    found = load_photograph(tmp_path / "a.png", image_spec((3, 6, 20)))
    assert (found[0] < 0).all()
    assert (found[1] > 1).all()


def test_a_photograph_becomes_whole_numbers_with_channels_last_or_a_clip(tmp_path: Path) -> None:
    path = draw(tmp_path / "a.png", (9, 8))
    square = replace(image_spec((8, 8, 3), "uint8"), resize=8)
    pixels = load_photograph(path, square)
    assert (pixels.shape, pixels.dtype.name) == ((8, 8, 3), "uint8")
    plain = replace(image_spec((3, 8, 8)), resize=8)
    spec = InputSpec()
    back = load_photograph(path, plain).transpose(1, 2, 0) * spec.std + spec.mean
    np.testing.assert_allclose(pixels, back * 255, atol=0.51)
    clip = load_photograph(path, replace(image_spec((3, 4, 8, 8)), resize=8))
    assert clip.shape == (3, 4, 8, 8)
    for frame in range(4):
        np.testing.assert_array_equal(clip[:, frame], load_photograph(path, plain))


def test_batches_leave_out_what_is_broken_and_say_so(tmp_path: Path) -> None:
    paths = [draw(tmp_path / f"{index}.png", (9, 9), seed=index) for index in range(7)]
    paths[2].write_bytes(paths[2].read_bytes()[:60])
    paths[4].write_text("no image")
    paths.append(tmp_path / "missing.png")
    broken: dict[Path, str] = {}
    batches = list(read_batches(paths, SMALL, 3, broken.__setitem__))
    assert [indices for indices, _ in batches] == [[0, 1], [3, 5], [6]]
    for indices, images in batches:
        for index, image in zip(indices, images, strict=True):
            np.testing.assert_array_equal(image, load_photograph(paths[index], SMALL))
    assert list(broken) == [paths[2], paths[4], paths[7]]
    assert all(str(path) in reason and "\n" not in reason for path, reason in broken.items())


def test_a_batch_of_broken_images_alone_is_skipped(tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_text("no image")
    good = draw(tmp_path / "good.png", (9, 9))
    broken: list[Path] = []
    batches = list(read_batches([bad, good], SMALL, 1, lambda path, _: broken.append(path)))
    assert [indices for indices, _ in batches] == [[1]]
    assert broken == [bad]


def test_photographs_are_found_in_all_folders_below_and_sorted(tmp_path: Path) -> None:
    for name in ("b/2.JPG", "a/x/1.png", "a/0.jpeg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "notes.txt").touch()
    empty = tmp_path / "empty"
    empty.mkdir()
    found = [str(path.relative_to(tmp_path)) for path in find_photographs(tmp_path)]
    assert found == ["a/0.jpeg", "a/x/1.png", "b/2.JPG"]
    with pytest.raises(UsageError, match="no image is in"):
        find_photographs(empty)
    with pytest.raises(UsageError, match="there is no folder"):
        find_photographs(tmp_path / "nowhere")


def _folders(root: Path, *names: str) -> None:
    for name in names:
        (root / name).mkdir()
        (root / name / "photo.jpg").touch()


def test_as_many_folders_as_classes_are_the_classes_in_order(tmp_path: Path) -> None:
    _folders(tmp_path, "n02", "n10", "n01")
    found = find_labelled(tmp_path, 3)
    assert [path.parent.name for path in found.paths] == ["n01", "n02", "n10"]
    assert found.labels == (0, 1, 2)
    assert found.mapping == "3 folders sorted by name"


def test_folders_named_by_numbers_are_those_classes(tmp_path: Path) -> None:
    _folders(tmp_path, "7", "12", "3")
    found = find_labelled(tmp_path, 20)
    assert {int(p.parent.name): k for p, k in zip(found.paths, found.labels, strict=True)} == {
        7: 7,
        12: 12,
        3: 3,
    }


def test_a_file_of_classes_places_a_part_of_the_folders(tmp_path: Path) -> None:
    _folders(tmp_path, "n02", "n10")
    (tmp_path / "classes.txt").write_text("n01\r\nn02\r\n\r\nn10\r\n")
    found = find_labelled(tmp_path, 4)
    assert found.labels == (1, 3)
    assert found.mapping == "lines of classes.txt"


def test_a_csv_names_files_and_classes(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text('file,label\nx/a.jpg,4\n"b, c.jpg",0\n')
    for given in (tmp_path, tmp_path / "labels.csv"):
        found = find_labelled(given, 5)
        assert found.paths == (tmp_path / "x/a.jpg", tmp_path / "b, c.jpg")
        assert found.labels == (4, 0)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        ({}, "holds no folders; wanted one for each class"),
        ({"cat/a.jpg": "", "dog/a.jpg": ""}, "holds 2 folders and the network has 3 classes"),
        ({"cat/a.jpg": "", "classes.txt": "dog\n"}, "does not name 'cat'"),
        ({"1/a.jpg": "", "3/a.jpg": ""}, "puts '3' into class 3, .* has classes 0 to 2"),
        ({"0/notes.txt": ""}, "no image is in"),
        ({"labels.csv": "a.jpg,cat\nb.jpg,dog\n"}, "has the line 'b.jpg,dog'; wanted"),
        ({"labels.csv": "a.jpg,1\nb.jpg,3\n"}, "puts 'b.jpg' into class 3"),
        ({"labels.csv": "a.jpg,1,2\n"}, "has the line 'a.jpg,1,2'"),
        ({"labels.csv": "file,label\n"}, "no image is in"),
    ],
)
def test_classes_that_cannot_be_told_are_one_sentence_with_the_cure(
    tmp_path: Path, files: dict[str, str], says: str
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(UsageError, match=says) as caught:
        find_labelled(tmp_path, 3)
    assert "\n" not in str(caught.value)
