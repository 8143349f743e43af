"""Detectors with random weights find about as much as trained ones, in every image."""

import pytest
import torch

from greenbatch.models import find, synthetic_images
from greenbatch.models.build import build
from greenbatch.models.weights.random_weights import draw_weights
from tests.thorough import needs_thorough

OTHER_SEED = 7


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "ssdlite320_mobilenet_v3_large",
        pytest.param("fasterrcnn_mobilenet_v3_large_320_fpn", marks=needs_thorough),
    ],
)
def test_each_image_has_detections_and_no_head_gives_as_many_as_it_can(name: str) -> None:
    spec = find(name)
    module = build(spec)
    draw_weights(module, spec, 0)
    images = torch.from_numpy(synthetic_images(spec, 6, OTHER_SEED))
    with torch.inference_mode():
        outputs = module(images)
    counts = torch.bincount(outputs["image"], minlength=6)
    assert counts.min() > 0
    assert counts.float().mean() < 200  # of up to 300 and 100; candidates: see CANDIDATES
    assert len(outputs["labels"].unique()) > 5
    assert torch.isfinite(outputs["boxes"]).all()
    assert (outputs["boxes"][:, 2:] > outputs["boxes"][:, :2]).float().mean() > 0.9


@pytest.mark.slow
def test_frozen_normalisations_take_their_statistics_too() -> None:
    from torchvision.ops import FrozenBatchNorm2d

    spec = find("fasterrcnn_mobilenet_v3_large_320_fpn")
    module = build(spec)
    draw_weights(module, spec, 0)
    first, *others = (part for part in module.modules() if isinstance(part, FrozenBatchNorm2d))
    assert (first.running_var > 0).all()
    assert not torch.equal(first.running_mean, torch.zeros_like(first.running_mean))
    assert all((part.running_var > 0).all() for part in others)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights_and_the_layers_of_clips_are_levelled() -> None:
    from dataclasses import replace

    spec = find("r3d_18")
    small = replace(spec, input=replace(spec.input, shape=(3, 8, 32, 32)))
    states, spreads = [], []
    for _ in range(2):
        module = build(spec)
        draw_weights(module, small, 3)
        states.append(module.state_dict())
        with torch.inference_mode():
            logits = module(torch.from_numpy(synthetic_images(small, 4, OTHER_SEED)))
        spreads.append(float((logits - logits.mean(0)).std()))
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert 0.3 < spreads[0] < 3
    assert float(states[0]["layer4.1.conv2.1.running_var"].mean()) > 0


@pytest.mark.slow
def test_a_flow_stays_within_the_image_and_differs_between_images() -> None:
    from dataclasses import replace

    from greenbatch.models.inputs import synthetic_inputs

    spec = find("raft_small")
    shape = (3, 128, 136)
    others = tuple(replace(other, shape=shape) for other in spec.input.others)
    spec = replace(spec, input=replace(spec.input, shape=shape, others=others))
    module = build(spec)
    draw_weights(module, spec, 0)
    inputs = map(torch.from_numpy, synthetic_inputs(spec, 2, OTHER_SEED).values())
    with torch.inference_mode():
        flow = module(*inputs)
    assert 1 < flow.std() < 64
    assert (flow[0] - flow[1]).abs().mean() > 0.5
