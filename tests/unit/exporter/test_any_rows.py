"""Normalisations of rows whose number the data decide are exported, and compute the same."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch
from torch import nn

from greenbatch.exporter.any_rows import AnyRows

pytestmark = pytest.mark.slow

LAYERS = {
    "images": nn.BatchNorm2d(3),
    "without weights": nn.BatchNorm2d(3, affine=False),
    "by the batch": nn.BatchNorm2d(3, track_running_stats=False),
    "vectors": nn.Sequential(nn.Flatten(), nn.BatchNorm1d(48)),
    "sequences": nn.Sequential(nn.Flatten(2), nn.BatchNorm1d(3)),
    "instances": nn.InstanceNorm2d(3),
    "instances with weights": nn.InstanceNorm2d(3, affine=True),
    "instances by statistics": nn.InstanceNorm2d(3, affine=True, track_running_stats=True),
}


class Chosen(nn.Module):
    """Normalises the images whose first value is above 0, then those where it is above 0.5."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Map (N, 3, 4, 4) to as many rows as the values decide."""
        first = images[:, 0, 0, 0]
        parts = [images[torch.nonzero(first > bound)[:, 0]] for bound in (0.0, 0.5)]
        normalised: torch.Tensor = self.layer(torch.cat(parts))
        return normalised


@pytest.mark.parametrize("kind", LAYERS)
def test_rows_that_the_data_decide_are_normalised_as_torch_does(kind: str, tmp_path: Path) -> None:
    draw = torch.Generator().manual_seed(0)
    for each in LAYERS[kind].modules():
        for name in ("running_mean", "running_var", "weight", "bias"):
            if (values := getattr(each, name, None)) is not None:
                values.data.uniform_(0.5, 2.0, generator=draw)
    network = Chosen(LAYERS[kind]).eval()
    images = torch.randn(5, 3, 4, 4, generator=draw)
    batch = ({0: torch.export.Dim("batch")},)
    with AnyRows():
        made = torch.onnx.export(network, (images,), dynamo=True, dynamic_shapes=batch)
    assert made is not None
    made.save(str(tmp_path / "network.onnx"))
    session = ort.InferenceSession(str(tmp_path / "network.onnx"))
    for size in (4, 9):
        images = torch.randn(size, 3, 4, 4, generator=draw)
        images[:2, 0, 0, 0] = 0.7
        (got,) = session.run(None, {session.get_inputs()[0].name: images.numpy()})
        with torch.no_grad():
            np.testing.assert_allclose(got, network(images).numpy(), atol=1e-5)


def test_a_number_of_rows_that_is_known_is_left_to_torch() -> None:
    layer = nn.BatchNorm2d(3).eval()
    with AnyRows():
        program = torch.export.export(
            layer, (torch.randn(2, 3, 4, 4),), dynamic_shapes=({0: torch.export.Dim("batch")},)
        )
    assert "batch_norm" in str(program.graph)
