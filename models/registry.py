"""The networks that greenbatch knows: a literal table, read without importing torch."""

from greenbatch.errors import UnknownNameError
from greenbatch.models.spec import InputSpec, ModelSpec

# Figures are torchvision's own (the weights' `meta` and `transforms()`); a test holds them to it.
_MODELS = (
    ModelSpec(
        name="alexnet",
        family="alexnet",
        year=2012,
        parameters=61_100_840,
        flops=0.714e9,
        top1=56.522,
        checkpoint="alexnet-owt-7be5be79.pth",
    ),
    ModelSpec(
        name="densenet121",
        family="densenet",
        year=2017,
        parameters=7_978_856,
        flops=2.834e9,
        top1=74.434,
        checkpoint="densenet121-a639ec97.pth",
    ),
    ModelSpec(
        name="shufflenet_v2_x0_5",
        family="shufflenet_v2",
        year=2018,
        parameters=1_366_792,
        flops=0.04e9,
        top1=60.552,
        checkpoint="shufflenetv2_x0.5-f707e7126e.pth",
    ),
    ModelSpec(
        name="vit_b_16",
        family="vit",
        year=2020,
        parameters=86_567_656,
        flops=17.564e9,
        top1=81.072,
        checkpoint="vit_b_16-c867db91.pth",
    ),
    ModelSpec(
        name="convnext_base",
        family="convnext",
        year=2022,
        parameters=88_591_464,
        flops=15.355e9,
        top1=84.062,
        checkpoint="convnext_base-6075fbad.pth",
        input=InputSpec(resize=232),
    ),
)

STUDY = ("alexnet", "densenet121", "shufflenet_v2_x0_5", "vit_b_16", "convnext_base")
"""The study models: ten years of image classification, oldest first."""


def names() -> tuple[str, ...]:
    """Return the names of all models, oldest first."""
    return tuple(spec.name for spec in _MODELS)


def find(name: str) -> ModelSpec:
    """Return the spec of a model.

    Raises:
        UnknownNameError: No model has this name; the message gives the nearest one.
    """
    for spec in _MODELS:
        if spec.name == name:
            return spec
    raise UnknownNameError("model", name, names())
