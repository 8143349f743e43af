"""From a spec to torchvision's module, as torchvision builds it for published weights."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from greenbatch.errors import UnknownNameError
from greenbatch.models.spec import ModelSpec

if TYPE_CHECKING:
    from torch import nn

# Without the heads that only training uses: what infers is the same for random weights. (Their own
# drawing takes seconds and is replaced.)
_INCEPTION = {"aux_logits": False, "transform_input": True, "init_weights": False}
_ARGUMENTS: Mapping[str, Mapping[str, bool]] = {
    "googlenet": _INCEPTION,
    "inception_v3": _INCEPTION,
    "quantized_googlenet": {"aux_logits": False, "transform_input": True},
    "quantized_inception_v3": {"aux_logits": False, "transform_input": True},
    **{
        f"{head}_{trunk}": {"aux_loss": True}
        for head in ("fcn", "deeplabv3")
        for trunk in ("resnet50", "resnet101", "mobilenet_v3_large")
    },
}
# What torchvision adds to the trunks of detectors that begin with trained weights: batch
# normalisations that never learn, of the oldest ones with an epsilon of 0.
_FROZEN_EPSILON = {
    "fasterrcnn_mobilenet_v3_large_320_fpn": 1e-5,
    "fasterrcnn_mobilenet_v3_large_fpn": 1e-5,
    "fasterrcnn_resnet50_fpn": 0.0,
    "fcos_resnet50_fpn": 1e-5,
    "keypointrcnn_resnet50_fpn": 0.0,
    "maskrcnn_resnet50_fpn": 0.0,
    "retinanet_resnet50_fpn": 0.0,
}


def torchvision_module(spec: ModelSpec) -> "nn.Module":
    """Build a network with torchvision's own interface; its weights are those of a fresh one.

    Raises:
        UnknownNameError: The installed torchvision has no network of this name.
    """
    from torchvision import models

    known = models.list_models()
    if spec.name not in known:
        raise UnknownNameError(f"{spec.source} network", spec.name, known)
    arguments: dict[str, bool | None] = dict(_ARGUMENTS.get(spec.name, {}))
    if spec.family in ("segmentation", "detection"):
        arguments["weights_backbone"] = None
    module: nn.Module = models.get_model(spec.name, weights=None, **arguments).eval()
    if spec.name in _FROZEN_EPSILON:
        _freeze(module, _FROZEN_EPSILON[spec.name])
    return module


def for_batches(module: "nn.Module", spec: ModelSpec) -> "nn.Module":
    """Return a network of `torchvision_module` as a function of dense batches of tensors.

    The names of its tensors stay torchvision's own.
    """
    if spec.family == "optical_flow":
        from greenbatch.models.torchvision.flow import LastFlow

        return LastFlow(module).eval()
    if spec.family == "detection":
        from greenbatch.models.torchvision.detection.one_stage import one_stage
        from greenbatch.models.torchvision.detection.two_stage import TwoStage

        return TwoStage(module).eval() if hasattr(module, "roi_heads") else one_stage(module)
    return module


def _freeze(module: "nn.Module", epsilon: float) -> None:
    """Replace batch normalisations by torchvision's frozen ones, in place."""
    from torch import nn
    from torchvision.ops import FrozenBatchNorm2d

    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, FrozenBatchNorm2d(child.num_features, eps=epsilon))
        else:
            _freeze(child, epsilon)
