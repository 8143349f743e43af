"""Attention of three and five axes is exported; that of four is left to torch.onnx."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

from greenbatch.exporter import Origin, export_module
from greenbatch.exporter.translations import translations
from greenbatch.models import InputSpec, ModelSpec
from greenbatch.models.weights.load import WeightsApplied

pytestmark = pytest.mark.slow

SPEC = ModelSpec(name="tiny", family="fake", parameters=0, input=InputSpec(shape=(3, 16, 16)))
ORIGIN = Origin(WeightsApplied("random", "seed 0"), "0" * 64)


class Windows(nn.Module):
    """Attends within 16 windows of 16 pixels, in two heads, as Hiera and NesT do."""

    mask: torch.Tensor

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.embed = nn.Linear(3, 36)
        mask = torch.randn(1, 2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
        self.register_buffer("mask", mask > 0 if kind == "truth values" else mask)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images (N, 3, 16, 16) to scores (N, 24)."""
        windows = images.reshape(-1, 3, 4, 4, 4, 4).permute(0, 2, 4, 3, 5, 1)
        tokens = self.embed(windows).reshape(-1, 16, 16, 3, 2, 6)
        query, key, value = tokens.permute(3, 0, 4, 1, 2, 5)
        mask = self.mask if self.kind in {"numbers", "truth values"} else None
        if self.kind == "three axes":
            query, key, value = (each.reshape(-1, 16, 6) for each in (query, key, value))
            mask = self.mask[0, 0, 0]
        attended = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=self.kind == "causal"
        )
        return attended.reshape(-1, 2 * 16 * 16 * 6)[:, ::128]


@pytest.mark.parametrize("kind", ["none", "numbers", "truth values", "causal", "three axes"])
def test_attention_of_windows_is_exported_and_proved(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    manifest = export_module(Windows(kind), SPEC, tmp_path, ORIGIN)
    assert max(parity.max_rel for parity in manifest.parity) < 1e-5


class Heads(nn.Module):
    """Attends in the usual four axes."""

    def forward(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        """Attend: (N, heads, tokens, channels)."""
        return functional.scaled_dot_product_attention(query, key, value)


def test_attention_of_four_axes_is_as_torch_onnx_writes_it() -> None:
    heads = torch.zeros(2, 2, 5, 4)

    def nodes(table: dict[Any, Any]) -> list[str]:
        program = torch.onnx.export(
            Heads().eval(),
            (heads, heads, heads),
            dynamo=True,
            verbose=False,
            opset_version=20,
            custom_translation_table=table,
        )
        assert program is not None
        return [node.op_type for node in program.model_proto.graph.node]

    ours, plain = nodes(dict(translations())), nodes({})
    assert ours == plain
    assert "Softmax" in ours
