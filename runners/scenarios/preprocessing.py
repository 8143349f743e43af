"""Real images for a study: which ones, and how they become a network's input.

They are decoded and transformed as `greenbatch.models.image_folder` does for ``gb eval``, either
before anything is timed, or in the window, before each batch.
"""

import hashlib
import random
import time
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

from greenbatch import units
from greenbatch.design.images import ImageSet
from greenbatch.errors import RunError, UnsupportedCell, UsageError
from greenbatch.models.image_files import BrokenImage, decode, read_image
from greenbatch.models.image_folder import check_form, find_photographs, transform
from greenbatch.models.output_rows import Array
from greenbatch.plain_text import storable
from greenbatch.records import InputSpec, Pipeline
from greenbatch.runners.backends import Backend, Fed
from greenbatch.runners.scenarios.generated_images import count_of, generate, is_generated

Images = Array
Feed = Callable[[Array], None]

AT_MOST = 256
"""So many files of a folder are looked at, evenly spread over its sorted paths: enough for any
batch to vary, few enough to be held in memory."""
_MOST_BROKEN = 50  # more are not named one by one: it is another folder that was meant
_RGB = 3


class Photograph(NamedTuple):
    """An image file in memory: its path within the folder, and its bytes."""

    name: str
    data: bytes


def survey(folder: Path) -> ImageSet:
    """Look at a folder's images: each is decoded once, and its contents are hashed.

    ``generated:3`` in the place of a folder asks for three images that are made.

    Raises:
        UsageError: There is no such folder, or no image in it, or none that can be read, or more
            than `_MOST_BROKEN` that cannot.
    """
    if storable(str(folder)) != str(folder):
        raise UsageError(
            f"the name of the folder {folder} is not UTF-8, and a study cannot hold it; rename it, "
            "or name a link to it"
        )
    if is_generated(str(folder)):
        made = _generated(str(folder))
        return ImageSet(folder=str(folder), found=len(made), count=len(made), sha256=_hash(made))
    paths = find_photographs(folder)
    broken: dict[str, str] = {}
    used: list[Photograph] = []
    for path in _spread(paths):
        name = path.relative_to(folder).as_posix()
        try:
            data = read_image(path, name)
            decode(BytesIO(data), _RGB, name)
        except BrokenImage as error:
            broken[storable(name)] = error.reason
        else:
            used.append(Photograph(name, data))
    if not used or len(broken) > _MOST_BROKEN:
        name, reason = next(iter(broken.items()))
        few = f"{len(broken)}" if used else "none"
        fault = (
            f"{few} of the {units.count(len(used) + len(broken), 'image')} looked at in {folder}"
        )
        verb = "cannot be read" if used else "can be read"
        raise UsageError(f"{fault} {verb}, the first ({name}) because: {reason}; name another")
    return ImageSet(
        folder=str(folder),
        found=len(paths),
        count=len(used),
        broken=broken,
        sha256=_hash(used),
    )


def read(images: ImageSet) -> list[Photograph]:
    """Read the images of a study into memory, sorted by path, or make them.

    Raises:
        RunError: They are no longer those that the study was made with.
    """
    if is_generated(images.folder):
        made = _generated(images.folder)
        if _hash(made) != images.sha256:
            raise RunError(
                f"the images {images.folder} are made by this installation of Pillow with other "
                "bytes than those that the study was made with; write 'images: "
                f"{images.folder}' into the study file to measure a new run with them"
            )
        return made
    folder = Path(images.folder)
    try:
        found = ((path.relative_to(folder).as_posix(), path) for path in _found(folder))
        used = [
            Photograph(name, read_image(path, name))
            for name, path in found
            if storable(name) not in images.broken
        ]
        same = _hash(used) == images.sha256
    except (OSError, UsageError):
        same = False
    if not same:
        raise RunError(
            f"the images in {folder} are not the {images.count} that the study was made with "
            f"(SHA-256 {images.sha256[:12]}); restore them, or write 'images: {folder}' into the "
            "study file to measure a new run with what is there"
        )
    return used


def in_order(photographs: Sequence[Photograph], seed: int) -> list[Photograph]:
    """Return images in the order in which they go into batches."""
    return random.Random(seed).sample(photographs, len(photographs))


def batch(photographs: Sequence[Photograph], input_spec: InputSpec, size: int) -> Images:
    """Decode and transform the first images of an order; where there are too few, they repeat.

    Returns:
        Array (size, ...) of the input's shape and type.

    Raises:
        UsageError: ``input_spec`` is nothing that a photograph can become.
    """
    import numpy as np

    check_form(input_spec)
    images = np.empty((size, *input_spec.shape), input_spec.dtype)
    for row, (name, data) in enumerate(photographs[:size]):
        transform(decode(BytesIO(data), input_spec.channels, name), input_spec, images[row])
    for row in range(len(photographs), size):
        images[row] = images[row - len(photographs)]
    return images


