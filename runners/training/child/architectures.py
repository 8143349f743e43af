"""From a network's name and settings to a torch module."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from greenbatch.design.training_options import RANDOM
from greenbatch.errors import UnknownNameError, UnsupportedCell, UsageError
from greenbatch.records.training import TIMM
from greenbatch.runners.training.child import pretrained
from greenbatch.runners.training.child.stages import last_layer
from greenbatch.runners.training.design import networks
from greenbatch.runners.training.design.networks import Network

_Settings = Mapping[str, str]
_Shape = tuple[int, int, int]

_RGB = 3
_NASNET = "nasnet-mobile"
# NASNet-A (N @ F), Zoph et al., 2018: N cells in a stack, F values at the end. timm has 6 @ 4032.
_NASNET_ARGUMENTS = {"stem_size": 32, "channel_multiplier": 2, "num_features": 1056}
_NASNET_LEFT_OUT = (4, 5, 10, 11, 16, 17)  # the last two of each stack
_INCEPTION = {"aux_logits": False, "init_weights": True}


def build(
    network: Network,
    settings: _Settings,
    shape: _Shape,
    classes: int,
    seed: int,
    weights: str = RANDOM,
) -> nn.Module:
    """Build a network, see `greenbatch.runners.training.child.building.build`."""
    for setting in network.settings:
        setting.text(settings)
    make = _BUILDERS.get(network.name, _published)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(seed)
        try:
            module = make(network, settings, shape, classes, weights)
            _outputs(module, shape)
        except (RuntimeError, AssertionError, ValueError) as error:  # all three for a wrong size
            cause = (str(error).strip().splitlines() or ["it is too small"])[0].rstrip(".")
            raise UnsupportedCell(
                f"{network.name} cannot take images of {'x'.join(map(str, shape))} ({cause}); "
                "give another image_size"
            ) from error
    return module.train()


def hidden_widths(shape: _Shape, classes: int, layers: int, width: str) -> list[int]:
    """Return the outputs of the hidden ones of a number of linear layers.

    ``halving`` and ``linear`` are those of DensePolyNN and DenseLinearNN (yarally/green-ai,
    part1): the values of an image, C x H x W, divided by 2, 4, 8, ..., or less 1/n, 2/n, ... of
    them. There, none is narrower than C; here, none is narrower than the classes either, for else
    seven layers on small images let a single value through.
    """
    values = shape[0] * shape[1] * shape[2]
    floor = max(shape[0], classes)
    steps = range(1, layers)
    if width == "halving":
        return [max(values // 2**step, floor) for step in steps]
    if width == "linear":
        return [max(values * (layers - step) // layers, floor) for step in steps]
    return [int(float(width)) for _ in steps]


def _dense(
    network: Network, settings: _Settings, shape: _Shape, classes: int, weights: str
) -> nn.Module:
    values = shape[0] * shape[1] * shape[2]
    relu = networks.DENSE_RELU.text(settings) == "1"
    layers = _linear_layers(settings, shape, classes, values, relu)
    return _begun(nn.Sequential(nn.Flatten(), *layers), network, weights)


def _dense_linear(
    network: Network, settings: _Settings, shape: _Shape, classes: int, weights: str
) -> nn.Module:
    return _dense(network, {"width": "linear", **settings}, shape, classes, weights)


def _simple_cnn(
    network: Network, settings: _Settings, shape: _Shape, classes: int, weights: str
) -> nn.Module:
    channels, height, width = shape
    relu = networks.CONV_RELU.text(settings) == "1"
    layers: list[nn.Module] = []
    for depth in range(networks.CONV_LAYERS.count(settings)):
        filters = shape[0] * 3 ** (depth + 1)
        layers += [nn.Conv2d(channels, filters, 3, padding=1), nn.BatchNorm2d(filters)]
        if relu:
            layers.append(nn.ReLU())
        if min(height, width) > 1:  # the fourth convolution on 8x8 has nothing left to pool
            layers.append(nn.MaxPool2d(2))
            height, width = height // 2, width // 2
        channels = filters
    values = channels * height * width
    layers += [nn.Flatten(), *_linear_layers(settings, shape, classes, values, relu=False)]
    return _begun(nn.Sequential(*layers), network, weights)


def _begun(module: nn.Module, network: Network, weights: str) -> nn.Module:
    """Give a whole network its weights; its last layer keeps its own where there is no other."""
    pretrained.load(module, network.name, weights, but_last=last_layer(module))
    return module


def _linear_layers(
    settings: _Settings, shape: _Shape, classes: int, inputs: int, relu: bool
) -> list[nn.Module]:
    count, width = networks.LINEAR_LAYERS.count(settings), networks.WIDTH.text(settings)
    dropout = networks.DROPOUT.number(settings)
    layers: list[nn.Module] = []
    for outputs in hidden_widths(shape, classes, count, width):
        layers.append(nn.Linear(inputs, outputs))
        if relu:
            layers.append(nn.ReLU())
        if dropout:
            layers.append(nn.Dropout(dropout))
        inputs = outputs
    return [*layers, nn.Linear(inputs, classes)]


def _published(
    network: Network, settings: _Settings, shape: _Shape, classes: int, weights: str
) -> nn.Module:
    if shape[0] not in (1, _RGB):
        raise UnsupportedCell(
            f"{network.name} takes images of 1 or 3 channels, not of {shape[0]}; train simple-cnn"
        )
    make = _timm if network.source == "timm" else _torchvision
    dropout = networks.OWN_DROPOUT.text(settings)
    if networks.HEAD.text(settings) == "delrey":
        body = make(network.name, (_RGB, *shape[1:]), 0)
        pretrained.load(body, network.name, weights, but_last=None)
        inputs, head = _outputs(body, (_RGB, *shape[1:])), []
        for outputs in networks.DELREY_HEADS[network.name]:
            head += [nn.Linear(inputs, outputs), nn.ReLU()]
            inputs = outputs
        module: nn.Module = nn.Sequential(body, *head, nn.Linear(inputs, classes))
    else:
        module = _begun(make(network.name, (_RGB, *shape[1:]), classes), network, weights)
    if dropout != "own":
        _drop_out(module, float(dropout))
    return nn.Sequential(_Repeated(), module) if shape[0] == 1 else module


def _torchvision(name: str, shape: _Shape, classes: int) -> nn.Module:
    """Build a network; for no classes, what gives the mean of its features over the image."""
    from torchvision import models

    arguments: Mapping[str, object] = {}
    if name in ("googlenet", "inception_v3"):  # their second and third heads are left out
        arguments = _INCEPTION
    elif name.startswith("vit_"):
        arguments = {"image_size": shape[1]}
    elif name.startswith("maxvit_"):
        arguments = {"input_size": shape[1:]}
    known = models.list_models(module=models)
    if name not in known:
        raise UnknownNameError("torchvision network", name, known)
    module: nn.Module = models.get_model(name, weights=None, num_classes=classes or 1, **arguments)
    if not classes:
        last = "fc" if name == "resnet50" else "classifier"
        setattr(module, last, nn.Identity())
        if name == "vgg16":
            module.avgpool = nn.AdaptiveAvgPool2d(1)
    return module


def _timm(name: str, shape: _Shape, classes: int) -> nn.Module:
    """Build a network; for no classes, what gives the mean of its features over the image."""
    try:
        timm: Any = importlib.import_module("timm")
    except ImportError as error:
        raise UsageError(
            f"{name} needs the package timm; install it with: pip install 'greenbatch[timm]'"
        ) from error
    short = "nasnetalarge" if name == _NASNET else name.removeprefix(TIMM)
    if not timm.is_model(short):
        raise UnknownNameError("timm network", short, timm.list_models())
    arguments = _NASNET_ARGUMENTS if name == _NASNET else {}
    module: nn.Module = timm.create_model(short, num_classes=classes, **arguments)
    if name == _NASNET:
        for cell in _NASNET_LEFT_OUT:
            setattr(module, f"cell_{cell}", _PassedOn())
    return module


def _drop_out(module: nn.Module, share: float) -> None:
    own = [part for part in module.modules() if isinstance(part, nn.Dropout) and part.p > 0]
    for part in own:
        part.p = share
    if not own:
        last = [name for name, part in module.named_modules() if isinstance(part, nn.Linear)][-1]
        parent, _, child = last.rpartition(".")
        linear = module.get_submodule(last)
        setattr(module.get_submodule(parent), child, nn.Sequential(nn.Dropout(share), linear))


def _outputs(module: nn.Module, shape: _Shape) -> int:
    """Count the values that a network makes of an image."""
    with torch.no_grad():
        outputs: torch.Tensor = module.eval()(torch.zeros(1, *shape))
    return outputs.shape[1]


class _Repeated(nn.Module):
    """Gives the one channel of images to each of three."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.expand(-1, _RGB, -1, -1)


class _PassedOn(nn.Module):
    """Stands where a cell is left out.

    A cell gets the outputs of the two before it. The first of two of these gives the earlier one
    on, the second the later one: what follows gets what it would get without the two.
    """

    def forward(self, _: torch.Tensor, earlier: torch.Tensor) -> torch.Tensor:
        return earlier


_BUILDERS: dict[str, Callable[[Network, _Settings, _Shape, int, str], nn.Module]] = {
    "dense": _dense,
    "dense-linear": _dense_linear,
    "simple-cnn": _simple_cnn,
}
