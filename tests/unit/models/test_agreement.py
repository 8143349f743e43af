"""How near the outputs of two runtimes are, and where that proves little."""

import math
import re
from dataclasses import replace

import ml_dtypes
import numpy as np
import pytest

from greenbatch.models.agreement import (
    Difference,
    apart,
    compare,
    difference,
    fault,
    is_classifier,
)
from greenbatch.models.detections import matched_share
from greenbatch.records import TensorSpec

MAP = TensorSpec(name="text", dtype="float32", dims=("batch", 4))
SCORES = TensorSpec(name="logits", dtype="float32", dims=("batch", 4))


def test_what_is_nearly_zero_is_held_against_its_own_rounding() -> None:
    """Outputs of a Sigmoid where nothing is found: 7e-7 at most, rounding 2e-7."""
    wanted = {"text": np.array([[7e-7, 1e-9, 2e-9, 3e-9]])}
    near = {"text": np.array([[6e-7, 9e-8, 2e-9, 3e-9]])}
    plain = compare((MAP,), wanted, near)
    assert fault(plain, "fp32") is not None, "against its largest value it is far off"
    noisy = compare((MAP,), wanted, near, noise={"text": 2e-7})
    assert fault(noisy, "fp32") is None
    assert noisy.weak == ("text",)
    wrong = {"text": np.array([[3e-5, 1e-9, 2e-9, 3e-9]])}
    assert fault(compare((MAP,), wanted, wrong, noise={"text": 2e-7}), "fp32") is not None


def test_noise_of_an_output_that_is_not_small_changes_nothing() -> None:
    wanted = {"text": np.array([[0.7, 0.1, 0.2, 0.3]])}
    near = {"text": wanted["text"] + 1e-6}
    assert compare((MAP,), wanted, near, noise={"text": 1e-7}) == compare((MAP,), wanted, near)


@pytest.mark.parametrize(
    ("spec", "is_one"),
    [
        (SCORES, True),
        (TensorSpec(name="logits", dtype="float32", dims=("batch", 4, 1, 1)), True),
        (TensorSpec(name="image_embeds", dtype="float32", dims=("batch", 512)), False),
        (TensorSpec(name="out", dtype="float32", dims=("batch", 21, 8, 8)), False),
        (TensorSpec(name="labels", dtype="int64", dims=("batch", 4), index=True), False),
        (TensorSpec(name="seq", dtype="float32", dims=(4, "batch")), False),
        (TensorSpec(name="boxes", dtype="float32", dims=("count", 4)), False),
    ],
)
def test_scores_of_classes_are_one_output_with_a_row_for_each_image(
    spec: TensorSpec, is_one: bool
) -> None:
    assert is_classifier((spec,)) is is_one
    assert not is_classifier((spec, spec))


CORNERS, SCORED = 4, 18


def detections(channels_last: bool) -> tuple[TensorSpec, np.ndarray]:
    """Boxes in pixels beside scores, of 3 images with 40 places each."""
    random = np.random.default_rng(0)
    boxes = random.uniform(0, 320, (3, CORNERS, 40))
    scores = random.uniform(0, 0.03, (3, SCORED, 40))
    values = np.concatenate([boxes, scores], axis=1).astype(np.float32)
    spec = TensorSpec(name="out", dtype="float32", dims=("batch", CORNERS + SCORED, 40))
    if not channels_last:
        return spec, values
    return replace(spec, dims=("batch", 40, CORNERS + SCORED)), values.transpose(0, 2, 1)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_scores_that_are_lost_beside_boxes_are_a_fault(precision: str, channels_last: bool) -> None:
    spec, wanted = detections(channels_last)
    lost = np.where(wanted < 0.1, 0, wanted)
    found = compare((spec,), {"out": wanted}, {"out": lost}, precision)
    assert found.cosine > 0.999
    assert found.channels == pytest.approx(CORNERS / (CORNERS + SCORED))
    assert "81.8% of an output's channels are lost" in str(fault(found, precision))
    near = compare((spec,), {"out": wanted}, {"out": wanted * 0.9999}, precision)
    assert (near.channels, fault(near, precision)) == (1, None)


