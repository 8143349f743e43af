"""What a cell counts: its own device and the host, whatever else the node has."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Self

import pytest

from greenbatch.records import EnergySource, total_energy
from greenbatch.runners import backends
from greenbatch.runners.metering import (
    BY_BUS,
    Domain,
    EnergyMeter,
    Metering,
    MeterOptions,
    Reading,
    Recorder,
    open_meters,
)
from greenbatch.runners.metering.conditions import Conditioned, DeviceState
from greenbatch.runners.metering.counting import CellMetering, for_device
from greenbatch.runners.metering.sources.nvml import NvmlMeter
from tests.fakes import nvml
from tests.fakes.powercap import Powercap
from tests.fakes.powercap_curve import PowerCurve

CPU = {"package-0": "cpu", "dram-0": "memory"}


class _Steady(EnergyMeter):
    """Reads domains of 10 W each."""

    name = "steady"
    interval_s = 0.01

    def __init__(self, *domains: Domain) -> None:
        self.domains = domains

    @classmethod
    def open(cls, options: MeterOptions) -> Self:
        return cls()

    def read(self) -> Mapping[str, Reading]:
        return {domain.name: Reading(power_w=10.0) for domain in self.domains}

    def conditions(self) -> Mapping[str, DeviceState]:
        return {d.name: DeviceState(temperature_c=80.0) for d in self.domains if d.part == "gpu"}


def _domain(name: str, part: str, vendor: str = "", uuid: str = "", counts: bool = True) -> Domain:
    return Domain(
        name=name,
        source=EnergySource.INTEGRATED,
        tick_s=0.02,
        part=part,
        vendor=vendor,
        uuid=uuid,
        counts=counts,
    )


HOST = [_domain(name, part) for name, part in CPU.items()]
GPUS = [_domain(f"gpu-{i}", "gpu", "nvidia", f"GPU-{i}") for i in range(8)]
MODULES = [_domain(f"gpu-{i}-module", "machine", "nvidia", f"GPU-{i}") for i in range(2)]
AMD = [_domain(f"amd-gpu-{i}", "gpu", "amd") for i in range(2)]
INTEL = [_domain("xe-0", "gpu", "intel")]
WALL = [_domain("wall", "machine")]


def _counted(domains: list[Domain], backend: str, **absent: str) -> list[str]:
    spec = backends.find(backend)
    cell = for_device(Metering((_Steady(*domains),), absent), spec.device, spec.vendor)
    return [domain.name for domain in cell.metering.domains if domain.counts]


@pytest.mark.parametrize(
    ("domains", "backend", "counted"),
    [
        (HOST + GPUS, "onnxruntime-cuda", [*CPU, "gpu-0"]),
        (HOST + GPUS[3:], "torch-compile-cuda", [*CPU, "gpu-3"]),
        (HOST + GPUS, "onnxruntime-cpu", [*CPU]),
        (HOST + GPUS + AMD, "onnxruntime-migraphx", [*CPU, "amd-gpu-0"]),
        (HOST + AMD + GPUS, "torch-cuda", [*CPU, "gpu-0"]),
        (HOST + GPUS[:1] + INTEL, "openvino-gpu", [*CPU, "xe-0"]),
        (HOST + INTEL, "onnxruntime-webgpu", [*CPU, "xe-0"]),
        (MODULES, "torch-cuda", ["gpu-0-module"]),
        (MODULES, "torch-cpu", ["gpu-0-module", "gpu-1-module"]),
        ([_domain("jetson-total", "machine", "nvidia")], "torch-cuda", ["jetson-total"]),
        ([_domain("apple-soc", "machine")], "onnxruntime-coreml", ["apple-soc"]),
        (HOST + WALL, "onnxruntime-cuda", [*CPU, "wall"]),
        (HOST + WALL, "openvino-npu", [*CPU, "wall"]),
        ([*HOST, _domain("npu-0", "npu")], "openvino-npu", [*CPU, "npu-0"]),
        ([*HOST, _domain("npu-0", "npu")], "openvino-cpu", [*CPU]),
    ],
)
def test_a_cell_counts_its_own_device_and_the_host(
    domains: list[Domain], backend: str, counted: list[str]
) -> None:
    assert _counted(domains, backend) == counted


@pytest.mark.parametrize(
    ("domains", "backend", "lacking", "words"),
    [
        (HOST, "onnxruntime-cuda", "gpu", "the meter nvml was not used: no library"),
        (HOST, "torch-aot-cuda", "gpu", "nvml"),
        (HOST + AMD, "torch-cuda", "gpu", "nvml"),
        (HOST + GPUS, "openvino-gpu", "gpu", "no meter reads the Intel GPU"),
        (HOST, "onnxruntime-dml", "gpu", "no meter reads the GPU"),
        (HOST + GPUS[:2], "onnxruntime-webgpu", "gpu", "which one of gpu-0, gpu-1"),
        (HOST, "onnxruntime-migraphx", "gpu", "the meter amd was not used: no driver"),
        (HOST + GPUS, "openvino-npu", "npu", "no meter reads the NPU"),
        (HOST, "onnxruntime-coreml", "soc", "SoC"),
    ],
)
def test_a_device_that_no_meter_reads_leaves_no_total(
    domains: list[Domain], backend: str, lacking: str, words: str
) -> None:
    spec = backends.find(backend)
    absent = {"nvml": "no library.", "amd": "no driver"}
    cell = for_device(Metering((_Steady(*domains),), absent), spec.device, spec.vendor)
    with Recorder(cell.metering.meters) as recorder:
        start_s = recorder.begin()
        end_s = recorder.end()
        figures = recorder.energy(start_s - 0.01, end_s)
    missing = [figure for figure in figures if figure.domain == lacking]
    assert [(figure.source, figure.counts) for figure in missing] == [(EnergySource.MISSING, True)]
    total = total_energy(figures)
    assert total.energy_j is None
    assert words in str(total.reason)
    assert "wall meter" in str(total.reason)


@pytest.mark.parametrize(
    ("backend", "meter"), [("openvino-gpu", "intel-gpu"), ("openvino-npu", "npu")]
)
def test_the_reason_is_that_of_the_meter_of_the_device(backend: str, meter: str) -> None:
    spec = backends.find(backend)
    metering = Metering((_Steady(*HOST),), {meter: "it stands still"})
    cell = for_device(metering, spec.device, spec.vendor).metering
    (reading,) = cell.meters[-1].read().values()
    assert f"the meter {meter} was not used: it stands still" in str(reading.reason)


@pytest.mark.parametrize(
    ("domains", "device", "waits"),
    [
        (HOST + GPUS, "cuda", True),
        (HOST + GPUS, "cpu", False),
        (MODULES, "cuda", True),
        ([_domain("jetson-total", "machine", "nvidia")], "cuda", True),
        ([_domain("apple-soc", "machine", "apple")], "soc", True),
        (WALL, "cuda", False),
    ],
)
def test_idle_power_is_waited_for_where_a_gpu_is_in_what_counts(
    domains: list[Domain], device: str, waits: bool
) -> None:
    vendor = "nvidia" if device == "cuda" else ""
    assert for_device(Metering((_Steady(*domains),)), device, vendor).metering.settles is waits


def test_no_meter_at_all_is_left_at_that() -> None:
    assert for_device(Metering(), "cuda", "nvidia").metering.domains == ()


def test_the_devices_of_others_are_read_but_not_looked_at() -> None:
    cell = for_device(Metering((_Steady(*HOST, *GPUS),)), "cuda", "nvidia")
    (meter,) = cell.metering.meters
    assert len(meter.read()) == len(HOST + GPUS)
    assert isinstance(meter, Conditioned)
    assert list(meter.conditions()) == ["gpu-0"]


def test_a_meter_of_which_nothing_counts_is_not_read_more_often_around_a_window() -> None:
    meter = _Steady(*GPUS)
    meter.focus_interval_s = 0.001
    for device, wanted in (("cpu", None), ("cuda", 0.001)):
        (seen,) = for_device(Metering((meter,)), device, "nvidia").metering.meters[:1]
        assert seen.focus_interval_s == wanted


def test_a_process_gets_its_gpu_by_uuid_and_another_one_is_an_error() -> None:
    cell = for_device(Metering((_Steady(*HOST, *GPUS[2:]),)), "cuda", "nvidia")
    assert cell.environment == {"CUDA_VISIBLE_DEVICES": "GPU-2"}
    assert cell.mismatch("GPU-2") is None
    assert cell.mismatch("gpu-2") is None
    assert cell.mismatch(None) is None
    assert "computed on the GPU GPU-5, and the meter reads GPU-2" in str(cell.mismatch("GPU-5"))
    assert CellMetering(Metering()).environment == {}
    assert CellMetering(Metering(), "MIG-GPU-7/1/0").mismatch("GPU-8") is None
    assert for_device(Metering((_Steady(*GPUS),)), "cpu").environment == {}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nvml.build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def node(tmp_path: Path, library: Path) -> Iterator[nvml.FakeNvml]:
    """Eight GPUs of 60 W, 120 W, ..., 480 W; another's job heats and throttles GPU 5."""
    fake = nvml.FakeNvml(tmp_path / "gpu", library, devices=8, low_w=60, tick_s=0.02)
    fake.set(own_pid_5=4242, own_reasons_5=0x40, own_temperature_c_5=88, temperature_c=40)
    with fake.installed():
        yield fake


