"""Faster R-CNN, Mask R-CNN and Keypoint R-CNN for a batch of images of one size."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_area, clip_boxes_to_image, roi_align

from greenbatch.models.torchvision.detection.resized import (
    in_original_pixels,
    resized_size,
    transformed,
)
from greenbatch.models.torchvision.detection.suppression import Boxes, best_of_dense, best_of_rows

if TYPE_CHECKING:
    from torch import Tensor
    from torchvision.models.detection.roi_heads import RoIHeads
    from torchvision.models.detection.rpn import RegionProposalNetwork
    from torchvision.models.detection.transform import GeneralizedRCNNTransform
    from torchvision.ops import MultiScaleRoIAlign

_SMALLEST_PX = 1e-2  # sides of a detection: as RoIHeads.postprocess_detections


class TwoStage(nn.Module):
    """An R-CNN for a batch; it has the children of the module that it is made from.

    The names of its tensors are torchvision's own.

    Args:
        network: Of torchvision, in evaluation mode.
    """

    backbone: "nn.Module"
    roi_heads: "RoIHeads"
    rpn: "RegionProposalNetwork"
    transform: "GeneralizedRCNNTransform"

    def __init__(self, network: FasterRCNN) -> None:
        super().__init__()
        for name, child in network.named_children():
            self.add_module(name, child)

    def forward(self, images: "Tensor") -> "dict[str, Tensor]":
        """Detect.

        Args:
            images: (N, 3, H, W) in 0..1.

        Returns:
            ``boxes`` (K, 4) as x1, y1, x2, y2 in pixels of ``images``, ``scores`` (K,), ``labels``
            (K,) and ``image`` (K,): the number of the image, for all K detections of the batch.
            Mask R-CNN: ``masks`` (K, 28, 28), the probability of the mask within the box, before
            it is pasted into the image. Keypoint R-CNN: ``heatmaps`` (K, 17, 56, 56), the logits
            of the keypoints' places within the box, before torchvision searches their maxima.
        """
        height, width = images.shape[-2:]
        inputs = transformed(self.transform, images)
        size = resized_size(self.transform, height, width)
        features = self.backbone(inputs)
        proposals = _proposals(self.rpn, inputs, features, size)
        heads = self.roi_heads
        found = _detections(heads, features, proposals, images.shape[0], size)
        outputs: dict[str, Tensor] = {}
        if heads.has_mask():
            found, pooled = _pooled(heads.mask_roi_pool, features, found, size)
            logits = heads.mask_predictor(heads.mask_head(pooled))
            rows = torch.arange(logits.shape[0], device=logits.device)
            outputs["masks"] = torch.sigmoid(logits[rows, found.labels])
        if heads.has_keypoint():
            found, pooled = _pooled(heads.keypoint_roi_pool, features, found, size)
            outputs["heatmaps"] = heads.keypoint_predictor(heads.keypoint_head(pooled))
        return {
            "boxes": in_original_pixels(self.transform, found.boxes, height, width),
            "scores": found.scores,
            "labels": found.labels,
            "image": found.image,
            **outputs,
        }


def _proposals(
    rpn: "RegionProposalNetwork",
    inputs: "Tensor",
    features: "Mapping[str, Tensor]",
    size: tuple[int, int],
) -> Boxes:
    """Return the regions that may hold something, as ``RegionProposalNetwork``; label: the level.

    What decides is taken of the best anchors alone: boxes are decoded after they were chosen.
    """
    levels = list(features.values())
    objectness, deltas = rpn.head(levels)
    padded = (inputs.shape[-2], inputs.shape[-1])
    anchors = rpn.anchor_generator(ImageList(inputs, [padded]), levels)[0]
    scores, boxes, labels = [], [], []
    start = 0
    for number, (judged, codes) in enumerate(zip(objectness, deltas, strict=True)):
        # (N, anchors, H, W) -> (N, H * W * anchors), in the order of the anchors
        judged = judged.permute(0, 2, 3, 1).flatten(1)
        codes = codes.unflatten(1, (-1, 4)).permute(0, 3, 4, 1, 2).flatten(1, 3)
        count = judged.shape[1]
        best, places = judged.topk(min(rpn.pre_nms_top_n(), count))
        codes = codes.gather(1, places[..., None].expand(-1, -1, 4))
        own = anchors[start : start + count][places]
        start += count
        decoded = rpn.box_coder.decode_single(codes.reshape(-1, 4), own.reshape(-1, 4))
        scores.append(torch.sigmoid(best))
        boxes.append(clip_boxes_to_image(decoded.view(codes.shape), size))
        labels.append(torch.full_like(places, number))
    score, box = torch.cat(scores, 1), torch.cat(boxes, 1)
    return best_of_dense(
        box,
        score,
        torch.cat(labels, 1),
        (score >= rpn.score_thresh) & _at_least(box, rpn.min_size),
        size,
        rpn.nms_thresh,
        rpn.post_nms_top_n(),
    )


def _detections(
    heads: "RoIHeads",
    features: "Mapping[str, Tensor]",
    proposals: Boxes,
    images: int,
    size: tuple[int, int],
) -> Boxes:
    """Classify regions and adjust their boxes, as ``RoIHeads.postprocess_detections``."""
    proposals, pooled = _pooled(heads.box_roi_pool, features, proposals, size)
    logits, deltas = heads.box_predictor(heads.box_head(pooled))
    boxes = heads.box_coder.decode_single(deltas, proposals.boxes)
    boxes = clip_boxes_to_image(boxes.unflatten(1, (-1, 4)), size)[:, 1:]
    scores = functional.softmax(logits, -1)[:, 1:]  # the first class is the background
    fit = (scores > heads.score_thresh) & _at_least(boxes, _SMALLEST_PX)
    region, label = torch.nonzero(fit).unbind(1)
    found = Boxes(boxes[region, label], scores[region, label], label + 1, proposals.image[region])
    return best_of_rows(found, images, size, heads.nms_thresh, heads.detections_per_img)


def _pooled(
    pool: "MultiScaleRoIAlign",
    features: "Mapping[str, Tensor]",
    regions: Boxes,
    size: tuple[int, int],
) -> "tuple[Boxes, Tensor]":
    """Cut regions out of the levels that fit their sizes, as ``MultiScaleRoIAlign``.

    Returns:
        The regions ordered by level, and their features (K, channels, side, side) in that order.
    """
    levels = [features[name] for name in pool.featmap_names if name in features]
    halvings = [round(math.log2(size[0] / level.shape[-2])) for level in levels]
    sides = torch.sqrt(box_area(regions.boxes))
    wanted = torch.floor(
        pool.canonical_level + torch.log2(sides / pool.canonical_scale) + sides.new_tensor(1e-6)
    )
    wanted = wanted.clamp(halvings[0], halvings[-1]).to(torch.int64) - halvings[0]
    rois = torch.cat([regions.image[:, None].to(regions.boxes.dtype), regions.boxes], 1)
    rows, parts = [], []
    for number, (level, halved) in enumerate(zip(levels, halvings, strict=True)):
        own = torch.nonzero(wanted == number)[:, 0]
        rows.append(own)
        scale = 2.0**-halved
        parts.append(roi_align(level, rois[own], pool.output_size, scale, pool.sampling_ratio))
    return regions.rows(torch.cat(rows)), torch.cat(parts)


def _at_least(boxes: "Tensor", side: float) -> "Tensor":
    """Return which boxes (..., 4) are at least as wide and as high."""
    sides = boxes[..., 2:] - boxes[..., :2]
    return (sides >= side).all(-1)
