"""From a spec to a torch module."""

from typing import TYPE_CHECKING, Any

from greenbatch.errors import GreenbatchError, UnknownNameError
from greenbatch.models.spec import ModelSpec

if TYPE_CHECKING:
    from torch import nn

# As torchvision builds them for published weights, without the heads that only training uses:
# what infers is the same for random weights. (Their own drawing takes seconds and is replaced.)
_INCEPTION = {"aux_logits": False, "transform_input": True, "init_weights": False}
_ARGUMENTS: dict[str, dict[str, Any]] = {"googlenet": _INCEPTION, "inception_v3": _INCEPTION}


def build(spec: ModelSpec) -> "nn.Module":
    """Build a network in evaluation mode, with the values that torchvision starts training from.

    Those values do not infer like a trained network, see `greenbatch.models.weights.load`. The
    global random state is left as it was.

    Raises:
        UnknownNameError: The installed torchvision has no network of this name.
        GreenbatchError: The network has not the parameters that its spec states.
    """
    import torch
    from torchvision import models

    known = models.list_models(module=models)
    if spec.name not in known:
        raise UnknownNameError(f"{spec.source} network", spec.name, known)
    with torch.random.fork_rng(devices=()):
        module: nn.Module = models.get_model(
            spec.name, weights=None, **_ARGUMENTS.get(spec.name, {})
        )
    parameters = sum(parameter.numel() for parameter in module.parameters())
    if parameters != spec.parameters:
        raise GreenbatchError(
            f"{spec.source} built a {spec.name} of {parameters:,} parameters instead of "
            f"{spec.parameters:,}; install the version of {spec.source} in constraints.txt"
        )
    return module.eval()