@pytest.mark.alone
@pytest.mark.skipif(not nvml.has_compiler(), reason="no C compiler")
def test_on_a_node_of_eight_gpus_a_cell_has_the_energy_of_its_own(
    node: nvml.FakeNvml, tmp_path: Path
) -> None:
    tree = Powercap(tmp_path / "sys")
    tree.add("intel-rapl:0", "package-0")
    options = MeterOptions(environ={**tree.environment(), **BY_BUS})
    curves = {"intel-rapl:0": PowerCurve(40.0)}
    with tree.running(curves), open_meters(["nvml", "rapl"], options) as metering:
        cell = for_device(metering, "cuda", "nvidia")
        assert cell.uuid == "GPU-00000000-0000-0000-0000-000000000000"
        with Recorder(cell.metering.meters) as recorder:
            start_s = recorder.begin()
            recorder.settle(start_s + 1.0, 2.0)
            end_s = recorder.end()
            figures = recorder.energy(start_s, end_s)
            conditions = recorder.conditions(start_s, end_s)
    total = total_energy(figures)
    truth_j = (60.0 + 40.0) * (end_s - start_s)
    assert total.energy_j == pytest.approx(truth_j, rel=5e-3)
    assert len(figures) == 9
    assert [figure.domain for figure in figures if figure.counts] == ["gpu-0", "package-0"]
    shown_j = sum(figure.energy_j or 0.0 for figure in figures)
    assert shown_j == pytest.approx((60.0 * 36 + 40.0) * (end_s - start_s), rel=0.02)
    (own,) = conditions
    assert (own.device, own.throttle_reasons, own.foreign_pids) == ("gpu-0", (), ())
    assert own.temperature_end_c == 40.0


