"""A detector for batches finds what torchvision's own finds in a list of images."""

from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch
from torch import nn
from torchvision.models import detection
from torchvision.models.detection.anchor_utils import AnchorGenerator, DefaultBoxGenerator
from torchvision.models.detection.ssd import SSD
from torchvision.ops import MultiScaleRoIAlign

from greenbatch.models.spec import InputSpec, ModelSpec
from greenbatch.models.torchvision.detection.one_stage import OneStage, one_stage
from greenbatch.models.torchvision.detection.two_stage import TwoStage
from greenbatch.models.weights.random_weights import draw_weights
from tests.thorough import needs_thorough

CHANNELS = 32
CLASSES = 5


class Trunk(nn.Module):
    """Features of two levels: of an eighth and a sixteenth of the sides."""

    out_channels: int | list[int] = CHANNELS

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, CHANNELS, 9, stride=8, padding=4)
        self.second = nn.Conv2d(CHANNELS, CHANNELS, 3, stride=2, padding=1)

    def forward(self, images: torch.Tensor) -> OrderedDict[str, torch.Tensor]:
        first = torch.relu(self.first(images))
        return OrderedDict([("0", first), ("1", torch.relu(self.second(first)))])


def anchors() -> AnchorGenerator:
    return AnchorGenerator(((16, 24), (40, 60)), ((0.5, 1.0),) * 2)


def pool(side: int) -> MultiScaleRoIAlign:
    return MultiScaleRoIAlign(["0", "1"], side, 2, canonical_scale=32, canonical_level=3)


def faster(
    kind: type[detection.FasterRCNN], *, min_size: int, max_size: int, **more: object
) -> detection.FasterRCNN:
    return kind(
        Trunk(),
        CLASSES,
        min_size=min_size,
        max_size=max_size,
        rpn_anchor_generator=anchors(),
        rpn_post_nms_top_n_test=30,
        box_roi_pool=pool(5),
        box_detections_per_img=8,
        **more,
    )


def retina(**sizes: int) -> detection.RetinaNet:
    return detection.RetinaNet(
        Trunk(), CLASSES, anchor_generator=anchors(), topk_candidates=50, **sizes
    )


def fcos(**sizes: int) -> detection.FCOS:
    own = AnchorGenerator(((8,), (16,)), ((1.0,),) * 2)
    return detection.FCOS(Trunk(), CLASSES, anchor_generator=own, topk_candidates=50, **sizes)


def ssd(min_size: int, max_size: int) -> SSD:
    boxes = DefaultBoxGenerator([[2], [2, 3]])
    trunk = Trunk()
    trunk.out_channels = [CHANNELS, CHANNELS]
    return SSD(trunk, boxes, (max_size, min_size), CLASSES, topk_candidates=20)


NETWORKS: dict[str, Callable[..., detection.FasterRCNN]] = {
    "faster": lambda **sizes: faster(detection.FasterRCNN, **sizes),
    "mask": lambda **sizes: faster(detection.MaskRCNN, mask_roi_pool=pool(14), **sizes),
    "retinanet": retina,
    "fcos": fcos,
    "ssd": ssd,
}
# (height, width) of the images, and what torchvision resizes their sides to: as they are, smaller,
# larger, and with a padding
SIZES = [((64, 64), 64, 64), ((90, 120), 60, 80), ((48, 40), 64, 96), ((70, 100), 72, 100)]


def levelled(
    name: str, size: tuple[int, int], least: int, most: int
) -> tuple[detection.FasterRCNN, TwoStage | OneStage]:
    """Return torchvision's network and ours with the same weights, which find something."""
    network = NETWORKS[name](min_size=least, max_size=most).eval()
    two = hasattr(network, "rpn")
    ours = TwoStage(network).eval() if two else one_stage(network)
    zero, one = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    spec = ModelSpec(
        name=name, family="x", parameters=1, input=InputSpec(shape=(3, *size), mean=zero, std=one)
    )
    draw_weights(ours, spec, 0)
    return network, ours


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize(("size", "least", "most"), SIZES, ids=lambda value: str(value))
def test_each_image_has_the_detections_of_torchvisions_list_interface(
    name: str, size: tuple[int, int], least: int, most: int
) -> None:
    network, ours = levelled(name, size, least, most)
    for count in (1, 2, 3):
        images = torch.rand(count, 3, *size, generator=torch.Generator().manual_seed(count))
        with torch.inference_mode():
            wanted, got = network(list(images)), ours(images)
        assert len(got["scores"]) == sum(len(one["scores"]) for one in wanted) > 0
        for number, one in enumerate(wanted):
            mine = got["image"] == number
            first = one["scores"].argsort(descending=True, stable=True)
            second = got["scores"][mine].argsort(descending=True, stable=True)
            for key in ("scores", "boxes", "labels"):
                torch.testing.assert_close(
                    got[key][mine][second], one[key][first], rtol=1e-4, atol=1e-4
                )


@pytest.mark.slow
def test_masks_are_torchvisions_before_they_are_pasted() -> None:
    from torchvision.models.detection.roi_heads import paste_masks_in_image

    network, ours = levelled("mask", (64, 64), 64, 64)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted, got = network(list(images)), ours(images)
    assert got["masks"].shape[1:] == (28, 28)
    for number, one in enumerate(wanted):
        mine = got["image"] == number
        order = got["scores"][mine].argsort(descending=True)
        pasted = paste_masks_in_image(
            got["masks"][mine][order][:, None], got["boxes"][mine][order], (64, 64)
        )
        torch.testing.assert_close(pasted, one["masks"], rtol=1e-3, atol=1e-3)


@pytest.mark.slow
@needs_thorough
def test_heatmaps_are_those_that_torchvision_seeks_its_keypoints_in() -> None:
    from torchvision.models.detection.roi_heads import heatmaps_to_keypoints

    network = faster(
        detection.KeypointRCNN, min_size=64, max_size=64, keypoint_roi_pool=pool(14)
    ).eval()
    ours = TwoStage(network).eval()
    zero, one = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    shape = InputSpec(shape=(3, 64, 64), mean=zero, std=one)
    draw_weights(ours, ModelSpec(name="k", family="x", parameters=1, input=shape), 0)
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted, got = network(list(images)), ours(images)
    for number, found in enumerate(wanted):
        mine = got["image"] == number
        order = got["scores"][mine].argsort(descending=True)
        places, _ = heatmaps_to_keypoints(got["heatmaps"][mine][order], got["boxes"][mine][order])
        torch.testing.assert_close(places, found["keypoints"], atol=1e-3, rtol=1e-3)


@pytest.mark.slow
def test_a_batch_without_a_detection_gives_empty_outputs() -> None:
    for name in ("mask", "retinanet"):
        _, ours = levelled(name, (64, 64), 64, 64)
        heads = ours.roi_heads if isinstance(ours, TwoStage) else ours
        heads.score_thresh = 1.0
        with torch.inference_mode():
            outputs = ours(torch.rand(2, 3, 64, 64))
        assert all(len(value) == 0 for value in outputs.values())
