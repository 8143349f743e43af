"""Figures of a comparison are right, and a miss is one sentence with the cure."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from greenbatch.errors import ParityError, UsageError
from greenbatch.exporter.precisions import BOUNDS, compare, fidelity, judge
from greenbatch.exporter.precisions.calibration import Images, draw_images
from greenbatch.exporter.precisions.running import run
from greenbatch.models import InputSpec
from greenbatch.records import Fidelity, TensorSpec

pytestmark = pytest.mark.numeric

FORM = InputSpec(shape=(3, 4, 4), resize=4, crop=4)


def logits(*rows: list[float]) -> NDArray[np.float32]:
    """Make logits."""
    return np.array(rows, np.float32)


def compared(
    reference: NDArray[np.float32], got: NDArray[np.float32], precision: str, data: str = "x"
) -> Fidelity:
    """Compare logits."""
    spec = TensorSpec(name="logits", dtype="float32", dims=("batch", reference.shape[1]))
    images = Images(FORM, {"input": np.zeros((len(reference), 3, 4, 4), np.float32)}, data)
    return compare([spec], "net", {"logits": reference}, {"logits": got}, precision, images)


def test_figures_are_those_of_a_sum_done_by_hand() -> None:
    found = compared(logits([3, 4], [0, 2]), logits([4, 3], [0, 1]), "int8", "two")
    assert (found.images, found.data) == (2, "two")
    assert found.max_abs == 1
    assert found.mean_abs == 0.75
    assert found.max_rel == 0.25
    assert found.cosine == pytest.approx(24 / 25)  # of the first; that of the second is 1
    assert found.top1_agreement == 0.5


def test_a_lost_channel_is_a_loss_that_is_measured_and_refused() -> None:
    """Of ten channels one; nodes are chosen by the loss, and the artifact is judged."""
    spec = TensorSpec(name="out", dtype="float32", dims=("batch", 10, 8))
    wanted = np.random.default_rng(0).uniform(0.1, 1, (4, 10, 8)).astype(np.float32)
    got = wanted.copy()
    got[:, 3] = 0
    images = Images(FORM, {"input": np.zeros((4, 3, 4, 4), np.float32)}, "x")
    found = compare([spec], "net", {"out": wanted}, {"out": got}, "int8", images)
    assert found.cosine > BOUNDS["int8"].cosine
    assert fidelity.loss(found, "int8") == pytest.approx(0.1 / 0.01)
    with pytest.raises(ParityError, match=r"channels that are not lost is 0\.9000"):
        judge("net", found, "int8")


def test_the_same_logits_agree_wholly() -> None:
    same = np.random.default_rng(0).standard_normal((5, 7), np.float32)
    found = compared(same, same.copy(), "fp16")
    assert (found.max_abs, found.max_rel, found.top1_agreement) == (0, 0, 1)
    assert found.cosine == pytest.approx(1)
    judge("net", found, "fp16")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_an_error(bad: float) -> None:
    with pytest.raises(
        ParityError,
        match=r"net .*in fp16.* 1 value that is not finite, as .*fp32",
    ):
        compared(logits([1, 2]), logits([1, bad]), "fp16")


def test_another_shape_is_an_error() -> None:
    with pytest.raises(ParityError, match=r"in int8 .* shape \(1, 3\) for 1 image, wanted is 1x2"):
        compared(logits([1, 2]), logits([1, 2, 3]), "int8")


@pytest.mark.parametrize("precision", BOUNDS)
def test_each_bound_is_held(precision: str) -> None:
    reference = np.random.default_rng(0).standard_normal((64, 50), np.float32)
    noise = np.random.default_rng(1).standard_normal((64, 50), np.float32)
    judge("net", compared(reference, reference + 1e-3 * noise, precision), precision)
    with pytest.raises(ParityError, match=f"something else in {precision} .*cosine") as caught:
        judge("net", compared(reference, noise, precision), precision)
    assert "\n" not in str(caught.value)
    # Nearly the same direction, and the first class is another one.
    shuffled = np.full((64, 50), 10, np.float32)
    shuffled[:, 0], other = 10.01, shuffled.copy()
    other[:, 1] = 10.02
    with pytest.raises(ParityError, match=r"share of equal first classes is 0\.0000 over 64"):
        judge("net", compared(shuffled, other, precision), precision)


def mixing(path: Path, *, mixes: bool) -> Path:
    """Write a network that puts out channel means, less those of the whole batch if it mixes."""
    nodes = [helper.make_node("ReduceMean", ["input", "axes"], ["means"], keepdims=0)]
    if mixes:
        nodes.append(helper.make_node("ReduceMean", ["means", "first"], ["all"], keepdims=1))
        nodes.append(helper.make_node("Sub", ["means", "all"], ["logits"]))
    else:
        nodes.append(helper.make_node("Identity", ["means"], ["logits"]))
    graph = helper.make_graph(
        nodes,
        "mixing",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 3, 4, 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 3])],
        [
            numpy_helper.from_array(np.array([2, 3], np.int64), "axes"),
            numpy_helper.from_array(np.array([0], np.int64), "first"),
        ],
    )
    opset = helper.make_opsetid("", 20)
    onnx.save(helper.make_model(graph, opset_imports=[opset], ir_version=9), path)
    return path


def test_rows_of_a_batch_are_held_to_images_run_alone(tmp_path: Path) -> None:
    images = draw_images(FORM)[1].first(16)
    specs = [TensorSpec(name="logits", dtype="float32", dims=("batch", 3))]
    apart = mixing(tmp_path / "apart.onnx", mixes=False)
    wanted = run(apart, images, specs, "net")
    np.testing.assert_allclose(wanted["logits"], images.pixels.mean((2, 3)), atol=1e-5)
    records = fidelity.check_rows(apart, images, specs, wanted, "net", "int8")
    assert [record.batch_size for record in records] == [1, 2, 3, 7, 16]
    assert all(record.rows_rel < 1e-6 and record.max_rel < 1e-6 for record in records)
    mixed = mixing(tmp_path / "mixed.onnx", mixes=True)
    with pytest.raises(ParityError, match="net in int8: at batch size"):
        fidelity.check_rows(mixed, images, specs, wanted, "net", "int8")


def test_no_image_both_calibrates_and_judges() -> None:
    learnt, judged = draw_images(FORM)
    assert learnt.data != judged.data
    assert len(learnt.pixels) == len(judged.pixels) == 64
    assert not {image.tobytes() for image in learnt.pixels} & {
        image.tobytes() for image in judged.pixels
    }


def write_photographs(folder: Path, count: int) -> None:
    """Write photographs that differ."""
    for index in range(count):
        pixels = np.random.default_rng(index).integers(0, 256, (6, 5, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")


@pytest.mark.parametrize(("count", "each"), [(33, 16), (140, 64)])
def test_a_folder_is_halved(tmp_path: Path, count: int, each: int) -> None:
    write_photographs(tmp_path, count)
    learnt, judged = draw_images(FORM, tmp_path)
    seen = [{image.tobytes() for image in images.pixels} for images in (learnt, judged)]
    assert len(seen[0]) == each
    assert each <= len(seen[1]) <= each + 1
    assert not seen[0] & seen[1]
    assert learnt.data == f"folder {tmp_path.name}"


def test_unreadable_photographs_are_said_and_too_few_are_refused(tmp_path: Path) -> None:
    write_photographs(tmp_path, 40)
    (tmp_path / "0.png").write_text("no image")
    assert draw_images(FORM, tmp_path)[0].data == f"folder {tmp_path.name}, 1 unreadable"
    for index in range(1, 10):
        (tmp_path / f"{index}.png").write_text("no image")
    with pytest.raises(UsageError, match=r"holds 30 images .* \(10 that cannot\)") as e:
        draw_images(FORM, tmp_path)
    assert "at least 32" in str(e.value)
