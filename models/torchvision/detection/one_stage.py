"""SSD, RetinaNet and FCOS for a batch of images of one size."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional
from torchvision.models.detection import FCOS, RetinaNet
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.ssd import SSD
from torchvision.ops import clip_boxes_to_image

from greenbatch.models.torchvision.detection.resized import (
    in_original_pixels,
    resized_size,
    transformed,
)
from greenbatch.models.torchvision.detection.suppression import best_of_dense

if TYPE_CHECKING:
    from torch import Tensor
    from torchvision.models.detection.anchor_utils import AnchorGenerator
    from torchvision.models.detection.retinanet import RetinaNetHead
    from torchvision.models.detection.transform import GeneralizedRCNNTransform


class OneStage(nn.Module):
    """A detector that judges anchors at once, for a batch; subclasses choose the candidates.

    It has the children of the module that it is made from, so the names of its tensors are
    torchvision's own.

    Args:
        network: Of torchvision, in evaluation mode.
    """

    anchor_generator: "AnchorGenerator"
    backbone: "nn.Module"
    head: "RetinaNetHead"
    transform: "GeneralizedRCNNTransform"

    def __init__(self, network: FCOS | RetinaNet | SSD) -> None:
        super().__init__()
        for name, child in network.named_children():
            self.add_module(name, child)
        self.box_coder = network.box_coder
        self.score_thresh = network.score_thresh
        self.nms_thresh = network.nms_thresh
        self.detections_per_img = network.detections_per_img
        self.topk_candidates = network.topk_candidates

    def forward(self, images: "Tensor") -> "dict[str, Tensor]":
        """Detect.

        Args:
            images: (N, 3, H, W) in 0..1.

        Returns:
            ``boxes`` (K, 4) as x1, y1, x2, y2 in pixels of ``images``, ``scores`` (K,), ``labels``
            (K,) and ``image`` (K,): the number of the image, for all K detections of the batch.
        """
        height, width = images.shape[-2:]
        inputs = transformed(self.transform, images)
        features = self.backbone(inputs)
        levels = list(features.values()) if isinstance(features, dict) else [features]
        outputs = self.head(levels)
        padded = (inputs.shape[-2], inputs.shape[-1])
        anchors = self.anchor_generator(ImageList(inputs, [padded]), levels)[0]
        size = resized_size(self.transform, height, width)
        cells = [level.shape[-2] * level.shape[-1] for level in levels]
        boxes, scores, labels = self.candidates(outputs, anchors, cells, size)
        found = best_of_dense(
            boxes,
            scores,
            labels,
            scores > self.score_thresh,
            size,
            self.nms_thresh,
            self.detections_per_img,
        )
        return {
            "boxes": in_original_pixels(self.transform, found.boxes, height, width),
            "scores": found.scores,
            "labels": found.labels,
            "image": found.image,
        }

    def candidates(
        self,
        outputs: "dict[str, Tensor]",
        anchors: "Tensor",
        cells: Sequence[int],
        size: tuple[int, int],
    ) -> "tuple[Tensor, Tensor, Tensor]":
        """Return boxes (N, M, 4), their scores (N, M) and labels (N, M), before the threshold.

        Args:
            outputs: Of the head, for all anchors of all levels.
            anchors: (A, 4) of all levels, in pixels.
            cells: Number of positions in each level.
            size: Height and width of the images that the boxes lie in.
        """
        raise NotImplementedError


class Levels(OneStage):
    """RetinaNet and FCOS: the best pairs of anchor and class of each level."""

    def candidates(
        self,
        outputs: "dict[str, Tensor]",
        anchors: "Tensor",
        cells: Sequence[int],
        size: tuple[int, int],
    ) -> "tuple[Tensor, Tensor, Tensor]":
        """See `OneStage.candidates`; as ``postprocess_detections`` of RetinaNet and FCOS."""
        logits = outputs["cls_logits"]
        classes = logits.shape[-1]
        each = len(anchors) // sum(cells)
        scores, boxes, labels = [], [], []
        start = 0
        for count in (each * cell for cell in cells):
            level = slice(start, start + count)
            start += count
            judged = torch.sigmoid(logits[:, level])
            if "bbox_ctrness" in outputs:
                centred = torch.sigmoid(outputs["bbox_ctrness"][:, level])
                judged = torch.sqrt(judged * centred)
            best, places = judged.flatten(1).topk(min(self.topk_candidates, count * classes))
            rows = places // classes
            codes = outputs["bbox_regression"][:, level]
            codes = codes.gather(1, rows[..., None].expand(-1, -1, 4))
            scores.append(best)
            boxes.append(self._decoded(codes, anchors[level][rows], size))
            labels.append(places % classes)
        return torch.cat(boxes, 1), torch.cat(scores, 1), torch.cat(labels, 1)

    def _decoded(self, codes: "Tensor", anchors: "Tensor", size: tuple[int, int]) -> "Tensor":
        """Return the boxes (N, K, 4) that codes (N, K, 4) describe relative to anchors."""
        decode = getattr(self.box_coder, "decode_single", self.box_coder.decode)
        boxes = decode(codes.reshape(-1, 4), anchors.reshape(-1, 4))
        clipped: Tensor = clip_boxes_to_image(boxes.view(codes.shape), size)
        return clipped


class BestOfClass(OneStage):
    """SSD: the best anchors of each class."""

    def candidates(
        self,
        outputs: "dict[str, Tensor]",
        anchors: "Tensor",
        cells: Sequence[int],
        size: tuple[int, int],
    ) -> "tuple[Tensor, Tensor, Tensor]":
        """See `OneStage.candidates`; as ``postprocess_detections`` of SSD."""
        codes = outputs["bbox_regression"]
        boxes = self.box_coder.decode_single(
            codes.reshape(-1, 4), anchors.expand(codes.shape[0], -1, -1).reshape(-1, 4)
        )
        boxes = clip_boxes_to_image(boxes.view(codes.shape), size)
        judged = functional.softmax(outputs["cls_logits"], dim=-1).transpose(1, 2)[:, 1:]
        scores, places = judged.topk(min(self.topk_candidates, len(anchors)))
        chosen = places.flatten(1)
        labels = torch.arange(1, judged.shape[1] + 1, device=boxes.device)[:, None]
        return (
            boxes.gather(1, chosen[..., None].expand(-1, -1, 4)),
            scores.flatten(1),
            labels.expand_as(places).flatten(1),
        )


def one_stage(network: FCOS | RetinaNet | SSD) -> OneStage:
    """Return a detector of torchvision as one for a batch of images of one size."""
    return (BestOfClass if isinstance(network, SSD) else Levels)(network).eval()
