"""What is measured: model specs, inputs and weights.

spec      what is known of a network             registry     the networks that are known
build     spec -> torch module                   inputs       seeded images, without torch
weights/  which weights, and loading them        artifacts    the folder of exported artifacts
sources/  a user's own networks                  image_folder a folder of images, as batches
torchvision/  its families, batched              outputs      a network's tensors, by name
agreement how near the outputs of two runs are   output_rows  which part is an image's own
"""

from greenbatch.models.inputs import synthetic_images
from greenbatch.models.registry import STUDY, find, names
from greenbatch.models.spec import InputSpec, ModelSpec

__all__ = [
    "STUDY",
    "InputSpec",
    "ModelSpec",
    "find",
    "names",
    "synthetic_images",
]