@pytest.mark.skipif(not nvml.has_compiler(), reason="no C compiler")
def test_around_a_window_no_gpu_is_asked_but_the_one_that_counts(node: nvml.FakeNvml) -> None:
    with open_meters(["nvml"], MeterOptions(environ=BY_BUS)) as metering:
        own, others = for_device(metering, "cuda", "nvidia").metering.meters
        assert own.focus_interval_s
        assert list(own.read()) == ["gpu-0"]
        assert others.focus_interval_s is None
        assert others.interval_s > own.interval_s
        assert list(others.read()) == [f"gpu-{index}" for index in range(1, 8)]
        (shown,) = for_device(metering, "cpu").metering.meters
        assert len(shown.read()) == 8
        assert shown.interval_s == others.interval_s
        own.close()
        assert metering.meters[0].read()["gpu-0"].reason is None, "a part closes nothing"


@pytest.mark.slow
@pytest.mark.skipif(not nvml.has_compiler(), reason="no C compiler")
@pytest.mark.parametrize(("busy", "foreign"), [("own_pid_0", (4242,)), ("own_pid_1", ())])
def test_a_cell_sees_who_else_computes_on_its_gpu(
    tmp_path: Path, library: Path, busy: str, foreign: tuple[int, ...]
) -> None:
    fake = nvml.FakeNvml(tmp_path / "gpu", library, devices=2, tick_s=0.02, **{busy: 4242})
    with fake.installed(), open_meters(["nvml"], MeterOptions(environ=BY_BUS)) as metering:
        cell = for_device(metering, "cuda", "nvidia")
        with Recorder(cell.metering.meters) as recorder:
            start_s = recorder.begin()
            recorder.list_processes()
            end_s = recorder.end()
            recorder.list_processes()
            (own,) = recorder.conditions(start_s, end_s)
    assert own.foreign_pids == foreign


