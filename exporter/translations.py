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
    - torch.onnx translates attention of four axes alone. Others (windows beside heads, or heads and
      images in one axis) become four, and four axes are left to torch.onnx.
    """
    import onnxscript
    import torch
    from onnxscript import ir
    from onnxscript.function_libs.torch_lib.ops import nn

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

    def in_four(tensor: "Value", dtype: "ir.DataType | None", *sizes: "Value") -> "Value":
        """Merge all axes but the last three, and state what torch.onnx reads: rank and type."""
        merged: Value = op.Reshape(tensor, op.Concat(op.Constant(value_ints=[-1]), *sizes, axis=0))
        merged.shape = ir.Shape([None] * 4)
        if dtype is not None:
            merged.dtype = dtype
        return merged

    def attend(
        query: "Value",
        key: "Value",
        value: "Value",
        attn_mask: "Value | None" = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> "Value":
        # The names are those of the operator's schema: torch.onnx gives some by keyword.
        attention = nn.aten_scaled_dot_product_attention
        rest = (dropout_p, is_causal, scale, enable_gqa)
        rank = len(query.shape or ())
        if rank in (2, 4) or {len(key.shape or ()), len(value.shape or ())} != {rank}:
            untouched: Value = attention(query, key, value, attn_mask, *rest)
            return untouched
        mask = attn_mask
        if mask is not None and len(mask.shape or ()) > 2:
            keys = op.Shape(key, start=-2, end=-1)
            whole = op.Expand(mask, op.Concat(op.Shape(query, end=-1), keys, axis=0))
            mask = in_four(whole, mask.dtype, op.Shape(query, start=-3, end=-1), keys)
        merged = attention(
            *(in_four(each, each.dtype, op.Shape(each, start=-3)) for each in (query, key, value)),
            mask,
            *rest,
        )
        sizes = op.Concat(op.Shape(query, end=-1), op.Shape(value, start=-1), axis=0)
        attended: Value = op.Reshape(merged, sizes)
        return attended

    return {
        torch.ops.greenbatch.suppress.default: suppress,
        torch.ops.aten.scaled_dot_product_attention.default: attend,
        operator.le: at_most,
    }