class _Step(NamedTuple):
    """The preprocessing of one batch: when it began, CPU time of the process until then, ..."""

    start_s: float
    process_cpu_s: float
    decode_s: float
    transform_s: float
    cpu_s: float
    images: int


class Preprocessor:
    """Decodes and transforms images one by one before each batch, and reports what that takes.

    The files are in memory; they are taken in their order, over and over. The calling thread does
    all of it: that thread's CPU time is the preprocessing's.

    Args:
        photographs: In their order, at least one.
        input_spec: The network's input.
        largest: Most images in a batch.
        clock: Monotonic, in s.

    Raises:
        UsageError: ``input_spec`` is nothing that a photograph can become.
    """

    def __init__(
        self,
        photographs: Sequence[Photograph],
        input_spec: InputSpec,
        largest: int,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        import numpy as np

        check_form(input_spec)
        self._photographs = photographs
        self._input_spec = input_spec
        self._buffer = np.zeros((largest, *input_spec.shape), input_spec.dtype)
        self._next = 0
        self._clock = clock
        self._steps: list[_Step] = []

    def before(
        self, backend: Backend, run: Callable[[], None], images: int, padded_to: int = 0
    ) -> Callable[[], None]:
        """Return what prepares so many new images, hands them to a backend, and runs them.

        Args:
            backend: Takes the images.
            run: Runs them.
            images: In the batch.
            padded_to: Size of the batch that is run, where it is larger.

        Raises:
            UnsupportedCell: The backend takes no other images than those it was loaded with.
        """
        if not isinstance(backend, Fed):
            raise UnsupportedCell(
                f"{type(backend).__name__} has no method 'feed' and keeps the images that it was "
                "loaded with; measure it with --preprocessing before"
            )
        feed, buffer = backend.feed, self._buffer[: max(images, padded_to)]

        def prepare_and_run() -> None:
            self._prepare(images, feed, buffer)
            run()

        return prepare_and_run

    def total(self, start_s: float, end_s: float) -> Pipeline:
        """Sum up the batches whose preprocessing began in [start_s, end_s)."""
        import numpy as np

        steps = [step for step in self._steps if start_s <= step.start_s < end_s]
        now = (self._clock(), time.process_time())
        stamps = [*((step.start_s, step.process_cpu_s) for step in self._steps), now]
        at_s, process_cpu_s = np.array(stamps).T
        before_s, after_s = np.interp([start_s, end_s], at_s, process_cpu_s)
        return Pipeline(
            images=sum(step.images for step in steps),
            decode_s=sum(step.decode_s for step in steps),
            transform_s=sum(step.transform_s for step in steps),
            cpu_s=sum(step.cpu_s for step in steps),
            process_cpu_s=float(after_s - before_s),
        )

    def _prepare(self, images: int, feed: Feed, buffer: Images) -> None:
        clock, input_spec = self._clock, self._input_spec
        channels = input_spec.channels
        process_cpu_s, cpu_s = time.process_time(), time.thread_time()
        start_s = clock()
        decode_s = 0.0
        for row in range(images):
            name, data = self._photographs[self._next]
            self._next = (self._next + 1) % len(self._photographs)
            began_s = clock()
            pixels = decode(BytesIO(data), channels, name)
            decode_s += clock() - began_s
            transform(pixels, input_spec, buffer[row])
        feed(buffer)
        self._steps.append(
            _Step(
                start_s=start_s,
                process_cpu_s=process_cpu_s,
                decode_s=decode_s,
                transform_s=clock() - start_s - decode_s,
                cpu_s=time.thread_time() - cpu_s,
                images=images,
            )
        )


def _generated(text: str) -> list[Photograph]:
    return [Photograph(f"{n:03}.jpg", generate(n)) for n in range(count_of(text))]


def _found(folder: Path) -> list[Path]:
    return _spread(find_photographs(folder))


def _spread(paths: Sequence[Path]) -> list[Path]:
    """Choose at most `AT_MOST`, evenly: folders named by class all have their share."""
    if len(paths) <= AT_MOST:
        return list(paths)
    return [paths[index * len(paths) // AT_MOST] for index in range(AT_MOST)]


def _hash(photographs: Sequence[Photograph]) -> str:
    total = hashlib.sha256()
    for name, data in photographs:
        total.update(
            f"{name}\n{hashlib.sha256(data).hexdigest()}\n".encode(errors="surrogateescape")
        )
    return total.hexdigest()
