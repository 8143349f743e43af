"""The first runs of a network."""

import pytest
import torch
from torch import nn

from greenbatch.errors import ExportError
from greenbatch.models.sources.trial import try_out


class Scaled(nn.Module):
    """Takes images and a number for each."""

    def forward(self, image: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """Multiply the images."""
        return image * scale.reshape(-1, 1, 1, 1)


def test_a_further_input_of_another_shape_is_named_with_its_shape() -> None:
    def inputs(count: int) -> list[torch.Tensor]:
        return [torch.ones(count, 3, 8, 8), torch.ones(count, 2)]

    with pytest.raises(ExportError, match=r"further inputs of 2x2 .*--input NAME=SHAPE"):
        try_out(Scaled().eval(), "net", inputs, 3)
