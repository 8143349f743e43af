"""Parts of the design of a training run that have members of their own."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Augmented = Literal["flip", "brightness", "contrast", "saturation", "hue"]


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