@pytest.mark.alone
@pytest.mark.skipif(not nvml.has_compiler(), reason="no C compiler")
def test_a_superchip_counts_once(tmp_path: Path, library: Path) -> None:
    settings = {"scopes": 2, "module_extra_w": 110, "module_counter": 1, "tick_s": 0.02}
    fake = nvml.FakeNvml(tmp_path / "gpu", library, low_w=90, **settings)
    tree = Powercap(tmp_path / "sys")
    tree.add("intel-rapl:0", "package-0")
    curves = {"intel-rapl:0": PowerCurve(40.0)}
    options = MeterOptions(environ=tree.environment())
    with fake.installed(), tree.running(curves), open_meters(["nvml", "rapl"], options) as metering:
        cell = for_device(metering, "cuda", "nvidia")
        with Recorder(cell.metering.meters) as recorder:
            start_s = recorder.begin()
            recorder.settle(start_s + 1.0, 2.0)
            end_s = recorder.end()
            module, package = recorder.energy(start_s, end_s)
    assert (module.domain, module.source, module.counts) == (
        "gpu-0-module",
        EnergySource.COUNTER,
        True,
    )
    assert module.energy_j == pytest.approx(200.0 * (end_s - start_s), rel=5e-3)
    assert module.disagreement == pytest.approx(0.0, abs=0.01)
    assert (package.domain, package.counts) == ("package-0", False)
    with fake.installed(), open_meters(["auto"], options) as metering:
        assert [meter.name for meter in metering.meters] == ["nvml"]
        assert "nvml reads the CPU" in metering.absent["estimate"]


@pytest.mark.alone
@pytest.mark.skipif(not nvml.has_compiler(), reason="no C compiler")
def test_a_counter_of_the_module_is_not_taken_for_that_of_the_gpu(
    tmp_path: Path, library: Path
) -> None:
    settings = {"scopes": 3, "module_extra_w": 110, "tick_s": 0.02}
    fake = nvml.FakeNvml(tmp_path / "gpu", library, low_w=90, **settings)
    with fake.installed():
        for of_module, source in ((1, EnergySource.INTEGRATED), (0, EnergySource.COUNTER)):
            fake.set(module_counter=of_module)
            with NvmlMeter.open(MeterOptions(environ={})) as meter:
                (domain,) = meter.domains
                assert (domain.name, domain.part, domain.source) == ("gpu-0", "gpu", source)
                assert meter.read()["gpu-0"].power_w == pytest.approx(90.0)
