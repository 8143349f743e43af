"""Random weights that infer like trained ones.

What a library starts training from is unfit for measuring and for comparing runtimes: a zero
head makes all logits 0, a LayerScale of 1e-6 switches blocks off, and a deep network whose
normalisation statistics were never gathered fades (logits of efficientnet_b0 spread by 1e-14).
A comparison of such outputs compares nothing, and in half precision they underflow.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from greenbatch.models.inputs import synthetic_inputs
from greenbatch.models.spec import ModelSpec

if TYPE_CHECKING:
    import torch
    from torch import nn
    from torch.nn.modules.batchnorm import _BatchNorm
    from torchvision.ops import FrozenBatchNorm2d

    Layer = nn.Linear | nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d


SCHEME = 2
"""Number of the way in which weights are drawn; a change of the way changes it."""

_IMAGES = 8
_IMAGES_NORMALISED = 32  # statistics of fewer images do not hold for others
_SIDE_NORMALISED = 224  # a larger image gives more values, and takes more memory
_LARGE_SIDE = 640  # images from here on, and clips, take so much that half of `_IMAGES` must do
_FROZEN_VARIANCE = 1e-5  # least of a frozen normalisation, whose epsilon may be 0
_EMBEDDING_STD = 0.02  # of tokens, positions and their biases: as ViT and Swin begin with
# Mean and deviation of biases before rectifiers and gates. A bias of the order of the signal keeps
# a good part of the activations linear; around 0 each would enlarge the differences between
# images, and rounding errors with them, from layer to layer.
_BIAS = (1.0, 0.5)
_ROUNDING = 1e-5  # of a sum in float32, over its size
_GATE_STD = 0.25  # what a squeezed image decides: gates that swing fully multiply with depth


def draw_weights(module: "nn.Module", spec: ModelSpec, seed: int) -> None:
    """Draw all weights of ``module`` so that its logits vary between images with a spread near 1.

    1. Every parameter is drawn anew (`_draw`), from a generator of its own: the result depends
       on ``seed`` alone and the global random state stays as it was.
    2. In one pass over seeded images each layer with a bias is levelled as it is reached: its
       values are changed so that the output has mean 0 in each channel (convolutions of a network
       without normalisations: means near 1) and standard deviation 1 (data-dependent
       initialisation, Salimans & Kingma 2016, eq. 5, with one scale for a layer as in Mishkin &
       Matas 2016, algorithm 1). Batch normalisations take their statistics in the same pass, each
       from what the settled layers before it put out. Passes in training mode would average
       statistics of small batches; those hold for no other image, and the excess multiplies from
       layer to layer (a factor of 80 in mobilenet_v3_small).
    3. The last layer of a classifier is scaled so that the logits' spread between images is 1. The
       heads of a detector are set so that it finds about as much as a trained one, that of a
       network for optical flow so that the flow stays in the image, see
       `greenbatch.models.weights.heads`.

    The result is the same for one machine and version of torch; elsewhere sums may be rounded
    otherwise. ``module`` is left in evaluation mode.

    Args:
        module: Any network that maps the inputs of its spec to a tensor or a dict of tensors.
        spec: Says the inputs.
        seed: Not negative.
    """
    import torch
    from torch import nn
    from torch.nn.modules.batchnorm import _BatchNorm
    from torch.nn.modules.instancenorm import _InstanceNorm
    from torchvision.ops import FrozenBatchNorm2d

    from greenbatch.models.weights.heads import set_heads, silence

    generator = torch.Generator().manual_seed(seed)
    module.eval()
    frozen = [norm for norm in module.modules() if isinstance(norm, FrozenBatchNorm2d)]
    normalisations = (_BatchNorm, _InstanceNorm, FrozenBatchNorm2d, nn.LayerNorm, nn.GroupNorm)
    bare = not any(isinstance(part, normalisations) for part in module.modules())
    with torch.no_grad():
        for owner in module.modules():
            for name, parameter in owner.named_parameters(recurse=False):
                _draw(owner, name, parameter, generator, bare)
        for fixed in frozen:
            fixed.weight.uniform_(0.5, 1.5, generator=generator)
            fixed.bias.normal_(*_BIAS, generator=generator)
        norms = [n for n in module.modules() if isinstance(n, _BatchNorm) and n.track_running_stats]
        for norm in norms:
            norm.reset_running_stats()  # what the pass does not reach stays neutral
        layers = [m for m in module.modules() if isinstance(m, _weighted())]
        inputs = synthetic_inputs(spec, _count(spec, bool(norms or frozen)), seed)
        silence(module)
        tensors = list(map(torch.from_numpy, inputs.values()))
        _settle(module, layers, [*norms, *frozen], tensors)
        set_heads(module, tensors[0][: _IMAGES // 4])


def _weighted() -> "tuple[type[Layer], ...]":
    """Return the kinds of layers that are levelled."""
    from torch import nn

    return (nn.Linear, nn.Conv2d, nn.Conv3d, nn.ConvTranspose2d)


def _count(spec: ModelSpec, normalised: bool) -> int:
    """Return how many images the layers are levelled on."""
    side = max(spec.input.height, spec.input.width)
    if side >= _LARGE_SIDE or spec.input.frames:
        return _IMAGES // 2
    if not normalised:
        return _IMAGES
    return max(_IMAGES, round(_IMAGES_NORMALISED / max(1.0, side / _SIDE_NORMALISED)))


def _draw(
    owner: "nn.Module",
    name: str,
    parameter: "torch.Tensor",
    generator: "torch.Generator",
    bare: bool,
) -> None:
    """Draw one parameter by the part that it plays in its layer.

    Args:
        owner: The layer.
        name: Of the parameter in it.
        parameter: Is drawn in place.
        generator: Where from.
        bare: The network has no normalisations: its convolutions do what they do elsewhere.
    """
    from torch import nn
    from torch.nn.modules.batchnorm import _BatchNorm

    if isinstance(owner, (_BatchNorm, nn.LayerNorm, nn.GroupNorm)):
        if name == "weight":
            parameter.uniform_(0.5, 1.5, generator=generator)
        elif isinstance(owner, _BatchNorm):
            parameter.normal_(*_BIAS, generator=generator)
        else:
            parameter.normal_(0, 0.1, generator=generator)
    elif "scale" in name or "gamma" in name:
        # A factor on a residual branch (LayerScale, Touvron et al. 2021): it begins near 0 and
        # grows in training.
        parameter.uniform_(0.1, 0.5, generator=generator)
    elif "bias" in name and parameter.ndim == 1:
        if bare and isinstance(owner, (nn.Conv2d, nn.Conv3d)):
            parameter.normal_(*_BIAS, generator=generator)
        else:
            parameter.zero_()
    elif isinstance(owner, (*_weighted(), nn.MultiheadAttention)) and parameter.ndim >= 2:
        deviation = parameter[0].numel() ** -0.5  # of fan-in values: keeps the variance
        if parameter.ndim < 4:
            parameter.normal_(0, deviation, generator=generator)
        else:
            # Half of a kernel's variance is its mean, as trained kernels are smooth: white ones
            # would keep of a smooth image little but its rounding errors.
            deviation *= 2**-0.5
            means = parameter.new_empty(*parameter.shape[:2], *[1] * (parameter.ndim - 2))
            parameter.normal_(0, deviation, generator=generator)
            parameter.add_(means.normal_(0, deviation, generator=generator))
    else:
        parameter.normal_(0, _EMBEDDING_STD, generator=generator)


def _settle(
    module: "nn.Module",
    layers: "Sequence[Layer]",
    norms: "Sequence[_BatchNorm | FrozenBatchNorm2d]",
    inputs: "Sequence[torch.Tensor]",
) -> None:
    """Pass ``inputs`` through ``module`` and adjust each layer and norm as it is reached."""
    import torch

    reached: list[nn.Module] = []  # what is used twice is adjusted for its first use
    passed: list[Layer] = []

    def level(layer: "Layer", _: object, output: "torch.Tensor") -> "torch.Tensor | None":
        if layer in passed:
            return None
        passed.append(layer)
        # A layer without a bias stands before a normalisation, which levels its output, or last.
        return None if layer.bias is None else _level(layer, output)

    def gather(norm: "_BatchNorm | FrozenBatchNorm2d", inputs: "tuple[torch.Tensor, ...]") -> None:
        if norm not in reached and norm.running_mean is not None and norm.running_var is not None:
            reached.append(norm)
            axes = [axis for axis in range(inputs[0].ndim) if axis != 1]
            variance, mean = torch.var_mean(inputs[0], axes)
            norm.running_mean.copy_(mean)
            least = 0.0 if hasattr(norm, "track_running_stats") else _FROZEN_VARIANCE
            norm.running_var.copy_(variance.clamp(min=least))

    handles = [layer.register_forward_hook(level) for layer in layers]
    handles += [norm.register_forward_pre_hook(gather) for norm in norms]
    try:
        outputs = module(*inputs)  # of the adjusted network
    finally:
        for handle in handles:
            handle.remove()
    if passed and isinstance(outputs, torch.Tensor) and outputs.ndim == 2:
        _scale_head(passed[-1], outputs)


def _level(layer: "Layer", output: "torch.Tensor") -> "torch.Tensor | None":
    """Change a layer so that its output has its biases as channel means and standard deviation 1.

    Args:
        layer: Has just put out ``output``.
        output: (N, ..., channels) of a linear layer, (N, channels, ...) of a convolution.

    Returns:
        What the changed layer would have put out, or ``None`` where it cannot be levelled.
    """
    from torch import nn

    convolution = not isinstance(layer, nn.Linear)
    channel = 1 if convolution else output.ndim - 1
    mean = output.mean([axis for axis in range(output.ndim) if axis != channel])
    shape = [-1 if axis == channel else 1 for axis in range(output.ndim)]
    centred = output - mean.view(shape)
    deviation = float(centred.std())
    # The same for all images, as of a class token that has met none: what is left is rounding.
    if not deviation > _ROUNDING * float(output.square().mean().sqrt()):
        return None
    if convolution and set(output.shape[2:]) == {1}:
        deviation /= _GATE_STD
    layer.weight.div_(deviation)
    assert layer.bias is not None
    wanted = layer.bias.clone()
    layer.bias.sub_(mean).div_(deviation).add_(wanted)
    return centred.div_(deviation).add_(wanted.view(shape))


def _scale_head(head: "Layer", logits: "torch.Tensor") -> None:
    """Bring the logits' spread between images to 1, also where pooling follows the last layer.

    Where a rectifier follows too (squeezenet), a class whose values vary more has the larger mean
    and comes first for every image: there all classes are brought to the same mean.
    """
    scale = logits.new_ones(len(head.weight))
    means = logits.mean(0)
    if means.shape == scale.shape and logits.min() >= 0 and means.min() > 0:
        scale /= means  # a rectifier lets a positive factor through
        logits = logits / means
    spread = float((logits - logits.mean(0)).std())
    if spread > 0:
        scale /= spread
        head.weight.mul_(scale.view(-1, *[1] * (head.weight.ndim - 1)))
        if head.bias is not None:
            head.bias.mul_(scale)
