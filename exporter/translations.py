"""Operators of torch that torch.onnx does not translate to ONNX, or not in each case."""

import operator
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from greenbatch.exporter.recipe import OPSET

if TYPE_CHECKING:
    from onnxscript.ir import Value

_LARGEST = (1 << 63) - 1  # of an int64


def translations() -> Mapping[Callable[..., object], Callable[..., object]]:
    """Return what `torch.onnx.export` takes as its ``custom_translation_table``.

    - The suppression of boxes of a batch is ONNX's NonMaxSuppression.
    - ``torch.export`` notes that a size which the data decide is at most the product of the largest
      sizes that it comes from. That bound may be larger than an int64, which ONNX cannot hold and
      torch.onnx does not take; each size is below it.
    """
    import onnxscript
    import torch

    from greenbatch.models.torchvision.detection import suppression

    op = getattr(onnxscript, f"opset{OPSET}")

    def suppress(boxes: "Value", scores: "Value", threshold: float) -> "Value":
        kept = op.NonMaxSuppression(
            boxes, op.Unsqueeze(scores, [1]), _LARGEST, threshold, suppression.ABSENT_BELOW
        )
        image_and_place: Value = op.Gather(kept, [0, 2], axis=1)
        return image_and_place

    def at_most(size: "Value", bound: "Value | int") -> "Value":
        if isinstance(bound, int) and bound > _LARGEST:
            always: Value = op.Constant(value_int=1)
            return always
        fits: Value = op.LessOrEqual(size, bound)
        return fits

    return {torch.ops.greenbatch.suppress.default: suppress, operator.le: at_most}
