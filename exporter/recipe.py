"""What an artifact is made from, as two hashes: the same recipe need not be exported again."""

import hashlib
import json
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Self

from greenbatch.models import InputSpec, ModelSpec
from greenbatch.models.artifacts import sha256
from greenbatch.models.weights.checkpoints import cached_checkpoint
from greenbatch.models.weights.load import Weights
from greenbatch.models.weights.random_weights import SCHEME

EXPORTER = 5
"""Number of the way in which artifacts are made; a change of the way changes it."""

RECIPE_SCHEMA = 2
"""Schema of the manifest that a recipe asks for: a later one that only adds what was not known
before leaves artifacts as they are."""

OPSET = 20
"""The operator set of all artifacts.

torch 2.9 and later can write it (2.15 does by default, so nothing is converted afterwards), ONNX
Runtime 1.24 and later run it on CPU and CUDA, and it is the first that has Gelu as one node:
below it each activation of vit and convnext is a chain of five.
"""

_DIGITS = 32  # of each of the two hashes
_MAKERS = ("torch", "torchvision", "onnx", "onnxscript", "onnx-ir")
_CHECKERS = (("onnxruntime-gpu", "onnxruntime"),)


def versions() -> dict[str, str]:
    """Return the versions of the software that makes and checks artifacts, importing none of it."""
    found = {"python": platform.python_version()}
    for names in (("greenbatch",), *((maker,) for maker in _MAKERS), *_CHECKERS):
        for name in names:
            try:
                found[names[-1]] = version(name)
            except PackageNotFoundError:
                continue
            break
    return found


@dataclass(frozen=True, slots=True)
class Recipe:
    """All that an artifact is made from.

    Attributes:
        base: The hash of what the program decides.
        choice: The hash of what a user chose, as weights or a calibration.
    """

    base: str
    choice: str

    @classmethod
    def of(cls, base: object, choice: object) -> Self:
        """Hash what goes in; it is written as JSON."""
        return cls(_hash(base), _hash(choice))

    def __str__(self) -> str:
        """Return what a manifest holds: both hashes."""
        return self.base + self.choice

    def made(self, stated: str, *, exactly: bool = True) -> bool:
        """Whether a manifest's recipe is this one; not exactly: whatever the user chose."""
        return stated == str(self) or (not exactly and stated.startswith(self.base))


def _hash(ingredients: object) -> str:
    text = json.dumps(ingredients, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def recipe(spec: ModelSpec, precision: str, weights: str) -> Recipe:
    """Return everything that an artifact of a model is made from.

    Args:
        spec: The network and its input.
        precision: Of the artifact.
        weights: What the weights are, see `identities`.
    """
    makers = {name: text for name, text in versions().items() if name in _MAKERS}
    ingredients = {
        "exporter": EXPORTER,
        "schema": RECIPE_SCHEMA,
        "opset": OPSET,
        "model": [spec.source, spec.name, _input(spec.input)],
        "precision": precision,
        "versions": makers,
    }
    return Recipe.of(ingredients, weights)


def _input(input_spec: InputSpec) -> dict[str, object]:
    """Return an input's members; those that came later and are as before are left out."""
    members = asdict(input_spec)
    later = {"layout": InputSpec().layout, "others": ()}
    return {key: value for key, value in members.items() if later.get(key, ...) != value}


def identities(spec: ModelSpec, weights: Weights, seed: int) -> dict[str, str]:
    """Say what the weights may be that a choice leads to, by their kind.

    ``auto`` is content with published weights, even when their file has been deleted since.
    With random ones it is content as long as torch has no published file: whether one can be
    fetched by now is not tried again, for that would cost seconds each time; ``force`` tries it.

    Returns:
        Identities by kind: one for a definite choice, one or two for ``auto``. The seed is part
        of the random ones only, for nothing else in an artifact depends on it.
    """
    if weights.kind == "file":
        assert weights.path is not None
        return {"file": f"file {sha256(weights.path)}"}
    pretrained = {"pretrained": f"pretrained {spec.weights} {spec.checkpoint}"}
    random = {"random": f"random scheme {SCHEME} seed {seed}"}
    if weights.kind == "pretrained":
        return pretrained
    if weights.kind == "random":
        return random
    return pretrained if cached_checkpoint(spec) else pretrained | random
