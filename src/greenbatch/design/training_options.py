"""Parts of the design of a training run that have members of their own."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from greenbatch.design.field_types import NetworkName, PathText, as_text

RANDOM = "random"
OPTIMIZING = ("optimizer", "learning_rate", "weight_decay", "momentum", "beta2", "epsilon")
"""The hyperparameters that make an optimiser."""
Augmented = Literal["flip", "brightness", "contrast", "saturation", "hue"]


def _as_texts(settings: object) -> object:
    if not isinstance(settings, Mapping):
        return settings
    return {key: as_text(value) for key, value in settings.items()}


class Pipeline(BaseModel):
    """How images get to the device.

    Attributes:
        workers: Threads that read the next batches while the device works; ``None``: two for a
            GPU, none for a CPU, whose cores all train.
        prefetch: Batches that each of them may be ahead.
        cache_gib: Images are decoded and resized once, before the training, and held in memory as
            bytes if they take no more than so many GiB; else each is decoded when it is taken,
            which is part of the training. 0: none are held.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    workers: Annotated[int, Field(ge=0, le=256, strict=True)] | None = None
    prefetch: Annotated[int, Field(ge=1, le=1024, strict=True)] = 2
    cache_gib: Annotated[float, Field(ge=0, le=65_536, allow_inf_nan=False)] = 4.0


class Transfer(BaseModel):
    """How a training begins from weights that were learnt elsewhere.

    Attributes:
        weights: By network: ``random``, ``pretrained`` (those that torchvision or timm publish),
            or a file of a state_dict. Networks that are not named begin at random. The last layer
            begins at random where its shape differs, and behind the heads of del Rey et al.
        frozen_epochs: Epochs of a first stage in which the head alone learns: the rest keeps its
            weights and is in evaluation mode. The head is what begins at random, see
            `greenbatch.runners.training.child.stages.head_of`.
        frozen: Hyperparameters of that stage, in place of those of the study's settings.
        frozen_batch_norm: Whether batch normalisation stays in evaluation mode behind that stage.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    weights: dict[NetworkName, PathText] = Field(default_factory=dict)
    frozen_epochs: Annotated[int, Field(ge=0, le=100_000, strict=True)] = 0
    frozen: Annotated[dict[str, str], BeforeValidator(_as_texts)] = Field(default_factory=dict)
    frozen_batch_norm: bool = False

    @model_validator(mode="after")
    def _used(self) -> "Transfer":
        for name in self.frozen:
            if name not in OPTIMIZING:
                raise ValueError(f"transfer.frozen has {name}; it has {', '.join(OPTIMIZING)}")
        if self.frozen and not self.frozen_epochs:
            raise ValueError("transfer.frozen is given without frozen_epochs; give both or none")
        return self

    def weights_of(self, network: str) -> str:
        """Return what a network begins with."""
        return self.weights.get(network, RANDOM)


class Plateau(BaseModel):
    """When the learning rate is reduced.

    Attributes:
        factor: By which it is multiplied.
        patience: After so many epochs without a better value of the study's ``monitor``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    patience: Annotated[int, Field(ge=1, le=100_000, strict=True)] = 10
