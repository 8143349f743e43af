"""What the machine has: packages, and the devices of CUDA and of NVML."""

from importlib import metadata

import pytest

from benchmarks.gpu_check import machine
from benchmarks.gpu_check.lines import Verdict

NVML = [
    {"index": 0, "uuid": "GPU-AAAAAAAA-0000-1111-2222-333344445555"},
    {"index": 1, "uuid": "GPU-bbbbbbbb-0000-1111-2222-333344445555"},
]


@pytest.mark.parametrize(
    ("cuda", "nvml", "verdict", "text"),
    [
        (["GPU-aaaaaaaa-0000-1111-2222-333344445555"], NVML, Verdict.OK, ""),
        (["GPU-cccccccc-0000-1111-2222-333344445555"], NVML, Verdict.FAILED, "does not list GPU-c"),
        ([], NVML, Verdict.NOT_RUN, "CUDA lists no device"),
        (["GPU-aaaaaaaa-0000-1111-2222-333344445555"], [], Verdict.NOT_RUN, "NVML lists no"),
    ],
)
def test_a_device_of_cuda_is_one_of_nvml(
    cuda: list[str], nvml: list[dict[str, object]], verdict: Verdict, text: str
) -> None:
    line = machine.same_uuids([{"index": 0, "uuid": uuid} for uuid in cuda], nvml)
    assert line.verdict is verdict
    assert text in line.reason


def test_packages_that_are_missing_or_too_old_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = metadata.version

    def version(name: str) -> str:
        if name in ("scipy", "onnxruntime-gpu"):
            raise metadata.PackageNotFoundError(name)
        return {"torch": "2.8.1+cu128", "onnxruntime": "1.24.1"}.get(name) or real(name)

    monkeypatch.setattr(metadata, "version", version)
    # The ONNX Runtime for CPUs alone is no missing package: its CUDA backend has the reason.
    assert list(machine._missing()) == [
        "scipy is not installed",
        "torch is 2.8.1+cu128, wanted 2.9 or newer",
    ]
