"""RAFT for batches is torchvision's RAFT."""

import pytest
import torch

from greenbatch.models.torchvision.flow import LastFlow
from tests.thorough import needs_thorough


@pytest.mark.slow
@pytest.mark.parametrize("name", ["raft_small", "raft_large"])
def test_the_flow_is_the_last_of_torchvisions(name: str) -> None:
    from torchvision.models import get_model

    torch.manual_seed(0)
    network = get_model(name, weights=None).eval()
    first, second = torch.rand(2, 2, 3, 128, 136) * 2 - 1
    with torch.inference_mode():
        wanted = network(first, second)[-1]
        got = LastFlow(network).eval()(first, second)
    torch.testing.assert_close(got, wanted)
    assert got.shape == (2, 2, 128, 136)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The tensor attributes self.corr_block")
@needs_thorough
def test_its_batch_is_free_for_torch_export() -> None:
    from torchvision.models import get_model

    module = LastFlow(get_model("raft_small", weights=None)).eval()
    batch = {0: torch.export.Dim("batch")}
    images = torch.rand(2, 3, 128, 128)
    program = torch.export.export(module, (images, images), dynamic_shapes=(batch, batch))
    with torch.inference_mode():
        assert (
            program.module()(images[:1].repeat(3, 1, 1, 1), images[:1].repeat(3, 1, 1, 1)).shape[0]
            == 3
        )
