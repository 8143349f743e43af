"""The table of the other families states what torchvision states, and what it builds."""

from collections import Counter

import pytest
from torch import nn

from greenbatch.models import find, registry
from greenbatch.models.build import build, build_empty
from greenbatch.models.spec import ModelSpec
from greenbatch.models.torchvision.others import FURTHER

TABLE_IS_OF = "0.29"
HEADS_OF_TRAINING = {"quantized_inception_v3": 3_326_696}


def published(spec: ModelSpec) -> dict[str, object]:
    import torchvision

    weights = torchvision.models.get_model_weights(spec.name)
    one = weights[spec.weights] if spec.weights else next(iter(weights))
    return {
        "parameters": one.meta["num_params"] - HEADS_OF_TRAINING.get(spec.name, 0),
        "flops": one.meta["_ops"] * 1e9,
        "checkpoint": one.url.rpartition("/")[2],
        "default": one == weights.DEFAULT,
    }


@pytest.mark.parametrize("spec", FURTHER, ids=lambda spec: spec.name)
def test_figures_are_those_of_the_published_weights(spec: ModelSpec) -> None:
    import torchvision

    if not torchvision.__version__.startswith(f"{TABLE_IS_OF}."):
        pytest.skip(f"the table is of torchvision {TABLE_IS_OF}")
    found = published(spec)
    assert found["parameters"] == spec.parameters
    assert spec.flops in (None, pytest.approx(found["flops"]))
    if spec.family != "quantization":
        assert spec.checkpoint == found["checkpoint"]
        ours = "KINETICS400_V1" if spec.family == "video" else spec.weights
        assert found["default"] or spec.weights == ours


def test_every_builder_of_torchvision_is_registered_under_its_own_module() -> None:
    import torchvision

    builders = {
        name: torchvision.models.get_model_builder(name).__module__.split(".")[2]
        for name in torchvision.models.list_models()
    }
    assert set(builders) <= set(registry.names(registry.ALL))
    assert len(registry.names(registry.ALL)) >= 121
    assert all(builders.get(spec.name, spec.family) == spec.family for spec in FURTHER)
    assert Counter(spec.family for spec in FURTHER) == {
        "segmentation": 6,
        "detection": 12,
        "video": 9,
        "optical_flow": 2,
        "quantization": 12,
    }


def test_each_says_what_goes_in_and_comes_out() -> None:
    assert all(spec.about for spec in FURTHER)
    assert find("r3d_18").input.layout == "CTHW"
    assert [other.name for other in find("raft_small").input.others] == ["image2"]
    assert find("ssd300_vgg16").input.mean == (0.0, 0.0, 0.0)  # it normalises by itself


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "epsilon"), [("fasterrcnn_mobilenet_v3_large_fpn", 1e-5), ("fcos_resnet50_fpn", 1e-5)]
)
def test_a_trunk_that_began_trained_has_frozen_normalisations(name: str, epsilon: float) -> None:
    from torchvision.ops import FrozenBatchNorm2d

    module = build(find(name))
    frozen = [part for part in module.modules() if isinstance(part, FrozenBatchNorm2d)]
    assert frozen
    assert {part.eps for part in frozen} == {epsilon}
    assert not any(isinstance(part, nn.BatchNorm2d) for part in module.modules())


@pytest.mark.slow
def test_the_names_of_tensors_are_those_of_torchvision() -> None:
    from torchvision.models import get_model

    for name in ("ssdlite320_mobilenet_v3_large", "raft_small"):
        more = {"weights_backbone": None} if "ssd" in name else {}
        own = get_model(name, weights=None, **more).state_dict()
        assert set(build(find(name)).state_dict()) == set(own)


@pytest.mark.slow
def test_an_empty_detector_keeps_what_is_not_in_its_state() -> None:
    import torch

    spec = find("ssdlite320_mobilenet_v3_large")
    module = build_empty(spec, "cpu")
    with torch.inference_mode():
        outputs = module(torch.zeros(1, *spec.input.shape))
    assert outputs["boxes"].device.type == "cpu"
    assert not any(p.is_meta for p in build_empty(find("resnet18"), "cpu").parameters())
