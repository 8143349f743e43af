"""The registry says what torchvision says, without importing it."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenbatch.errors import UnknownNameError
from greenbatch.models import STUDY, InputSpec, find, names, registry, synthetic_images

TABLE_IS_OF = "0.29"
INCEPTION_AUXILIARY = 3_326_696  # parameters of the head that only its training uses


@pytest.mark.parametrize("name", names())
def test_figures_are_those_of_the_published_weights(name: str) -> None:
    import torchvision

    if name not in _builders():
        pytest.skip(f"torchvision {torchvision.__version__} has no {name}")
    spec = find(name)
    published = torchvision.models.get_model_weights(name)[spec.weights]
    transforms = published.transforms()
    unused = INCEPTION_AUXILIARY if name == "inception_v3" else 0
    stated = {
        "parameters": spec.parameters + unused,
        "flops": pytest.approx(spec.flops),
        "top1": spec.top1,
        "checkpoint": spec.checkpoint,
        "resize": [spec.input.resize],
        "crop": [spec.input.crop],
        "mean": list(spec.input.mean),
        "std": list(spec.input.std),
        "interpolation": spec.input.interpolation,
    }
    found = {
        "parameters": published.meta["num_params"],
        "flops": published.meta["_ops"] * 1e9,
        "top1": published.meta["_metrics"]["ImageNet-1K"]["acc@1"],
        "checkpoint": published.url.rpartition("/")[2],
        "resize": transforms.resize_size,
        "crop": transforms.crop_size,
        "mean": transforms.mean,
        "std": transforms.std,
        "interpolation": transforms.interpolation.value,
    }
    if found != stated and not torchvision.__version__.startswith(f"{TABLE_IS_OF}."):
        pytest.skip(f"torchvision {torchvision.__version__} states other figures of {name}")
    assert found == stated
    assert spec.input.shape == (3, spec.input.crop, spec.input.crop)


def test_every_classifier_of_torchvision_is_registered() -> None:
    assert set(_builders()) <= set(names())
    assert len(names()) >= 80


def test_weights_are_the_first_published_that_run_at_the_networks_own_size() -> None:
    others = {name for name in names() if find(name).weights != "IMAGENET1K_V1"}
    assert others == {"regnet_y_128gf", "vit_h_14"}
    assert all(find(name).input.crop == 224 for name in others)


@pytest.mark.slow
def test_a_network_builds_as_stated_without_what_only_training_uses() -> None:
    import torch
    from torchvision.models import get_model

    from greenbatch.models.build import build

    for name, auxiliary in (("googlenet", {"aux1", "aux2"}), ("inception_v3", {"AuxLogits"})):
        spec = find(name)
        ours = build(spec)
        assert {prefix.rstrip(".") for prefix in spec.training_only} == auxiliary
        assert not ours.training
        # What torchvision builds for published weights, with ours in it, computes the same.
        theirs = get_model(name, weights=None, init_weights=False, transform_input=True).eval()
        missing, unexpected = theirs.load_state_dict(ours.state_dict(), strict=False)
        assert missing
        assert all(key.startswith(spec.training_only) for key in missing)
        assert not unexpected
        image = torch.from_numpy(synthetic_images(spec, 1, 0))
        with torch.inference_mode():
            assert torch.equal(ours(image), theirs(image))


def test_models_come_by_family_and_size_and_the_study_oldest_first() -> None:
    specs = [find(name) for name in names()]
    assert specs == sorted(specs, key=lambda spec: (spec.family, spec.parameters))
    assert registry.families() == tuple(sorted({spec.family for spec in specs}))
    assert [find(name).year for name in STUDY] == [2012, 2017, 2018, 2020, 2022]
    assert all(2012 <= (spec.year or 0) <= 2022 for spec in specs)


def _builders() -> list[str]:
    from torchvision import models

    builders: list[str] = models.list_models(module=models)
    return builders


def test_wrong_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(
        UnknownNameError, match=r"^unknown model 'alexnett'; did you mean 'alexnet'"
    ):
        find("alexnett")


def test_specs_and_inputs_need_no_torch() -> None:
    code = (
        "import sys; from greenbatch.models import find, synthetic_images;"
        "synthetic_images(find('alexnet'), 1, 0);"
        "sys.exit(any(m in sys.modules for m in ('torch', 'torchvision', 'onnxruntime')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_input_without_statistics_for_each_channel_is_refused() -> None:
    with pytest.raises(ValueError, match="for each channel"):
        InputSpec(shape=(1, 8, 8))
    with pytest.raises(ValueError, match="channels, height and width"):
        InputSpec(shape=(3, 8))


@pytest.mark.slow
@given(
    batch_size=st.integers(1, 5),
    more=st.integers(0, 3),
    side=st.integers(1, 40),
    seed=st.integers(0, 2**40),
)
def test_a_smaller_batch_is_the_beginning_of_a_larger(
    batch_size: int, more: int, side: int, seed: int
) -> None:
    form = InputSpec(shape=(3, side, side + 1))
    few = synthetic_images(form, batch_size, seed)
    many = synthetic_images(form, batch_size + more, seed)
    assert few.shape == (batch_size, 3, side, side + 1)
    assert few.dtype == np.float32
    assert few.flags.c_contiguous
    np.testing.assert_array_equal(few, many[:batch_size])


def test_images_are_normalised_photographs_that_differ() -> None:
    spec = find("alexnet")
    images = synthetic_images(spec, 8, 3)
    mean, std = (np.array(v)[:, None, None] for v in (spec.input.mean, spec.input.std))
    values = images * std + mean
    assert values.min() > -1e-6
    assert values.max() < 1 + 1e-6
    assert 0.1 < values.std() < 0.3
    coarse = values.reshape(8, 3, 8, 28, 8, 28).mean((3, 5))
    assert coarse.var() > 0.5 * values.var()  # white noise would keep 1/784 of it
    assert np.abs(np.corrcoef(values.reshape(8, -1)) - np.eye(8)).max() < 0.8
    assert not np.array_equal(images, synthetic_images(spec, 8, 4))


@pytest.mark.parametrize(("batch_size", "seed"), [(0, 0), (-1, 0), (1, -1)])
def test_impossible_batches_are_refused(batch_size: int, seed: int) -> None:
    with pytest.raises(ValueError, match=r"batch_size|seed|non-negative"):
        synthetic_images(find("alexnet"), batch_size, seed)
