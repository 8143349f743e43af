"""Real images that a study measures with."""

from pydantic import BaseModel, ConfigDict, Field

from greenbatch.design.field_types import PathText


class ImageSet(BaseModel):
    """Which images a study measures with.

    Attributes:
        folder: Where they are, with all folders below it; or ``generated:3`` for three that are
            made, see `greenbatch.runners.scenarios.generated_images`.
        found: Image files in it.
        count: Those that are used: of the at most `AT_MOST` that were looked at, all that can be
            read.
        broken: The others that were looked at, by their path within the folder, with the reason.
        sha256: Over the paths and contents of the images used.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    folder: PathText
    found: int = Field(ge=1)
    count: int = Field(ge=1)
    broken: dict[str, str] = Field(default_factory=dict)
    sha256: str