def test_a_channel_of_rounding_alone_and_one_of_hundreds_may_be_lost() -> None:
    random = np.random.default_rng(0)
    spec = TensorSpec(name="out", dtype="float32", dims=("batch", 200, 8, 8))
    wanted = random.uniform(0, 1, (2, 200, 8, 8))
    wanted[:, :100] *= 1e-6  # nothing but rounding beside the others
    wanted[:, 100] *= 1e-3
    lost = np.where(wanted < 1e-3, 0, wanted)
    found = compare((spec,), {"out": wanted}, {"out": lost}, "int8")
    assert found.channels == 0.99  # of those that are more than rounding, one
    assert fault(found, "int8") is None
    lost[:, 101] = 0
    assert fault(compare((spec,), {"out": wanted}, {"out": lost}, "int8"), "int8") is not None


def test_so_few_values_are_no_channel() -> None:
    spec = TensorSpec(name="out", dtype="float32", dims=("batch", 2, 15))
    wanted = np.ones((1, 2, 15))
    assert compare((spec,), {"out": wanted}, {"out": wanted}).channels is None
    wider = replace(spec, dims=("batch", 2, 16))
    wanted = np.ones((1, 2, 16))
    assert compare((wider,), {"out": wanted}, {"out": wanted}).channels == 1


def test_a_channel_of_noise_is_not_compared() -> None:
    spec, wanted = detections(channels_last=False)
    lost = np.where(wanted < 0.1, 0, wanted)
    found = compare((spec,), {"out": wanted}, {"out": lost}, noise={"out": 0.01})
    assert found.channels == 1


def farther(values: np.ndarray, steps: int) -> np.ndarray:
    """Round to bfloat16, and go some of its numbers on, away from 0."""
    bits = values.astype(ml_dtypes.bfloat16).view(np.uint16) + np.uint16(steps)
    found: np.ndarray = bits.view(ml_dtypes.bfloat16).astype(np.float32)
    return found


def test_rounding_is_no_difference_of_an_output_that_the_network_rounds_alone() -> None:
    plain = TensorSpec(name="logits", dtype="float32", dims=("batch", 4))
    specs = (plain, replace(plain, name="embedding", rounded="bfloat16"))
    rng = np.random.default_rng(0)
    full = rng.normal(size=(64, 4)).astype(np.float32)
    wanted = {"logits": full, "embedding": farther(full, 0)}
    neighbours = {"logits": full * np.float32(1 + 1e-6), "embedding": farther(full, 1)}
    found = compare(specs, wanted, neighbours)
    assert found.beyond_rounding == pytest.approx(1e-6, rel=0.2)
    assert 2**-9 < found.max_rel < 2**-7
    assert fault(found, "fp32") is None
    for wrong in ({"embedding": farther(full, 4)}, {"logits": farther(full, 1)}):
        assert "of the largest value" in str(
            fault(compare(specs, wanted, neighbours | wrong), "fp32")
        )
    lost = {"embedding": full * np.float32(np.nan)}
    assert np.isnan(compare(specs[1:], wanted, lost).beyond_rounding)


@pytest.mark.parametrize(("rounded", "equal"), [("", 0.0), ("float16", 1.0), ("bfloat16", 1.0)])
def test_rows_that_the_data_decide_may_be_rounded_too(rounded: str, equal: float) -> None:
    boxes = TensorSpec(name="boxes", dtype="float32", dims=("count", 4), rounded=rounded)
    wanted = np.random.default_rng(0).uniform(0.5, 1, (5, 4)).astype(np.float32)
    found = compare((boxes,), {"boxes": wanted}, {"boxes": wanted + np.float32(5e-3)})
    assert found.equal == equal


NEAR = Difference(
    max_abs=0,
    mean_abs=0,
    max_rel=1e-3,
    beyond_rounding=1e-3,
    cosine=1,
    top1_agreement=None,
    equal=0.95,
    channels=0.99,
)


