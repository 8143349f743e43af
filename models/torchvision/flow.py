"""RAFT for two images: the last flow alone."""

from typing import TYPE_CHECKING

from torch import nn
from torchvision.models.optical_flow._utils import make_coords_grid, upsample_flow

if TYPE_CHECKING:
    import torch
    from torchvision.models.optical_flow import RAFT
    from torchvision.models.optical_flow.raft import CorrBlock, UpdateBlock

UPDATES = 12
"""Number of updates of the flow, torchvision's default."""


class LastFlow(nn.Module):
    """RAFT as a function of two images, for a batch of any size.

    torchvision's own returns the flow after each update at full size, and splits the features of
    both images in a way that `torch.export` can follow for one batch size alone. This module has
    its children, so the names of the tensors are torchvision's own.

    Args:
        network: Of torchvision, in evaluation mode.
    """

    context_encoder: "nn.Module"
    corr_block: "CorrBlock"
    feature_encoder: "nn.Module"
    mask_predictor: "nn.Module | None"
    update_block: "UpdateBlock"

    def __init__(self, network: "RAFT") -> None:
        super().__init__()
        for name, child in network.named_children():
            self.add_module(name, child)
        if network.mask_predictor is None:
            self.mask_predictor = None

    def forward(self, image1: "torch.Tensor", image2: "torch.Tensor") -> "torch.Tensor":
        """Return the flow (N, 2, H, W) in pixels from ``image1`` to ``image2``.

        Args:
            image1: (N, 3, H, W) in -1..1; H and W are multiples of 8, at least 128.
            image2: Likewise.

        Source: ``RAFT.forward`` in torchvision's ``models/optical_flow/raft.py``.
        """
        import torch
        from torch.nn import functional

        images, _, height, width = image1.shape
        features = self.feature_encoder(torch.cat([image1, image2]))
        self.corr_block.build_pyramid(features[:images], features[images:])
        context = self.context_encoder(image1)
        size = self.update_block.hidden_state_size
        hidden, context = torch.tanh(context[:, :size]), functional.relu(context[:, size:])
        start = make_coords_grid(images, height // 8, width // 8, str(image1.device))
        start = start.to(features.dtype)
        place = start
        for _ in range(UPDATES):
            found = self.corr_block.index_pyramid(centroids_coords=place)
            hidden, change = self.update_block(hidden, context, found, place - start)
            place = place + change
        mask = None if self.mask_predictor is None else self.mask_predictor(hidden)
        flow: torch.Tensor = upsample_flow(flow=place - start, up_mask=mask)
        return flow
