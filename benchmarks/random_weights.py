"""Whether random weights infer like trained ones: how the logits of unseen images differ.

For each network, over images that its weights were not settled on:

- spread: standard deviation of a logit between images, mean over the classes (near 1 is meant);
- winners: how many classes come first for an image at least;
- largest: the largest absolute output of any module (half precision ends at 65504);
- noise: relative change of the logits for a relative change of the input of 1/1000, over 1/1000;
  a network that enlarges it much enlarges rounding errors too;
- memory: the process's peak, which only grows from line to line.

    python benchmarks/random_weights.py [--models 'resnet*'] [--max-parameters 100M] [--images 16]
"""

import argparse
import math
import resource
import time
from dataclasses import dataclass
from fnmatch import fnmatch

import torch
from torch import nn

from greenbatch.cli.models import parse_count
from greenbatch.models import ModelSpec, find, names, synthetic_images
from greenbatch.models.build import build
from greenbatch.models.weights.load import load_weights

UNSEEN_SEED = 99
NOISE = 1e-3
CHUNK = 4  # images at a time: peak memory is that of drawing, as in an export


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What the heading of this file says of one network."""

    spread: float
    winners: int
    largest: float
    noise: float


def main() -> None:
    """Print a line for each network."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--models", nargs="+", default=["*"], help="names, with * and ?")
    parser.add_argument("--max-parameters", type=parse_count, default=math.inf)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"{options.images} images, seed {options.seed}")
    headings = ("spread", "winners", "largest", "noise", "seconds", "memory")
    print(f"{'':20}" + "".join(f"{heading:>10}" for heading in headings))
    for spec in map(find, names()):
        if spec.parameters > options.max_parameters:
            continue
        if not any(fnmatch(spec.name, pattern) for pattern in options.models):
            continue
        began = time.perf_counter()
        module = build(spec)
        load_weights(module, spec, "random", options.seed)
        took_s = time.perf_counter() - began
        seen = behaviour(module, spec, options.images)
        peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
        print(
            f"{spec.name:20}{seen.spread:>10.2f}{seen.winners:>10}{seen.largest:>10.0f}"
            f"{seen.noise:>10.2f}{took_s:>8.1f} s{peak_gb:>7.1f} GB",
            flush=True,
        )


def behaviour(module: nn.Module, spec: ModelSpec, images: int) -> Behaviour:
    """Say how a network in evaluation mode tells unseen images apart.

    Args:
        module: Maps (N, C, H, W) to logits (N, classes).
        spec: Says the input.
        images: How many, at least 2.
    """
    largest = 0.0

    def note(_: nn.Module, __: object, output: object) -> None:
        nonlocal largest
        for tensor in output if isinstance(output, (tuple, list)) else (output,):
            if isinstance(tensor, torch.Tensor):
                largest = max(largest, float(tensor.abs().max()))

    inputs = torch.from_numpy(synthetic_images(spec, images, UNSEEN_SEED))
    generator = torch.Generator().manual_seed(0)
    disturbed = inputs + NOISE * inputs.std() * torch.randn(inputs.shape, generator=generator)
    with torch.inference_mode():
        handles = [part.register_forward_hook(note) for part in module.modules()]
        logits = torch.cat([module(chunk) for chunk in torch.split(inputs, CHUNK)])
        for handle in handles:
            handle.remove()
        changed = torch.cat([module(chunk) for chunk in torch.split(disturbed, CHUNK)])
    spread = logits.std(0).mean()
    change = (changed - logits).square().mean().sqrt()
    return Behaviour(
        spread=float(spread),
        winners=len(set(logits.argmax(1).tolist())),
        largest=largest,
        noise=float(change / spread) / NOISE,
    )


if __name__ == "__main__":
    main()
