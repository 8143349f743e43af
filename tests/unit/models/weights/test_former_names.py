"""A file with the names of former torchvisions loads as torchvision itself loads it."""

import re
from pathlib import Path

import pytest
import torch

from greenbatch.models import find
from greenbatch.models.build import build
from greenbatch.models.torchvision.construct import torchvision_module
from greenbatch.models.weights.former_names import called_now
from greenbatch.models.weights.load import load_weights


def as_called_then(name: str) -> str:
    """Return what published files of 2019 to 2021 call a tensor."""
    for now, then in (
        (r"^(rpn\.head\.conv)\.0\.0\.", r"\1."),
        (r"((?:inner|layer)_blocks\.\d+)\.0\.", r"\1."),
    ):
        name = re.sub(now, then, name)
    name = re.sub(r"mask_head\.(\d)\.0\.", lambda m: f"mask_head.mask_fcn{int(m[1]) + 1}.", name)
    return re.sub(r"(_head\.conv)\.(\d)\.0\.", lambda m: f"{m[1]}.{2 * int(m[2])}.", name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["maskrcnn_resnet50_fpn", "retinanet_resnet50_fpn"])
def test_a_former_file_gives_the_weights_that_torchvision_gives_its_own(
    name: str, tmp_path: Path
) -> None:
    spec = find(name)
    torchvisions = torchvision_module(spec)
    state = {
        as_called_then(key): torch.randn(value.shape)
        for key, value in torchvisions.state_dict().items()
    }
    assert set(state) != set(torchvisions.state_dict())
    state["backbone.body.bn1.num_batches_tracked"] = torch.tensor(7)
    torch.save(state, tmp_path / "former.pth")
    torchvisions.load_state_dict(state)
    ours = build(spec)
    load_weights(ours, spec, str(tmp_path / "former.pth"))
    for key, value in torchvisions.state_dict().items():
        assert torch.equal(ours.state_dict()[key], value), key


def test_names_of_today_stay() -> None:
    for name in ("backbone.body.layer1.0.conv1.weight", "classifier.4.bias", "head.conv1.weight"):
        assert called_now(name) == name
