"""Which part of other libraries' errors helps."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from greenbatch.errors import ExportError
from greenbatch.exporter.torch_to_onnx import write_graph
from greenbatch.models.sources.input_option import parse_input
from tests.fakes.networks import SPEC


class Branching(nn.Module):
    """Computes otherwise for bright images."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map images to images."""
        return images * 2 if images.mean() > 0 else images


@pytest.mark.slow
def test_a_branch_on_the_images_is_refused_by_its_line(tmp_path: Path) -> None:
    spec = replace(SPEC, input=parse_input("3x8x8"))
    line = Branching.forward.__code__.co_firstlineno + 2
    with pytest.raises(
        ExportError, match=rf"test_causes\.py:{line} decides.*torch\.where"
    ) as found:
        write_graph(Branching().eval(), spec, tmp_path / "net.onnx")
    assert "constraints.txt" not in str(found.value)