@pytest.mark.parametrize(
    ("found", "wrong"),
    [
        (NEAR, None),
        (replace(NEAR, equal=None, channels=None), None),
        (replace(NEAR, beyond_rounding=2e-3), "differs from torch by 2.0e-03 of its largest value"),
        (replace(NEAR, beyond_rounding=math.nan), "differs from torch by nan"),
        (replace(NEAR, channels=0.98), "2.0% of an output's channels are lost, .*, against torch"),
        (
            replace(NEAR, equal=0.9),
            "90.0% of the positions or detections are those of torch, .*95%",
        ),
    ],
)
def test_how_far_fp32_is_from_what_is_wanted_is_said(found: Difference, wrong: str | None) -> None:
    said = apart(found, "torch", 1e-3, 0.95)
    assert said is None if wrong is None else re.search(wrong, said or "")


def test_scores_of_classes_have_no_channels() -> None:
    assert difference(np.eye(40), np.eye(40)).channels is None


def test_first_classes_are_compared_where_there_are_classes() -> None:
    wanted = np.eye(4)
    assert difference(wanted, wanted[::-1]).top1_agreement == 0
    assert compare((MAP,), {"text": wanted}, {"text": wanted}).top1_agreement == 1
    spec = TensorSpec(name="seq", dtype="float32", dims=(4, "batch"))
    assert compare((spec,), {"seq": wanted}, {"seq": wanted}).top1_agreement is None


def test_one_step_of_whole_numbers_is_rounding() -> None:
    spec = TensorSpec(name="image", dtype="uint8", dims=("batch", 3))
    wanted = {"image": np.array([[0, 128, 255]], np.uint8)}
    step, two = ({"image": wanted["image"] ^ np.uint8(bits)} for bits in (1, 2))
    assert fault(compare((spec,), wanted, step), "fp32") is None
    assert fault(compare((spec,), wanted, two), "fp32") is not None


BOXES = (
    TensorSpec(name="boxes", dtype="float32", dims=("count", 4)),
    TensorSpec(name="labels", dtype="int64", dims=("count",)),
    TensorSpec(name="image", dtype="int64", dims=("count",), image_column=0),
)


def found(rows: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Detections of two images."""
    rng = np.random.default_rng(seed)
    return {
        "boxes": rng.uniform(0, 640, (rows, 4)).astype(np.float32),
        "labels": rng.integers(0, 3, rows),
        "image": np.arange(rows) % 2,
    }


def test_detections_are_the_same_in_any_order_and_within_rounding() -> None:
    wanted = found(30)
    order = np.random.default_rng(1).permutation(30)
    got = {name: value[order] for name, value in wanted.items()}
    got["boxes"] = got["boxes"] * np.float32(1.0001)
    assert matched_share(BOXES, wanted, got, 1e-3) == 1


def test_a_detection_that_is_missing_moved_or_of_another_image_counts() -> None:
    wanted = found(30)
    fewer = {name: value[:27] for name, value in wanted.items()}
    assert matched_share(BOXES, wanted, fewer, 1e-3) == pytest.approx(0.9)
    assert matched_share(BOXES, fewer, wanted, 1e-3) == pytest.approx(0.9)
    moved = {**wanted, "boxes": wanted["boxes"] + np.float32(50)}
    assert matched_share(BOXES, wanted, moved, 1e-3) < 0.2
    other = {**wanted, "image": 1 - wanted["image"]}
    assert matched_share(BOXES, wanted, other, 1e-3) < 0.2
    assert matched_share(BOXES, found(0), found(0), 1e-3) == 1
    assert matched_share(BOXES, found(0), wanted, 1e-3) == 0


def test_many_detections_are_compared_too() -> None:
    wanted = found(5000)
    order = np.random.default_rng(1).permutation(5000)
    got = {name: value[order] for name, value in wanted.items()}
    assert matched_share(BOXES, wanted, got, 1e-3) == 1
