"""GPUs as the doctor sees them, through a simulated NVML."""

from pathlib import Path

import pytest

from greenbatch.runners.doctor import gpus
from tests.fakes.nvml import FakeNvml, build, has_compiler, no_library

pytestmark = [
    pytest.mark.skipif(not has_compiler(), reason="needs a C compiler"),
    pytest.mark.alone,
]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("nvml"))


def test_every_fact_of_a_gpu_is_asked(tmp_path: Path, library: Path) -> None:
    fake = FakeNvml(
        tmp_path, library, devices=2, temperature_c=84, reasons=0x24, pid=[7, 5], power_limit_w=500
    )
    with fake.installed() as nvml:
        found = gpus.look()
        assert nvml.fake_initialized() == 0, "NVML was not shut down"
    assert (found.driver, found.cuda, found.absent) == ("999.00", "13.0", None)
    assert gpus._cuda(12040) == "12.4"
    assert [gpu.index for gpu in found.devices] == [0, 1]
    assert found.devices[0] == gpus.Gpu(
        index=0,
        name="Simulated GPU",
        uuid="GPU-00000000-0000-0000-0000-000000000000",
        compute_capability="9.0",
        memory_bytes=80 << 30,
        memory_used_bytes=1 << 30,
        mig=False,
        ecc=True,
        persistence=False,
        compute_mode="default",
        power_limit_w=500.0,
        power_limit_default_w=700.0,
        pcie="1.0 x16",
        pcie_max="5.0 x16",
        clock_hz=1.5e9,
        clock_max_hz=1.98e9,
        temperature_c=84.0,
        headroom_c=6.0,
        throttle_reasons=("sw_thermal_slowdown",),
        pids=(5, 7),
    )


def test_what_a_device_does_not_know_is_not_known(tmp_path: Path, library: Path) -> None:
    with FakeNvml(tmp_path, library, bare=1).installed():
        (gpu,) = gpus.look().devices
    assert gpu.name == "Simulated GPU"
    for name in (
        "compute_capability", "mig", "ecc", "persistence", "compute_mode", "power_limit_w",
        "power_limit_default_w", "pcie", "pcie_max", "clock_max_hz", "headroom_c",
    ):  # fmt: skip
        assert getattr(gpu, name) is None, name


def test_without_a_gpu_the_reason_is_told(tmp_path: Path, library: Path) -> None:
    with no_library():
        absent = gpus.look().absent
    assert absent is not None
    assert "install the NVIDIA driver" in absent
    assert "--meter" not in absent
    with FakeNvml(tmp_path / "error", library, init_error=9).installed():
        assert "load the NVIDIA driver" in str(gpus.look().absent)
    with FakeNvml(tmp_path / "none", library, devices=0).installed():
        assert gpus.look().absent == "the NVIDIA driver lists no GPU"


def test_processes_that_an_old_driver_cannot_list_are_not_known(
    tmp_path: Path, library: Path
) -> None:
    with FakeNvml(tmp_path, library, process_list=0, pid=[5]).installed():
        (gpu,) = gpus.look().devices
    assert gpu.pids == ()
    assert "Function Not Found" in str(gpu.processes_unknown)
