"""The registry says what torchvision says, without importing it."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from greenbatch.errors import UnknownNameError
from greenbatch.models import STUDY, InputSpec, find, names, registry, synthetic_images


@pytest.mark.parametrize("name", names())
def test_figures_are_those_of_the_published_weights(name: str) -> None:
    from torchvision.models import get_model_weights

    spec = find(name)
    published = get_model_weights(name)[spec.weights]
    transforms = published.transforms()
    assert spec.parameters == published.meta["num_params"]
    assert spec.flops == pytest.approx(published.meta["_ops"] * 1e9)
    assert spec.top1 == published.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    assert published.url.rpartition("/")[2] == spec.checkpoint
    assert [spec.input.resize] == transforms.resize_size
    assert [spec.input.crop] == transforms.crop_size
    assert list(spec.input.mean) == transforms.mean
    assert list(spec.input.std) == transforms.std
    assert spec.input.interpolation == transforms.interpolation.value
    assert spec.input.shape[1:] == (spec.input.crop, spec.input.crop)


def test_study_models_are_registered_oldest_first() -> None:
    years = [find(name).year for name in STUDY]
    assert years == [2012, 2017, 2018, 2020, 2022]
    assert set(STUDY) <= set(names())
    assert len(set(names())) == len(registry.names())


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
