"""The truth that meters are tested against: a curve's integral, in Python and in C."""

import time
from pathlib import Path

import numpy as np
import pynvml
import pytest
import scipy.integrate

from tests.fakes import nvml
from tests.fakes.powercap_curve import PowerCurve

pytestmark = pytest.mark.alone


CURVES = [
    PowerCurve(200.0),
    PowerCurve(100.0, 300.0, 0.37),
    PowerCurve(100.0, 300.0, 0.37, "ramp"),
    PowerCurve(100.0, 300.0, 1.3, "walk", seed=7),
    PowerCurve(100.0, 300.0, 1.3, "walk", seed=8),
]


@pytest.mark.parametrize("curve", CURVES)
def test_energy_is_the_integral_of_power(curve: PowerCurve) -> None:
    t_s = np.linspace(1.234, 4.321, 200_001)
    power_w = [curve.power_w(t) for t in t_s]
    whole_j = scipy.integrate.trapezoid(power_w, t_s)
    assert curve.energy_j(t_s[0], t_s[-1]) == pytest.approx(whole_j, rel=2e-5)


@pytest.mark.parametrize("curve", CURVES[1:])
def test_power_stays_within_its_limits_and_reaches_far(curve: PowerCurve) -> None:
    power_w = np.array([curve.power_w(t) for t in np.linspace(0.0, 5.0, 5000)])
    assert power_w.min() >= 100.0
    assert power_w.max() <= 300.0
    assert np.ptp(power_w) > 120.0


def test_walks_of_two_seeds_differ_and_repeat_by_their_period() -> None:
    first, second = CURVES[3], CURVES[4]
    assert first.energy_j(0.2, 0.5) != pytest.approx(second.energy_j(0.2, 0.5), rel=1e-3)
    assert first.energy_j(0.2, 0.5) == pytest.approx(first.energy_j(0.2 + 1.3, 0.5 + 1.3))


@pytest.mark.skipif(not nvml.has_compiler(), reason="no C compiler")
@pytest.mark.parametrize("curve", CURVES)
def test_the_simulated_gpu_draws_the_same_curve(tmp_path: Path, curve: PowerCurve) -> None:
    settings = {key: value for key, value in vars(curve).items() if value}
    gpu = nvml.FakeNvml(tmp_path, nvml.build(tmp_path / "lib"), tick_s=1e-6, **settings)
    assert gpu.curve == curve
    slope_w = 0.0 if not curve.period_s else 200.0 * 64 / curve.period_s
    with gpu.installed():
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
        begun_j = None
        for _ in range(40):
            before_s = time.perf_counter()
            counted_j = pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3
            after_s = time.perf_counter()
            stated_w = pynvml.nvmlDeviceGetPowerUsage(handle) / 1e3
            last_s = time.perf_counter()
            within_w = {curve.power_w(t) for t in np.linspace(after_s, last_s, 20)}
            slack_w = slope_w * (last_s - after_s) / 10 + 1e-3
            assert min(within_w) - slack_w <= stated_w <= max(within_w) + slack_w
            if begun_j is None:
                begun_j, begun_s, jitter_s = counted_j, after_s, after_s - before_s
            truth_j = curve.energy_j(begun_s, after_s)
            slack_j = 300.0 * (jitter_s + after_s - before_s) + 3e-3
            assert counted_j - begun_j == pytest.approx(truth_j, abs=slack_j)
            time.sleep(0.01)
        pynvml.nvmlShutdown()
