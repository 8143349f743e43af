"""The networks that greenbatch knows, found by name without importing torch."""

from greenbatch.errors import UnknownNameError
from greenbatch.models.spec import ModelSpec
from greenbatch.models.torchvision.classifiers import MODELS
from greenbatch.models.torchvision.others import FURTHER

STUDY = ("alexnet", "densenet121", "shufflenet_v2_x0_5", "vit_b_16", "convnext_base")
"""The study models: ten years of image classification, oldest first."""

CLASSIFICATION = "classification"
"""What the classifiers of all families are called together."""

ALL = "all"
"""What the networks of all families are called together."""

_BY_NAME = {spec.name: spec for spec in (*MODELS, *FURTHER)}


def names(family: str = CLASSIFICATION) -> tuple[str, ...]:
    """Return the names of the models of a family, or of several, by family, then by size.

    Args:
        family: One of `families`, `CLASSIFICATION` or `ALL`.

    Raises:
        UnknownNameError: There is no such family.
    """
    if family == ALL:
        return tuple(_BY_NAME)
    if family == CLASSIFICATION:
        return tuple(spec.name for spec in MODELS)
    if family not in families(ALL):
        raise UnknownNameError("family", family, (ALL, CLASSIFICATION, *families(ALL)))
    return tuple(name for name, spec in _BY_NAME.items() if spec.family == family)


def families(of: str = CLASSIFICATION) -> tuple[str, ...]:
    """Return the names of the families of the classifiers, or of all networks."""
    return tuple(dict.fromkeys(_BY_NAME[name].family for name in names(of)))


def find(name: str) -> ModelSpec:
    """Return the spec of a model of any family.

    Raises:
        UnknownNameError: No model has this name; the message gives the nearest one.
    """
    try:
        return _BY_NAME[name]
    except KeyError:
        raise UnknownNameError("model", name, names(ALL)) from None
