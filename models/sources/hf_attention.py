"""Attention of transformers' networks without the masks that it makes for export alone."""

import contextlib
from collections.abc import Iterable
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn
    from transformers import PreTrainedConfig

_PLAIN, _UNMASKED = "sdpa", "sdpa_unmasked"


def leave_out_masks(transformers: ModuleType, module: "nn.Module", images: "torch.Tensor") -> bool:
    """Let a network attend to all patches without a mask that allows all of them.

    transformers leaves such a mask out, except while a network is exported: then each layer would
    apply one, in the exported graph alone. A mask that changes the outputs stays.

    Args:
        transformers: The package.
        module: Computes by ``scaled_dot_product_attention``, where it attends at all.
        images: To compare its outputs on.

    Returns:
        Whether the masks were left out.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    configs = {
        id(config): config
        for part in module.modules()
        if getattr(config := getattr(part, "config", None), "_attn_implementation", "") == _PLAIN
    }
    if not configs:
        return False
    transformers.AttentionInterface.register(_UNMASKED, sdpa_attention_forward)
    with contextlib.suppress(Exception):  # what a network raises is reported when it is tried
        wanted = _outputs(module, images)
        _set(configs.values(), _UNMASKED)
        got = _outputs(module, images)
        if wanted.keys() == got.keys() and all(_near(wanted[name], got[name]) for name in wanted):
            return True
    _set(configs.values(), _PLAIN)
    return False


def _set(configs: "Iterable[PreTrainedConfig]", implementation: str) -> None:
    for config in configs:
        config._attn_implementation = implementation


def _outputs(module: "nn.Module", images: "torch.Tensor") -> "dict[str, torch.Tensor]":
    from greenbatch.models.outputs import flatten
    from greenbatch.models.sources.randomness import run

    return flatten(run(module, [images]))


def _near(wanted: "torch.Tensor", got: "torch.Tensor") -> bool:
    import torch

    return wanted.shape == got.shape and torch.allclose(wanted, got, 1e-4, 1e-5, equal_nan=True)
