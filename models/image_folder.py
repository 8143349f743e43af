"""Photographs from disk as a network takes them, and which class each one shows.

The way from a file to an input is that of torchvision's evaluation transforms on Pillow images:
resize the shorter side, cut the centre, scale to 0..1, subtract the mean and divide by the
standard deviation. EXIF rotation is not applied, as it is not there.
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from greenbatch import units
from greenbatch.errors import UsageError
from greenbatch.models.image_files import (
    CHANNELS,
    MOST_PIXELS,
    SUFFIXES,
    decode,
    find_images,
    is_passed_over,
)
from greenbatch.models.inputs import arranged
from greenbatch.models.output_rows import Array
from greenbatch.models.spec import InputSpec

if TYPE_CHECKING:
    from PIL.Image import Image, Resampling

CLASSES_FILE = "classes.txt"
LABELS_FILE = "labels.csv"

_DECODERS = 2  # threads that decode the next batch while a network runs this one

Broken = Callable[[Path, str], object]


@dataclass(frozen=True, slots=True)
class LabelledPhotographs:
    """Photographs with their classes.

    Attributes:
        paths: The files, ordered by class (as in the file, from a CSV).
        labels: Index of each one's class among a network's outputs.
        mapping: How the indices were found, for a person.
    """

    paths: tuple[Path, ...]
    labels: tuple[int, ...]
    mapping: str


def find_photographs(folder: Path) -> tuple[Path, ...]:
    """Return a folder's images; see `greenbatch.models.image_files.find_images`.

    Raises:
        UsageError: There is no such folder, or no image in it.
    """
    if not folder.is_dir():
        raise UsageError(f"there is no folder {folder}; give one with images")
    paths = tuple(find_images(folder))
    if not paths:
        raise UsageError(f"no image is in {folder}; wanted files named {', '.join(SUFFIXES)}")
    return paths


def find_labelled(data: Path, classes: int) -> LabelledPhotographs:
    """Find photographs and the class of each.

    ``data`` is one of these, tried in this order:

    - a CSV file ``file,label`` (a header line is skipped), or a folder with a ``labels.csv``:
      files are relative to the CSV, labels are indices of outputs;
    - a folder with a folder for each class and a ``classes.txt``, in which line k (from 0) names
      the folder of class k;
    - a folder whose folders are numbers: the indices themselves;
    - a folder with as many folders as there are classes: sorted by name. For the 1000 folders of
      ImageNet, named by WordNet identifiers, that is the order of its published networks.

    Args:
        data: The CSV or folder.
        classes: Number of the network's outputs.

    Raises:
        UsageError: ``data`` is none of them; the message says what was found.
    """
    if data.is_file():
        return _from_csv(data, classes)
    if not data.is_dir():
        raise UsageError(f"there is no folder {data}; give a folder with a folder for each class")
    if (data / LABELS_FILE).is_file():
        return _from_csv(data / LABELS_FILE, classes)
    folders = sorted(
        path for path in data.iterdir() if path.is_dir() and not is_passed_over(path.name)
    )
    names = [folder.name for folder in folders]
    if not folders:
        raise UsageError(
            f"{data} holds no folders; wanted one for each class, or a {LABELS_FILE} with lines "
            "'file,label'"
        )
    if (data / CLASSES_FILE).is_file():
        listed = _read_text(data / CLASSES_FILE).split("\n")
        order = {line.strip(): index for index, line in enumerate(listed) if line.strip()}
        if missing := [name for name in names if name not in order]:
            raise UsageError(
                f"{data / CLASSES_FILE} does not name {missing[0]!r}, a folder beside it; "
                "write the folder of class k into line k, counted from 0"
            )
        indices, mapping = [order[name] for name in names], f"lines of {CLASSES_FILE}"
    elif all(name.isdecimal() for name in names):
        indices, mapping = [int(name) for name in names], "folders named by index"
    elif len(folders) == classes:
        indices, mapping = list(range(classes)), f"{classes} folders sorted by name"
    else:
        raise UsageError(
            f"{data} holds {len(folders)} folders and the network has "
            f"{units.count(classes, 'class', 'classes')}, so their order is not known; add a "
            f"{CLASSES_FILE} that names the folder of class k in line k, or a {LABELS_FILE} with "
            "lines 'file,label'"
        )
    _check_indices(indices, names, classes, data)
    found = [
        (path, index)
        for folder, index in zip(folders, indices, strict=True)
        for path in find_images(folder)
    ]
    return _labelled(found, mapping, data)


def load_photograph(path: Path, input_spec: InputSpec) -> Array:
    """Read an image file as a network takes it.

    Args:
        path: The file; see `greenbatch.models.image_files.decode`.
        input_spec: Size, statistics and interpolation.

    Returns:
        Array of the input's shape and type: float32 (C, H, W), unless it states others.

    Raises:
        BrokenImage: The file cannot be read.
        UsageError: ``input_spec`` is nothing that a photograph can become.
    """
    check_form(input_spec)
    return transform(decode(path, input_spec.channels, str(path)), input_spec)


def transform(image: "Image", input_spec: InputSpec, out: "Array | None" = None) -> Array:
    """Resize, cut and normalise pixels as a network takes them.

    Where the input is a square of the crop's side, that is cut as the published evaluation does;
    else the photograph is made as small as covers the input, and its centre is cut. The frames of
    a clip are all the same.

    Args:
        image: As `decode` gives it.
        input_spec: Size, statistics and interpolation; see `check_form`.
        out: Where to write, of the input's shape and type; a new array if not given.

    Returns:
        ``out``.

    Raises:
        UsageError: The interpolation is not known.
    """
    import numpy as np

    height, width = input_spec.height, input_spec.width
    if (height, width) == (input_spec.crop, input_spec.crop):
        pixels = _crop(_resize(image, input_spec), input_spec.crop)
    else:
        pixels = _covering(image, input_spec)
    values = np.asarray(pixels, np.float32).reshape(height, width, -1) / np.float32(255)
    values -= np.asarray(input_spec.mean, np.float32)
    values /= np.asarray(input_spec.std, np.float32)
    out = np.empty(input_spec.shape, input_spec.dtype) if out is None else out
    channels_first = values.transpose(2, 0, 1)
    if input_spec.layout == "CHW" and input_spec.dtype == "float32":
        out[...] = channels_first
    else:
        out[...] = arranged(np.stack([channels_first] * (input_spec.frames or 1)), input_spec)
    return out


def read_batches(
    paths: Sequence[Path], input_spec: InputSpec, batch_size: int, on_broken: Broken
) -> Iterator[tuple[list[int], Array]]:
    """Read photographs batch by batch, the next one while the caller works on this one.

    Args:
        paths: The files.
        input_spec: See `load_photograph`.
        batch_size: Largest number of images N at a time.
        on_broken: Is called with each file that cannot be read, and why; it is left out.

    Yields:
        Indices into ``paths``, and the images (N, C, H, W); no empty batch.

    Raises:
        UsageError: ``input_spec`` is nothing that a photograph can become.
    """
    import numpy as np

    check_form(input_spec)

    def read(path: Path) -> "Array | str":
        try:
            return load_photograph(path, input_spec)
        except UsageError as error:
            return str(error)

    with ThreadPoolExecutor(_DECODERS, thread_name_prefix="photographs") as pool:
        try:
            ahead = [pool.submit(read, path) for path in paths[:batch_size]]
            for start in range(0, len(paths), batch_size):
                now, next_start = ahead, start + batch_size
                ahead = [pool.submit(read, p) for p in paths[next_start : next_start + batch_size]]
                got = {index: future.result() for index, future in enumerate(now, start)}
                for index, text in got.items():
                    if isinstance(text, str):
                        on_broken(paths[index], text)
                images = {i: image for i, image in got.items() if not isinstance(image, str)}
                if images:
                    yield list(images), np.stack(list(images.values()))
        finally:
            pool.shutdown(cancel_futures=True)  # the caller may stop early


def check_form(input_spec: InputSpec) -> None:
    """Check that a photograph can become such an input.

    Raises:
        UsageError: It cannot.
    """
    if input_spec.channels not in CHANNELS:
        raise UsageError(
            f"an input of shape {input_spec.shape} has {input_spec.channels} channels, and a "
            "photograph has 1 or 3; leave --images out for synthetic images"
        )


def _method(input_spec: InputSpec) -> "Resampling":
    """Return how pixels are interpolated."""
    from PIL.Image import Resampling

    methods = {
        "nearest": Resampling.NEAREST,
        "bilinear": Resampling.BILINEAR,
        "bicubic": Resampling.BICUBIC,
        "lanczos": Resampling.LANCZOS,
        "box": Resampling.BOX,
        "hamming": Resampling.HAMMING,
    }
    if input_spec.interpolation not in methods:
        raise UsageError(
            f"unknown interpolation {input_spec.interpolation!r}; "
            f"choose one of {', '.join(methods)}"
        )
    return methods[input_spec.interpolation]


def _covering(image: "Image", input_spec: InputSpec) -> "Image":
    """Make an image as small as covers the input, and cut its centre."""
    method = _method(input_spec)
    width, height = image.size
    scale = max(input_spec.height / height, input_spec.width / width)
    size = (
        max(input_spec.width, round(width * scale)),
        max(input_spec.height, round(height * scale)),
    )
    if size[0] * size[1] > MOST_PIXELS:
        raise UsageError(
            f"an image of {width} x {height} pixels would become {size[0]} x {size[1]} for this "
            f"network, more than {MOST_PIXELS} pixels; crop it, or remove it"
        )
    image = image if size == image.size else image.resize(size, method)
    left, top = (size[0] - input_spec.width) // 2, (size[1] - input_spec.height) // 2
    return image.crop((left, top, left + input_spec.width, top + input_spec.height))


def _resize(image: "Image", input_spec: InputSpec) -> "Image":
    """Bring the shorter side to the spec's; the longer one is rounded down (as torchvision)."""
    method = _method(input_spec)
    width, height = image.size
    short, long = sorted(image.size)
    stretched = int(input_spec.resize * long / short)
    size = (input_spec.resize, stretched) if width <= height else (stretched, input_spec.resize)
    if input_spec.resize * stretched > MOST_PIXELS:
        raise UsageError(
            f"an image of {width} x {height} pixels would become {size[0]} x {size[1]} for this "
            f"network, more than {MOST_PIXELS} pixels; crop it to a square, or remove it"
        )
    return image if size == image.size else image.resize(size, method)


