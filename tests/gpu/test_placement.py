"""On a real device no node of a study model is left to the CPU, in any precision that it has."""

from pathlib import Path

import numpy as np
import pytest

from greenbatch.exporter.placement.kernels import cuda_kernels
from greenbatch.models.agreement import difference, fault
from tests.conftest import Gb
from tests.gpu.gating import MARKS, MODEL, Wanted, load, logits, reference

pytestmark = MARKS
NOT_EXPORTED = 3  # the exit code of gb export


@pytest.mark.usefixtures("onnxruntime_cuda")
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("model", ["convnext_base", "vit_b_16"])
def test_all_nodes_of_the_largest_study_models_run_on_the_device(
    study_artifacts: Path, model: str, precision: str
) -> None:
    wanted = Wanted(backend="onnxruntime-cuda", model=model, precision=precision, batch_size=2)
    backend = load(study_artifacts, wanted)
    found = logits(backend)
    assert set(backend.placement) == {"CUDAExecutionProvider"}
    assert "shape_nodes" not in backend.settings
    assert not backend.fell_back
    expected = reference(study_artifacts, model, batch_size=2)
    assert fault(difference(expected, found), precision) is None


@pytest.mark.usefixtures("onnxruntime_cuda")
@pytest.mark.parametrize("io", ["host", "device"])
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_a_lower_precision_computes_on_the_device(
    lower_artifacts: Path, precision: str, io: str
) -> None:
    wanted = Wanted(backend="onnxruntime-cuda", precision=precision, io=io)
    backend = load(lower_artifacts, wanted)
    found = logits(backend)
    assert set(backend.placement) == {"CUDAExecutionProvider"}
    # CUDA has no int8 kernels for it: what is quantised is multiplied in fp32.
    assert backend.settings["arithmetic"] == ("fp32" if precision == "int8" else precision)
    assert fault(difference(reference(lower_artifacts), found), precision) is None


@pytest.mark.usefixtures("onnxruntime_cuda")
def test_bf16_computes_on_the_device(gb: Gb, study_artifacts: Path) -> None:
    import onnxruntime

    model = "vit_b_16"
    ended = gb(
        *("export", model, "--weights", "random", "--precision", "bf16"),
        *("--out", study_artifacts),
        expect=None,
    )
    other = onnxruntime.__version__ != cuda_kernels().version  # whose kernels are not known here
    if ended.returncode == NOT_EXPORTED and "no kernel" in ended.stderr and other:
        pytest.skip(ended.stderr.strip().splitlines()[-1])
    assert ended.returncode == 0, ended.stderr
    wanted = Wanted(backend="onnxruntime-cuda", model=model, precision="bf16", batch_size=2)
    backend = load(study_artifacts, wanted)
    found = logits(backend)
    assert set(backend.placement) == {"CUDAExecutionProvider"}
    assert backend.settings["arithmetic"] == "bf16"
    expected = reference(study_artifacts, model, batch_size=2)
    assert fault(difference(expected, found), "bf16") is None


@pytest.mark.usefixtures("tensorrt")
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_tensorrt_takes_the_whole_network(
    lower_artifacts: Path, tmp_path: Path, precision: str
) -> None:
    wanted = Wanted(backend="onnxruntime-tensorrt", precision=precision, cache=tmp_path)
    backend = load(lower_artifacts, wanted)
    found = logits(backend)
    assert set(backend.placement) == {"TensorrtExecutionProvider"}
    expected = reference(lower_artifacts)
    assert np.isfinite(found).all()
    assert found.shape == expected.shape == (4, 1000), MODEL
    assert fault(difference(expected, found), precision) is None
