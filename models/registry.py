"""The networks that greenbatch knows, found by name without importing torch."""

from greenbatch.errors import UnknownNameError
from greenbatch.models.spec import ModelSpec
from greenbatch.models.torchvision_table import MODELS

STUDY = ("alexnet", "densenet121", "shufflenet_v2_x0_5", "vit_b_16", "convnext_base")
"""The study models: ten years of image classification, oldest first."""

_BY_NAME = {spec.name: spec for spec in MODELS}


def names() -> tuple[str, ...]:
    """Return the names of all models, by family, then by size."""
    return tuple(_BY_NAME)


def families() -> tuple[str, ...]:
    """Return the names of all families."""
    return tuple(dict.fromkeys(spec.family for spec in MODELS))


def find(name: str) -> ModelSpec:
    """Return the spec of a model.

    Raises:
        UnknownNameError: No model has this name; the message gives the nearest one.
    """
    try:
        return _BY_NAME[name]
    except KeyError:
        raise UnknownNameError("model", name, names()) from None
