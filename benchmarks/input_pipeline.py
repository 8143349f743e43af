"""How long a fast device waits for images: decoded as they are taken, read ahead, held as bytes.

Writes JPEG files of 128x128 into a folder for each of two classes, and takes one epoch in batches
of 32 for a simulated device that works 1 ms on each batch. The share of the epoch in which the
device waits is printed for four pipelines; the first is one thread that decodes every image when
it is taken, and hands over float32. 34,010 images, as del Rey et al. had, are 6.2 GiB as float32
and 1.6 GiB as bytes.

    python benchmarks/input_pipeline.py --images 34010
"""

import argparse
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from greenbatch.runners.training.child.reading import Readers
from greenbatch.runners.training.data import datasets
from greenbatch.runners.training.data.tensors import Images

SIDE, BATCH, DEVICE_S = 128, 32, 0.001
EVERYTHING = 2**40


def main() -> None:
    """Measure, and print a line for each pipeline."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=4000, help="Images to train on.")
    parser.add_argument("--workers", type=int, default=2, help="Threads that read ahead.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _draw(Path(folder), options.images)
        print(f"{options.images} images, a device of {1000 * DEVICE_S:g} ms for {BATCH} of them")
        for cache_bytes in (0, EVERYTHING):
            split = datasets.load(
                f"folder:{folder}",
                Path(),
                image_size=SIDE,
                train_images=None,
                validation_images=None,
                seed=0,
                cache_bytes=cache_bytes,
                workers=options.workers,
            )
            name = "held as bytes" if split.held else "decoded when taken"
            if not split.held:
                _report(f"{name}, one thread, float32", _one_by_one(split.train))
            with Readers(options.workers, 2) as readers:
                ahead = readers.map(split.train.take, _order(len(split.train)))
                _report(f"{name}, {options.workers} threads ahead, bytes", ahead)
            if split.held:
                _report(
                    f"{name}, one thread, bytes", map(split.train.take, _order(len(split.train)))
                )


def _draw(folder: Path, count: int) -> None:
    """Write smooth noise: so many to train on, two to validate on."""
    draw = np.random.default_rng(0)
    for number in range(count + 4):
        part = "train" if number < count else "val"
        path = folder / part / "ab"[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(draw.integers(0, 256, (16, 16, 3), np.uint8))
        coarse.resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path, quality=90)


def _order(count: int) -> Iterator[torch.Tensor]:
    return iter(
        torch.split(torch.randperm(count, generator=torch.Generator().manual_seed(0)), BATCH)
    )


def _one_by_one(images: Images) -> Iterator[torch.Tensor]:
    for places in _order(len(images)):
        yield torch.stack([images[place][0] for place in places.tolist()])


def _report(name: str, batches: Iterable[object]) -> None:
    """Print how long the device waits for a batch, the median, beside the time that it works.

    A sleep may last longer than it should on a busy machine: what the device waits is timed.
    """
    waits_s = []
    batches = iter(batches)
    while True:
        began_s = time.perf_counter()
        if next(batches, None) is None:
            break
        waits_s.append(time.perf_counter() - began_s)
        time.sleep(DEVICE_S)
    mean_s, wait_s = float(np.mean(waits_s)), float(np.median(waits_s))
    print(
        f"{name:44} waits {1000 * wait_s:6.2f} ms for a batch (mean {1000 * mean_s:.2f}): "
        f"{wait_s / (wait_s + DEVICE_S):.0%} of the time (mean {mean_s / (mean_s + DEVICE_S):.0%})",
        flush=True,
    )


if __name__ == "__main__":
    main()