def _crop(image: "Image", side: int) -> "Image":
    """Cut the centre as torchvision does: what is smaller is padded with black first."""
    width, height = image.size
    if min(width, height) < side:
        left, top = max(0, (side - width) // 2), max(0, (side - height) // 2)
        width, height = max(width, side), max(height, side)
        image = image.crop((-left, -top, width - left, height - top))
    left, top = round((width - side) / 2), round((height - side) / 2)
    return image.crop((left, top, left + side, top + side))


def _from_csv(path: Path, classes: int) -> LabelledPhotographs:
    rows = [row for row in csv.reader(_read_text(path).splitlines()) if row]
    if rows and len(rows[0]) == 2 and not _is_index(rows[0][1]):
        rows = rows[1:]  # the header
    for row in rows:
        if len(row) != 2 or not _is_index(row[1]):
            raise UsageError(
                f"{path} has the line {','.join(row)!r}; wanted 'file,label', where the label is "
                "the index of an output"
            )
    indices = [int(row[1]) for row in rows]
    _check_indices(indices, [row[0] for row in rows], classes, path)
    paths = [path.parent / row[0].strip() for row in rows]
    found = list(zip(paths, indices, strict=True))
    return _labelled(found, f"lines of {path.name}", path)


def _labelled(found: list[tuple[Path, int]], mapping: str, data: Path) -> LabelledPhotographs:
    if not found:
        raise UsageError(f"no image is in {data}; wanted files named {', '.join(SUFFIXES)}")
    paths, labels = zip(*found, strict=True)
    return LabelledPhotographs(paths, labels, mapping)


def _check_indices(indices: list[int], names: list[str], classes: int, data: Path) -> None:
    for index, name in zip(indices, names, strict=True):
        if index >= classes:
            raise UsageError(
                f"{data} puts {name!r} into class {index}, and the network has classes 0 to "
                f"{classes - 1}; correct it"
            )


def _is_index(text: str) -> bool:
    return text.strip().isascii() and text.strip().isdecimal()


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        cause = getattr(error, "strerror", None) or "it is not UTF-8"
        raise UsageError(f"cannot read {path}: {cause}; correct it") from error
