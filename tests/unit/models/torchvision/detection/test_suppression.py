"""The suppression of all images at once finds what torchvision finds image by image."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import batched_nms

from greenbatch.models.torchvision.detection.suppression import (
    ABSENT,
    Boxes,
    best_of_dense,
    best_of_rows,
    suppress,
)

SIZE = (60, 80)


def drawn(seed: int, images: int, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    corners = torch.rand(images, count, 2, generator=generator) * torch.tensor([60.0, 40.0])
    sides = torch.rand(images, count, 2, generator=generator) * 20
    scores = torch.rand(images, count, generator=generator)
    labels = torch.randint(0, 3, (images, count), generator=generator)
    return torch.cat([corners, corners + sides], 2), scores, labels


@given(seed=st.integers(0, 10**6), images=st.integers(1, 4), limit=st.integers(1, 12))
@settings(max_examples=30)
def test_both_forms_are_torchvisions_image_by_image(seed: int, images: int, limit: int) -> None:
    boxes, scores, labels = drawn(seed, images, 40)
    present = scores > 0.3
    dense = best_of_dense(boxes, scores, labels, present, SIZE, 0.4, limit)
    image, place = torch.nonzero(present).unbind(1)
    rows = Boxes(boxes[image, place], scores[image, place], labels[image, place], image)
    flat = best_of_rows(rows, images, SIZE, 0.4, limit)
    for number in range(images):
        own = present[number]
        kept = batched_nms(boxes[number][own], scores[number][own], labels[number][own], 0.4)
        wanted = scores[number][own][kept[:limit]]
        for found in (dense, flat):
            mine = found.image == number
            torch.testing.assert_close(found.scores[mine].sort(descending=True)[0], wanted)
            torch.testing.assert_close(
                found.boxes[mine][found.scores[mine].argsort(descending=True)],
                boxes[number][own][kept[:limit]],
            )


def test_an_absent_place_neither_stays_nor_suppresses() -> None:
    boxes = torch.tensor([[[0.0, 0, 9, 9], [0.0, 0, 9, 9], [20.0, 20, 30, 30]]])
    kept = suppress(boxes, torch.tensor([[ABSENT, 0.5, ABSENT]]), 0.5)
    assert kept.tolist() == [[0, 1]]
    nothing = suppress(boxes, torch.full((1, 3), ABSENT), 0.5)
    assert nothing.shape == (0, 2)


def test_labels_and_images_far_from_the_origin_do_not_change_what_stays() -> None:
    """float32 has to hold the coordinates of the last of many images and labels."""
    boxes, scores, _ = drawn(3, 1, 60)
    alone = best_of_rows(_rows(boxes[0], scores[0], 0, 1), 64, (800, 800), 0.5, 100)
    moved = best_of_rows(_rows(boxes[0], scores[0], 63, 90), 64, (800, 800), 0.5, 100)
    torch.testing.assert_close(alone.boxes, moved.boxes)


def _rows(boxes: torch.Tensor, scores: torch.Tensor, image: int, label: int) -> Boxes:
    whole = torch.ones(len(boxes), dtype=torch.int64)
    return Boxes(boxes, scores, whole * label, whole * image)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:# The axis name")
def test_the_exported_graph_finds_the_same_at_any_batch(tmp_path: object) -> None:
    import onnxruntime as ort

    from greenbatch.exporter.translations import translations

    class Net(torch.nn.Module):
        def forward(self, boxes: torch.Tensor, scores: torch.Tensor) -> tuple[torch.Tensor, ...]:
            labels = torch.zeros_like(scores, dtype=torch.int64)
            found = best_of_dense(boxes, scores, labels, scores > 0.3, SIZE, 0.4, 7)
            return found.boxes, found.scores, found.image

    boxes, scores, _ = drawn(1, 2, 40)
    batch = {0: torch.export.Dim("batch")}
    program = torch.onnx.export(
        Net().eval(),
        (boxes, scores),
        dynamo=True,
        dynamic_shapes=(batch, batch),
        input_names=["boxes", "scores"],
        opset_version=20,
        custom_translation_table=dict(translations()),
        verbose=False,
    )
    assert program is not None
    kinds = {node.op_type for node in program.model.graph}
    assert "NonMaxSuppression" in kinds
    session = ort.InferenceSession(program.model_proto.SerializeToString())
    for images in (1, 2, 5):
        boxes, scores, _ = drawn(images, images, 40)
        wanted = Net()(boxes, scores)
        got = session.run(None, {"boxes": boxes.numpy(), "scores": scores.numpy()})
        for one, other in zip(wanted, got, strict=True):
            np.testing.assert_array_equal(one.numpy(), other)
