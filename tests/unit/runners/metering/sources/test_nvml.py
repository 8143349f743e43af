"""The NVML meter against a simulated driver with a known power."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenbatch.errors import MeterUnavailable, UsageError
from greenbatch.records import EnergyFigure, EnergySource
from greenbatch.runners.metering import MeterOptions, Recorder, open_meters
from greenbatch.runners.metering.counting import for_device
from greenbatch.runners.metering.sources.nvml import NvmlMeter
from greenbatch.runners.metering.sources.nvml_library import visible_devices
from tests.fakes import nvml

pytestmark = [
    pytest.mark.skipif(not nvml.has_compiler(), reason="no C compiler"),
    pytest.mark.alone,
]
OPTIONS = MeterOptions(environ={})


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nvml.build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture
def gpu(tmp_path: Path, library: Path) -> Iterator[nvml.FakeNvml]:
    fake = nvml.FakeNvml(tmp_path, library, tick_s=0.02)
    with fake.installed() as loaded:
        yield fake
        assert loaded.fake_initialized() == 0, "nvmlInit without nvmlShutdown"


def _record(meter: NvmlMeter, window_s: float) -> tuple[EnergyFigure, float, float]:
    with Recorder([meter]) as recorder:
        t0_s = recorder.begin()
        time.sleep(window_s)
        t1_s = recorder.end()
        (figure,) = recorder.energy(t0_s, t1_s)
    return figure, t0_s, t1_s


def test_a_constant_200_w_is_measured_within_half_a_percent(gpu: nvml.FakeNvml) -> None:
    gpu.set(tick_s=0.1)
    with NvmlMeter.open(OPTIONS) as meter:
        assert meter.tick_s == pytest.approx(0.1, rel=0.2)
        figure, t0_s, t1_s = _record(meter, 2.0)
    truth_j = 200.0 * (t1_s - t0_s)
    assert figure.source is EnergySource.COUNTER
    assert figure.energy_j == pytest.approx(truth_j, rel=5e-3)
    assert figure.energy_j is not None
    assert figure.uncertainty_j is not None
    assert abs(figure.energy_j - truth_j) <= figure.uncertainty_j
    assert figure.power_max_w == pytest.approx(200.0, rel=5e-3)
    assert figure.other_source is EnergySource.INTEGRATED
    assert figure.other_energy_j == pytest.approx(truth_j, rel=5e-3)


def test_a_square_wave_is_measured_within_the_stated_band(gpu: nvml.FakeNvml) -> None:
    gpu.set(low_w=100.0, high_w=300.0, period_s=0.37, tick_s=0.05, architecture=7, capability=86)
    with NvmlMeter.open(OPTIONS) as meter:
        figure, t0_s, t1_s = _record(meter, 1.1)
    truth_j = gpu.curve.energy_j(t0_s, t1_s)
    assert figure.energy_j is not None
    assert figure.uncertainty_j is not None
    assert abs(figure.energy_j - truth_j) <= figure.uncertainty_j
    assert figure.uncertainty_j - figure.common_j < 0.25 * truth_j
    assert figure.power_max_w == pytest.approx(300.0, rel=5e-3)


def test_without_a_counter_power_is_integrated(gpu: nvml.FakeNvml) -> None:
    gpu.set(counter=0, low_w=100.0, high_w=300.0, period_s=0.37, architecture=5)
    with NvmlMeter.open(OPTIONS) as meter:
        figure, t0_s, t1_s = _record(meter, 0.8)
    truth_j = gpu.curve.energy_j(t0_s, t1_s)
    assert figure.source is EnergySource.INTEGRATED
    assert figure.energy_j is not None
    assert figure.uncertainty_j is not None
    assert abs(figure.energy_j - truth_j) <= figure.uncertainty_j
    assert figure.other_source is None


def test_power_at_this_instant_is_preferred_to_the_average(gpu: nvml.FakeNvml) -> None:
    gpu.set(power=0, counter=0)
    with NvmlMeter.open(OPTIONS) as meter:
        assert meter.domains[0].lag_s < 0.2
        assert meter.read()["gpu-0"].power_w == pytest.approx(200.0)


def test_power_that_a_newer_card_averages_over_a_second_has_a_wider_band(
    gpu: nvml.FakeNvml,
) -> None:
    gpu.set(architecture=9, instant=0)
    with NvmlMeter.open(OPTIONS) as newer:
        assert newer.domains[0].lag_s > 1.0
    gpu.set(architecture=5)
    with NvmlMeter.open(OPTIONS) as older:
        assert older.domains[0].lag_s < 0.2


def test_a_lost_gpu_is_missing_with_the_reason(gpu: nvml.FakeNvml) -> None:
    with NvmlMeter.open(OPTIONS) as meter:
        gpu.set(lost_from_s=time.perf_counter() + 0.4)
        figure, *_ = _record(meter, 0.6)
    assert figure.source is EnergySource.MISSING
    assert figure.energy_j is None
    assert figure.reason == (
        "gpu-0: cannot read NVML: GPU is lost; the GPU fell off its bus: restart the machine"
    )


def test_each_visible_gpu_is_a_domain_of_its_own(gpu: nvml.FakeNvml) -> None:
    gpu.set(devices=3)
    options = MeterOptions(environ={"CUDA_VISIBLE_DEVICES": "2,0"})
    with NvmlMeter.open(options) as meter, Recorder([meter]) as recorder:
        assert [domain.name for domain in meter.domains] == ["gpu-2", "gpu-0"]
        assert "GPU-00000002" in meter.domains[0].device
        time.sleep(0.1)
        t0_s = time.perf_counter()
        time.sleep(0.5)
        t1_s = time.perf_counter()
        recorder.settle(t1_s)
        third, first = recorder.energy(t0_s, t1_s)
    assert third.power_mean_w == pytest.approx(600.0, rel=0.05)
    assert first.power_mean_w == pytest.approx(200.0, rel=0.05)


def test_conditions_name_throttling_and_leave_idle_and_user_clocks_out(gpu: nvml.FakeNvml) -> None:
    gpu.set(reasons=0x1 | 0x2 | 0x4 | 0x40, temperature_c=71, clock_mhz=1410, pid=[12, 34])
    gpu.set(power_limit_w=650, utilization=97)
    with NvmlMeter.open(OPTIONS) as meter:
        state = meter.conditions()["gpu-0"]
    assert state.throttle_reasons == ("hw_thermal_slowdown",)
    assert state.power_capped is True
    assert state.utilization == pytest.approx(0.97)
    assert state.memory_utilization == 0.5
    assert state.temperature_c == 71.0
    assert state.clock_hz == 1.41e9
    assert state.memory_clock_hz == 2.619e9
    assert state.power_limit_w == 650.0
    assert state.memory_bytes == 1 << 30
    with NvmlMeter.open(OPTIONS) as meter:
        assert meter.processes()["gpu-0"].pids == (12, 34)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (9, "cannot read NVML: Driver Not Loaded; load the NVIDIA driver"),
        (4, "give this user access to /dev/nvidia*"),
        (18, "restart the machine: the driver was updated"),
    ],
)
def test_a_driver_that_cannot_be_used_says_why(gpu: nvml.FakeNvml, code: int, words: str) -> None:
    gpu.set(init_error=code)
    with pytest.raises(MeterUnavailable) as caught:
        NvmlMeter.open(OPTIONS)
    assert words in str(caught.value)
    assert "--meter estimate" in str(caught.value)


def test_a_gpu_that_tells_nothing_is_refused(gpu: nvml.FakeNvml) -> None:
    gpu.set(counter=0, power=0, instant=0)
    with pytest.raises(MeterUnavailable, match="neither energy nor power") as caught:
        NvmlMeter.open(OPTIONS)
    assert "as virtual GPUs do" in str(caught.value)


def test_a_mig_instance_is_missing_with_the_reason_beside_its_whole_card(
    gpu: nvml.FakeNvml,
) -> None:
    gpu.set(devices=2, mig=1)
    name = "MIG-00000001-0000-0000-0000-000000000000"
    with (
        NvmlMeter.open(MeterOptions(environ={"CUDA_VISIBLE_DEVICES": name})) as meter,
        Recorder([meter]) as recorder,
    ):
        start_s = recorder.begin()
        time.sleep(0.3)
        end_s = recorder.end()
        instance, card = recorder.energy(start_s, end_s)
    assert (card.domain, card.counts) == ("gpu-1", False)
    assert card.energy_j == pytest.approx(400.0 * (end_s - start_s), rel=0.05)
    assert "MIG is on: this is the whole card" in str(card.reason)
    assert (instance.domain, instance.counts) == ("gpu-1-mig-0", True)
    assert instance.source is EnergySource.MISSING
    assert f"MIG instance '{name}'" in str(instance.reason)


@pytest.mark.parametrize(
    "environ", [{}, {"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}]
)
def test_with_mig_on_and_no_instance_named_the_whole_card_does_not_count(
    gpu: nvml.FakeNvml, environ: dict[str, str]
) -> None:
    gpu.set(mig=1)
    with NvmlMeter.open(MeterOptions(environ=environ)) as meter, Recorder([meter]) as recorder:
        start_s = recorder.begin()
        end_s = recorder.end()
        instance, card = recorder.energy(start_s, end_s + 0.01)
    assert (card.domain, card.counts) == ("gpu-0", False)
    assert (instance.domain, instance.counts) == ("gpu-0-mig", True)
    assert instance.source is EnergySource.MISSING
    assert "MIG is on for GPU 0" in str(instance.reason)


def test_a_power_limit_at_full_load_is_no_throttling(gpu: nvml.FakeNvml) -> None:
    for reasons, throttled, capped in (
        (0x04, (), True),
        (0x10, (), False),
        (0x04 | 0x80, ("hw_power_brake_slowdown",), True),
        (0x08 | 0x20, ("hw_slowdown", "sw_thermal_slowdown"), False),
    ):
        gpu.set(reasons=reasons)
        with NvmlMeter.open(OPTIONS) as meter:
            state = meter.conditions()["gpu-0"]
        assert (state.throttle_reasons, state.power_capped) == (throttled, capped)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"counter": 0, "low_w": 0}, "states a power of 0 W"),
        ({"counter": 0, "low_w": 0, "instant": 0}, "states a power of 0 W"),
        ({"low_w": 0}, "its energy counter stands still, and the driver states a power of 0 W"),
    ],
)
def test_a_gpu_that_states_no_power_is_missing_not_0_j(
    gpu: nvml.FakeNvml, settings: dict[str, float], words: str
) -> None:
    gpu.set(**settings)
    with NvmlMeter.open(OPTIONS) as meter:
        figure, *_ = _record(meter, 0.3)
    assert (figure.source, figure.energy_j) == (EnergySource.MISSING, None)
    assert words in str(figure.reason)


def test_a_counter_that_runs_beside_a_power_of_0_w_is_read(
    gpu: nvml.FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("greenbatch.runners.metering.sources.nvml.power_w", lambda *_, **__: 0.0)
    with NvmlMeter.open(OPTIONS) as meter:
        figure, t0_s, t1_s = _record(meter, 0.5)
    assert figure.source is EnergySource.COUNTER
    assert figure.energy_j == pytest.approx(200.0 * (t1_s - t0_s), rel=0.02)
    assert figure.other_source is None


def test_a_counter_that_never_ticks_gives_way_to_the_power(gpu: nvml.FakeNvml) -> None:
    gpu.set(frozen_from_s=0.0, frozen_to_s=1e12)
    with NvmlMeter.open(OPTIONS) as meter:
        figure, t0_s, t1_s = _record(meter, 0.5)
    assert figure.source is EnergySource.INTEGRATED
    assert figure.energy_j == pytest.approx(200.0 * (t1_s - t0_s), rel=0.02)
    assert "the counter failed" in str(figure.reason)


def test_clients_of_mps_are_listed_and_its_server_is_not(gpu: nvml.FakeNvml) -> None:
    gpu.set(pid=[77], mps_client=4242, mps_server=77)
    with NvmlMeter.open(OPTIONS) as meter:
        assert meter.processes()["gpu-0"].pids == (4242,)
        gpu.set(mps_client=0)
        assert meter.processes()["gpu-0"].pids == (77,)


def test_a_mig_instance_that_is_not_there_is_refused(gpu: nvml.FakeNvml) -> None:
    options = MeterOptions(environ={"CUDA_VISIBLE_DEVICES": "MIG-00000007-0000"})
    with pytest.raises(MeterUnavailable, match=r"MIG-00000007-0000.*'nvidia-smi -L'"):
        NvmlMeter.open(options)


def test_a_machine_that_hides_its_gpus_has_none_to_meter(gpu: nvml.FakeNvml) -> None:
    with pytest.raises(MeterUnavailable, match="CUDA_VISIBLE_DEVICES='' hides all"):
        NvmlMeter.open(MeterOptions(environ={"CUDA_VISIBLE_DEVICES": ""}))
    gpu.set(devices=0)
    with pytest.raises(MeterUnavailable, match="NVML lists no GPU"):
        NvmlMeter.open(OPTIONS)


def test_without_the_library_the_meter_is_absent_with_a_reason(tmp_path: Path) -> None:
    with nvml.no_library():
        with pytest.raises(MeterUnavailable, match="install the NVIDIA driver"):
            open_meters(["nvml"])
        with open_meters(["auto"], MeterOptions(environ={"GB_SYSFS": str(tmp_path)})) as metering:
            assert [meter.name for meter in metering.meters] == ["estimate"]
            assert "NVML Shared Library Not Found" in metering.absent["nvml"]


def test_visible_devices_are_chosen_as_cuda_does() -> None:
    uuids = ["GPU-aa11", "GPU-bb22", "GPU-bb33"]
    assert visible_devices(None, uuids) == [0, 1, 2]
    assert visible_devices("", uuids) == []
    assert visible_devices("2,0", uuids) == [2, 0]
    assert visible_devices("1,-1,0", uuids) == [1]
    assert visible_devices("1,7,0", uuids) == [1]
    assert visible_devices("GPU-bb2,GPU-aa", uuids) == [1, 0]
    assert visible_devices("GPU-bb", uuids) == []
    assert visible_devices("MIG-1,0", uuids) == ["MIG-1", 0]
    assert visible_devices("1gpu,+2, 0", uuids) == [1, 2, 0]
    for nothing in ("-1", "NoDevFiles", "none", ",1", "GPU-zz,0", "GPU-"):
        assert visible_devices(nothing, uuids) == [], nothing
    for twice in ("1,1", "0,1,0", "GPU-aa,GPU-aa", "MIG-1,MIG-1"):
        assert visible_devices(twice, uuids) == [], twice


def test_a_gpu_whose_uuid_is_not_known_is_metered_and_not_named_to_cuda(
    gpu: nvml.FakeNvml, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pynvml

    def unknown(_: object) -> str:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)

    monkeypatch.setattr(pynvml, "nvmlDeviceGetUUID", unknown)
    with open_meters(["nvml"], OPTIONS) as metering:
        cell = for_device(metering, "cuda", "nvidia")
        (domain,) = cell.metering.domains
        assert (domain.counts, domain.uuid, domain.device) == (True, "", "Simulated GPU")
        assert cell.environment == {}
    with pytest.raises(MeterUnavailable, match="hides all"):
        NvmlMeter.open(MeterOptions(environ={"CUDA_VISIBLE_DEVICES": "None"}))


def test_a_driver_that_knows_the_older_process_list_alone_lists_processes(
    gpu: nvml.FakeNvml,
) -> None:
    gpu.set(process_list=2, pid=[12, 34])
    with NvmlMeter.open(OPTIONS) as meter:
        assert meter.processes()["gpu-0"].pids == (12, 34)


def test_a_driver_that_knows_no_process_list_leaves_them_unknown_not_none(
    gpu: nvml.FakeNvml,
) -> None:
    gpu.set(process_list=0, pid=[12])
    with NvmlMeter.open(OPTIONS) as meter, Recorder([meter]) as recorder:
        now_s = time.perf_counter()
        (seen,) = recorder.conditions(now_s, now_s + 0.1)
    assert seen.foreign_pids == ()
    assert str(seen.processes_unknown).startswith("cannot list the processes: Function Not Found")
    assert "update the NVIDIA driver" in str(seen.processes_unknown)


@pytest.mark.parametrize("capability", [80, 86])
def test_a_held_and_late_sensor_leaves_the_truth_in_the_band(
    gpu: nvml.FakeNvml, capability: int
) -> None:
    """Power of a part of 100 ms, held; a counter 50 ms late; 4 % less than the truth."""
    window_s = 0.025 if capability == 80 else 0.1
    gpu.set(architecture=7, capability=capability, power_period_s=0.1, power_window_s=window_s)
    gpu.set(tick_s=0.1, counter_lag_s=0.05, gain=0.96, call_s=0.0005)
    gpu.set(low_w=100.0, high_w=300.0, period_s=1.3)
    with NvmlMeter.open(OPTIONS) as meter:
        assert meter.domains[0].refresh_s is None or meter.domains[0].refresh_s > 0.05
        figure, t0_s, t1_s = _record(meter, 1.0)
    truth_j = gpu.curve.energy_j(t0_s, t1_s)
    assert figure.energy_j is not None
    assert figure.uncertainty_j is not None
    assert figure.other_energy_j is not None
    assert abs(figure.energy_j - truth_j) <= figure.uncertainty_j
    assert abs(figure.other_energy_j - truth_j) <= figure.uncertainty_j + figure.common_j
    assert figure.common_j == pytest.approx(0.05 * figure.energy_j + 5.0 * (t1_s - t0_s))


def test_a_mean_over_a_second_never_stands_for_power_at_this_instant(gpu: nvml.FakeNvml) -> None:
    with NvmlMeter.open(OPTIONS) as meter:
        assert meter.read()["gpu-0"].power_w == pytest.approx(200.0)
        gpu.set(instant=0)
        reading = meter.read()["gpu-0"]
    assert reading.power_w is None
    assert reading.energy_j is not None


def test_an_index_that_cuda_and_nvml_count_differently_is_refused(gpu: nvml.FakeNvml) -> None:
    gpu.set(devices=2, name_0="Old_GPU", name_1="New_GPU")
    for environ in (
        {"CUDA_VISIBLE_DEVICES": "0"},
        {"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "FASTEST_FIRST"},
    ):
        with pytest.raises(UsageError, match="CUDA_DEVICE_ORDER=PCI_BUS_ID") as caught:
            NvmlMeter.open(MeterOptions(environ=environ))
        assert "New GPU, Old GPU" in str(caught.value)
        with pytest.raises(UsageError):
            open_meters(["auto"], MeterOptions(environ=environ))
    second = "GPU-00000001"
    for environ, wanted in (
        ({}, ["gpu-0", "gpu-1"]),
        ({"CUDA_VISIBLE_DEVICES": "1,0"}, ["gpu-1", "gpu-0"]),  # both, whichever comes first
        ({"CUDA_VISIBLE_DEVICES": second}, ["gpu-1"]),
        ({"CUDA_VISIBLE_DEVICES": "0", "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}, ["gpu-0"]),
    ):
        with NvmlMeter.open(MeterOptions(environ=environ)) as meter:
            assert [domain.name for domain in meter.domains] == wanted
    gpu.set(name_1="Old_GPU")  # alike: either way of counting goes by bus
    with NvmlMeter.open(MeterOptions(environ={"CUDA_VISIBLE_DEVICES": "1"})) as meter:
        assert [domain.name for domain in meter.domains] == ["gpu-1"]
