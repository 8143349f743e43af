"""``greenbatch.Meter`` around code: blocks, windows, functions."""

from collections.abc import Iterator
from pathlib import Path
from time import perf_counter, sleep

import pytest

import greenbatch
from greenbatch.errors import MeterUnavailable, UnknownNameError, UsageError
from tests.fakes import nvml

pytestmark = [
    pytest.mark.skipif(not nvml.has_compiler(), reason="no C compiler"),
    pytest.mark.alone,
]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nvml.build(tmp_path_factory.mktemp("nvml"))


@pytest.fixture(autouse=True)
def gpu(tmp_path: Path, library: Path) -> Iterator[nvml.FakeNvml]:
    fake = nvml.FakeNvml(tmp_path, library, tick_s=0.02)
    with fake.installed() as loaded:
        yield fake
        assert loaded.fake_initialized() == 0, "a meter was left open"


def _meter(**options: object) -> greenbatch.Meter:
    return greenbatch.Meter("nvml", **options)  # type: ignore[arg-type]


def test_a_block_and_the_windows_in_it_are_measured_apart() -> None:
    with _meter() as meter:
        with meter.window("first") as first:
            sleep(0.5)
        sleep(0.2)
        with meter.window("second") as second:
            sleep(0.3)
    for window, least_s in ((first, 0.5), (second, 0.3)):
        measurement = window.measurement
        assert measurement.duration_s == pytest.approx(least_s, abs=0.1)
        truth_j = 200 * measurement.duration_s
        assert window.energy_j is not None
        assert abs(window.energy_j - truth_j) <= (measurement.total.uncertainty_j or 0.0)
    assert (first.name, second.name) == ("first", "second")
    whole = meter.measurement
    assert whole.duration_s >= 1.0
    assert whole.energy_j == pytest.approx(200 * whole.duration_s, rel=0.02)
    assert whole.domains[0].source == "counter"


def test_a_window_does_not_wait_for_the_meter_and_can_be_read_inside_the_block() -> None:
    with _meter() as meter:
        began_s = perf_counter()
        for _ in range(20):
            with meter.window():
                pass
        assert perf_counter() - began_s < 20 * 0.02, "each window waited for a tick"
        with meter.window() as window:
            sleep(0.2)
        assert window.energy_j == pytest.approx(40, rel=0.25)


def test_each_call_of_a_decorated_function_is_a_measurement_and_its_value_is_kept() -> None:
    seen: list[greenbatch.Measurement] = []

    @_meter(on_measured=seen.append)
    def work(seconds: float) -> float:
        """Sleep."""
        sleep(seconds)
        return seconds

    assert work(0.2) == 0.2
    assert work(0.4) == 0.4
    assert work.__doc__ == "Sleep."
    first, second = seen
    assert first.energy_j == pytest.approx(200 * first.duration_s, rel=0.2)
    assert second.energy_j == pytest.approx(200 * second.duration_s, rel=0.1)


def test_a_block_that_fails_is_measured_and_its_error_goes_on() -> None:
    meter = _meter()

    def fail() -> None:
        sleep(0.2)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), meter:
        fail()
    assert meter.energy_j == pytest.approx(200 * meter.measurement.duration_s, rel=0.2)


def test_a_gpu_that_is_lost_leaves_no_energy_but_a_reason(gpu: nvml.FakeNvml) -> None:
    with _meter() as meter:
        gpu.set(lost_from_s=0)
        sleep(0.2)
    assert meter.energy_j is None
    assert "GPU is lost" in str(meter.measurement.total.reason)
    assert meter.measurement.as_dict()["domains"][0]["source"] is None


def test_wrong_use_is_one_sentence() -> None:
    meter = _meter()
    with pytest.raises(UsageError, match="nothing was measured yet"):
        _ = meter.measurement
    with pytest.raises(UsageError, match="measures a part of a"), meter.window():
        pass
    with meter:
        with pytest.raises(UsageError, match="this meter is in use"):
            meter.__enter__()
        with (
            meter.window() as window,
            pytest.raises(UsageError, match="this window has not ended"),
        ):
            _ = window.measurement
    with pytest.raises(UnknownNameError, match="unknown meter 'nvlm'"), greenbatch.Meter("nvlm"):
        pass
    with pytest.raises(UsageError, match=r"interval_s is -1; wanted more than 0 s"):
        greenbatch.Meter(interval_s=-1)


def test_a_meter_that_cannot_be_read_is_an_error_on_entering(gpu: nvml.FakeNvml) -> None:
    gpu.set(init_error=9)
    with pytest.raises(MeterUnavailable, match="Driver Not Loaded"), _meter():
        pass


def test_the_measurement_can_carry_what_was_read() -> None:
    with _meter(keep_trace=True, interval_s=0.01) as meter:
        sleep(0.3)
    trace = meter.measurement.trace
    assert len(trace["gpu-0_t_s"]) >= 20
    assert trace["gpu-0_power_w"] == pytest.approx(200)
