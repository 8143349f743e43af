"""The networks that can be trained, found by name without importing torch.

dense, dense-linear, simple-cnn
                    those of Yarally et al., by layers
nasnet-mobile       NASNet-A (4 @ 1056), from timm's parts
NAME                a classifier of torchvision
timm:NAME           a classifier of timm
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from greenbatch.errors import UnknownNameError
from greenbatch.models import registry
from greenbatch.records.training import TIMM
from greenbatch.runners.training.design.settings import Setting

LINEAR_LAYERS = Setting(
    name="linear_layers",
    default="3",
    about="fully connected layers, the last one included",
    low=1,
    high=64,
    whole=True,
)
CONV_LAYERS = Setting(
    name="conv_layers", default="2", about="convolutions", low=0, high=8, whole=True
)
WIDTH = Setting(
    name="width",
    default="halving",
    about="outputs of each hidden linear layer; halving, linear: from an image's values down, by "
    "halves or in equal steps",
    choices=("halving", "linear"),
    low=1,
    whole=True,
)
DENSE_RELU = Setting(
    name="relu", default="0", about="1: a ReLU behind each hidden layer", choices=("0", "1")
)
CONV_RELU = Setting(
    name="relu", default="1", about="1: a ReLU behind each convolution", choices=("0", "1")
)
DROPOUT = Setting(
    name="dropout",
    default="0",
    about="behind each hidden linear layer",
    low=0,
    high=1,
    below_high=True,
)
OWN_DROPOUT = Setting(
    name="dropout",
    default="own",
    about="where the network has dropout already, else before its last layer",
    choices=("own",),
    low=0,
    high=1,
    below_high=True,
)
HEAD = Setting(
    name="head",
    default="own",
    about="own: as published; delrey: mean over the image, then the layers of del Rey et al.",
    choices=("own", "delrey"),
)

DELREY_HEADS: Mapping[str, tuple[int, ...]] = {
    "mobilenet_v2": (512,),
    "timm:mobilenetv2_050": (512,),
    "nasnet-mobile": (512,),
    "timm:legacy_xception": (1024,),
    "resnet50": (1024, 512),
    "vgg16": (),
}
"""Widths of the hidden layers of ``head: delrey`` (GAISSA-UPC/seaa2023_ect, train_model.py)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network that can be trained.

    Attributes:
        name: By which it is found.
        about: What it is, in a sentence.
        source: The library that its layers come from: ``greenbatch``, ``torchvision``, ``timm``.
        settings: What can be set of it, beside the hyperparameters of every training.
    """

    name: str
    about: str
    source: str
    settings: tuple[Setting, ...] = ()


_OWN = {
    network.name: network
    for network in (
        Network(
            name="dense",
            about="Fully connected layers, each of half the width; without an activation unless "
            "relu is 1 (DensePolyNN of Yarally et al.; width: linear is their DenseLinearNN)",
            source="greenbatch",
            settings=(LINEAR_LAYERS, WIDTH, DENSE_RELU, DROPOUT),
        ),
        Network(
            name="dense-linear",
            about="Fully connected layers whose widths fall in equal steps (DenseLinearNN of "
            "Yarally et al.)",
            source="greenbatch",
            settings=(LINEAR_LAYERS, replace(WIDTH, default="linear"), DENSE_RELU, DROPOUT),
        ),
        Network(
            name="simple-cnn",
            about="Convolutions 3x3, each with batch normalisation and pooling, then fully "
            "connected layers (SimpleCNN of Yarally et al.)",
            source="greenbatch",
            settings=(CONV_LAYERS, LINEAR_LAYERS, WIDTH, CONV_RELU, DROPOUT),
        ),
        Network(
            name="nasnet-mobile",
            about="NASNet-A (4 @ 1056): timm's NASNet-A with four cells in a stack, not six",
            source="timm",
            settings=(OWN_DROPOUT, HEAD),
        ),
    )
}


def names() -> tuple[str, ...]:
    """Return the names of all networks but timm's, which are found as ``timm:NAME``."""
    return (*_OWN, *registry.names())


def find(name: str) -> Network:
    """Return what is known of a network.

    A name of timm's is taken as it is: whether timm has it shows when it is built.

    Raises:
        UnknownNameError: There is no such network; the message gives the nearest one.
    """
    if own := _OWN.get(name):
        return own
    head = (HEAD,) if name in DELREY_HEADS else ()
    if name.startswith(TIMM) and len(name) > len(TIMM):
        about = f"{name.removeprefix(TIMM)} of timm"
        return Network(name=name, about=about, source="timm", settings=(OWN_DROPOUT, *head))
    if name not in registry.names():
        raise UnknownNameError("network", name, names())
    spec = registry.find(name)
    about = f"{name} of torchvision ({spec.family}, {spec.year})"
    return Network(name=name, about=about, source="torchvision", settings=(OWN_DROPOUT, *head))
