"""A network is judged by images that it answers to: drawn ones, where synthetic ones give noise."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

from greenbatch.errors import ParityError
from greenbatch.exporter.precisions import judging
from greenbatch.exporter.precisions.calibration import Images, draw_images, images_for
from greenbatch.exporter.precisions.drawings import drawn_inputs
from greenbatch.models import InputSpec
from greenbatch.models.artifacts import Artifact
from greenbatch.models.inputs import tensors_of
from greenbatch.models.output_rows import Outputs
from greenbatch.records import OtherInput, TensorSpec

INPUT = InputSpec(shape=(3, 32, 32), resize=32, crop=32)
MAP = TensorSpec(name="text", dtype="float32", dims=("batch", 32, 32))


def manifest_of(input_spec: InputSpec, *outputs: TensorSpec) -> Any:
    """Make what is read of a manifest."""
    ends = tensors_of(input_spec)
    return SimpleNamespace(
        model="reader", file="reader.onnx", input=input_spec, inputs=ends, outputs=outputs
    )


@pytest.fixture
def reader(monkeypatch: pytest.MonkeyPatch) -> Artifact:
    """Make a network that finds strokes, and puts out noise of rounding where there are none."""

    def run(
        path: Path,
        images: Images,
        outputs: Sequence[TensorSpec],
        name: str,
        *,
        optimise: bool = True,
    ) -> Outputs:
        rng = np.random.default_rng(optimise)
        found = 1e-7 * rng.random((len(images), 32, 32))
        for answer, image in zip(found, images.pixels, strict=True):
            if image.max() - image.min() > 3 and np.median(image) > 1:  # strokes on a light ground
                answer += image[0] < 0
        return {"text": found.astype(np.float32)}

    monkeypatch.setattr(judging, "run", run)
    return Artifact(Path(), cast("Any", manifest_of(INPUT, MAP)))


def test_drawn_images_are_taken_where_synthetic_ones_give_noise(reader: Artifact) -> None:
    learnt, wanted = judging.choose_images(reader, "fp16", None)
    assert learnt.data.startswith("drawn (seed")
    assert wanted.images.data.startswith("drawn (seed")
    assert learnt.data != wanted.images.data
    assert all(answer.max() > 0.5 for answer in wanted.outputs["text"])


def test_photographs_without_an_answer_are_left_out(reader: Artifact, tmp_path: Path) -> None:
    drawn = drawn_inputs(INPUT, 40, 5)["input"]
    mean, std = (np.array(v)[:, None, None] for v in (INPUT.mean, INPUT.std))
    for number, image in enumerate(drawn):
        pixels = np.clip(255 * (image * std + mean), 0, 255) if number % 4 else np.zeros_like(image)
        Image.fromarray(pixels.transpose(1, 2, 0).astype(np.uint8)).save(tmp_path / f"{number}.png")
    _, wanted = judging.choose_images(reader, "int8", tmp_path)
    left_out = 20 - len(wanted.images)
    assert 0 < left_out < 12
    assert wanted.images.data == f"folder {tmp_path.name}, {left_out} without an answer"
    assert len(wanted.outputs["text"]) == len(wanted.images)


def test_without_an_answer_to_any_image_there_is_one_sentence(
    reader: Artifact, tmp_path: Path
) -> None:
    for number in range(40):
        Image.new("RGB", (32, 32), (number, 0, 0)).save(tmp_path / f"{number}.png")
    with pytest.raises(ParityError, match=r"rounding errors of float32.*--calibration") as caught:
        judging.choose_images(reader, "int8", tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("layout", "shape", "dtype"),
    [
        ("CHW", (1, 20, 300), "float32"),
        ("HWC", (48, 24, 4), "uint8"),
        ("TCHW", (2, 3, 9, 7), "float16"),
    ],
)
def test_drawn_images_are_as_the_input_wants_them(
    layout: str, shape: tuple[int, ...], dtype: str
) -> None:
    channels = shape[layout.index("C")]
    std = 1 / 255 if dtype == "uint8" else 1.0
    spec = InputSpec(
        shape=shape, layout=layout, dtype=dtype, mean=(0.0,) * channels, std=(std,) * channels
    )
    images = drawn_inputs(spec, 3, 1)["input"]
    assert (images.shape, images.dtype.name) == ((3, *shape), dtype)
    assert (images[0] != images[1]).any()
    assert images.max() > 2 * images.min() + (50 if dtype == "uint8" else 0.2)  # ink and ground
    np.testing.assert_array_equal(drawn_inputs(spec, 2, 1)["input"], images[:2])


def test_all_inputs_come_for_some_images_in_an_order() -> None:
    others = (
        OtherInput(name="scale", shape=(2,), value=3.0, batched=False),
        OtherInput(name="offset", shape=(4,)),
    )
    spec = InputSpec(shape=(3, 8, 8), others=others)
    _, judged = draw_images(spec, count=10)
    taken = judged.take([7, 2])
    assert {name: value.shape for name, value in taken.items()} == {
        "input": (2, 3, 8, 8),
        "scale": (2,),
        "offset": (2, 4),
    }
    np.testing.assert_array_equal(taken["offset"], judged.inputs["offset"][[7, 2]])
    assert len(judged.first(3)) == 3


def test_fewer_images_are_judged_where_outputs_are_large() -> None:
    small = TensorSpec(name="logits", dtype="float32", dims=("batch", 1000))
    large = TensorSpec(name="out", dtype="float32", dims=("batch", 21, 520, 520))
    boxes = TensorSpec(name="boxes", dtype="float32", dims=("count", 4))
    assert images_for(manifest_of(InputSpec(), small, boxes)) == 64
    assert images_for(manifest_of(InputSpec(shape=(3, 520, 520)), large)) == 9
