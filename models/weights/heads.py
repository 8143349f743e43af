"""The heads of detectors and of optical flow with random weights: outputs as of trained ones.

A detector whose scores spread by 1 finds an object of each class everywhere, or nothing anywhere.
So the bias of its class scores is set by what it finds. Focal loss begins with a prior probability
for the same reason (Lin et al. 2017, section 4.1).
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torchvision.models.detection.retinanet import RetinaNetClassificationHead
    from torchvision.models.detection.ssd import SSDClassificationHead

    from greenbatch.models.torchvision.detection.one_stage import OneStage
    from greenbatch.models.torchvision.detection.two_stage import TwoStage

CANDIDATES = 100
"""Boxes of an image that score above a detector's threshold, before those that overlap go."""

_STEPS = 40  # halvings of the range of a bias
_REACH = 64.0
_OFFSETS = 0.2  # spread of box offsets that are fractions of the anchor's sides
_FLOW = 0.1  # spread of an update of the flow, in units of 8 pixels of the image
_FCOS_SIDES = 2.0  # mean distance from a point to the sides of its box, in strides


def set_heads(module: "nn.Module", images: "torch.Tensor") -> None:
    """Set the heads of a network in place, whose layers are levelled.

    A detector then finds about `CANDIDATES` boxes in each image. The updates of a flow add up to
    some pixels: larger ones would leave the image, where nothing is to be compared.

    Args:
        module: Of `greenbatch.models.torchvision`; another network is left as it is.
        images: (N, 3, H, W).
    """
    from greenbatch.models.torchvision.detection.one_stage import OneStage
    from greenbatch.models.torchvision.detection.two_stage import TwoStage
    from greenbatch.models.torchvision.flow import LastFlow

    if isinstance(module, TwoStage):
        _set_two_stage(module, images)
    elif isinstance(module, OneStage):
        _set_one_stage(module, images)
    elif isinstance(module, LastFlow):
        _scale(module.update_block.flow_head.conv2, _FLOW)


def silence(module: "nn.Module") -> None:
    """Let a one-stage detector with fresh weights find nothing: millions would take minutes.

    Its biases are those of its class scores until `set_heads` sets them.
    """
    from greenbatch.models.torchvision.detection.one_stage import OneStage

    if isinstance(module, OneStage):
        _raise(module.head.classification_head, -_REACH / 4)


def _set_two_stage(module: "TwoStage", images: "torch.Tensor") -> None:
    _scale(module.rpn.head.bbox_pred, _OFFSETS)
    layer = module.roi_heads.box_predictor.cls_score
    logits = cast("torch.Tensor", _captured(layer, module, images))

    def scores(background: float) -> "torch.Tensor":
        return _without_background(logits, background)

    layer.bias[0] += _bias(scores, module.roi_heads.score_thresh, len(images), falling=True)


def _set_one_stage(module: "OneStage", images: "torch.Tensor") -> None:
    import torch

    classes, boxes = module.head.classification_head, module.head.regression_head
    several = not hasattr(classes, "cls_logits")  # SSD: a layer for each level, and a background
    if not several and hasattr(boxes, "bbox_ctrness"):
        boxes.bbox_reg.bias += _FCOS_SIDES
    elif not several:
        _scale(boxes.bbox_reg, _OFFSETS)
    outputs = cast("dict[str, torch.Tensor]", _captured(module.head, module, images))
    logits = outputs["cls_logits"]

    def scores(bias: float) -> "torch.Tensor":
        if several:
            return _without_background(logits, bias)
        found = torch.sigmoid(logits + bias)
        if "bbox_ctrness" in outputs:
            found = torch.sqrt(found * torch.sigmoid(outputs["bbox_ctrness"]))
        return found

    bias = _bias(scores, module.score_thresh, len(images), falling=several)
    _raise(classes, -bias if several else bias)


def _raise(classes: "RetinaNetClassificationHead | SSDClassificationHead", bias: float) -> None:
    """Raise the class scores of a one-stage detector; of SSD by lowering the background's."""
    if hasattr(classes, "cls_logits"):
        classes.cls_logits.bias += bias
        return
    for level in classes.module_list:
        layer = level if hasattr(level, "bias") else level[-1]
        layer.bias.view(-1, classes.num_columns)[:, 0] -= bias


def _captured(part: "nn.Module", module: "nn.Module", images: "torch.Tensor") -> object:
    """Return what a part of a module puts out for images."""
    found: list[object] = []
    handle = part.register_forward_hook(lambda _part, _inputs, output: found.append(output))
    try:
        module(images)
    finally:
        handle.remove()
    return found[0]


def _without_background(logits: "torch.Tensor", bias: float) -> "torch.Tensor":
    """Return the probabilities of all classes but the first, whose logits rise by ``bias``."""
    import torch

    logits = logits.clone()
    logits[..., 0] += bias
    return torch.softmax(logits, -1)[..., 1:]


def _bias(
    scores: "Callable[[float], torch.Tensor]", threshold: float, images: int, *, falling: bool
) -> float:
    """Return the bias at which `CANDIDATES` scores of an image are above a threshold."""
    low, high = -_REACH, _REACH
    for _ in range(_STEPS):
        middle = (low + high) / 2
        many = int((scores(middle) > threshold).sum()) > CANDIDATES * images
        low, high = (middle, high) if many == falling else (low, middle)
    return (low + high) / 2


def _scale(layer: "nn.Module", factor: float) -> None:
    for parameter in layer.parameters():
        parameter.mul_(factor)
