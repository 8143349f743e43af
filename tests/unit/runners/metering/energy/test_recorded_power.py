"""On real GPUs, beside a power analyser: the truth lies in the stated band, which is no wider."""

import numpy as np
import pytest

from benchmarks.recorded_power import RECORDINGS, SOURCES, WINDOWS_S
from greenbatch.records import EnergySource
from tests.fakes.recorded_gpu import Recording, Replay, Source

pytestmark = [pytest.mark.slow, pytest.mark.numeric]
WINDOWS = 300
NO_WIDER = 2.5  # than the error of 95 % of the windows


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", RECORDINGS)
def test_the_analysers_energy_is_in_the_band_of_95_percent_of_windows(
    name: str, source: Source
) -> None:
    recording = Recording.load(name)
    replay = Replay.of(recording, source)
    for window_s in WINDOWS_S:
        errors_j, bands_j, commons_j = [], [], []
        for t0_s, t1_s in recording.windows(window_s, WINDOWS, seed=1):
            figure = replay.energy(t0_s, t1_s)
            assert figure.source is EnergySource.INTEGRATED
            assert figure.energy_j is not None, figure.reason
            assert figure.uncertainty_j is not None
            errors_j.append(abs(figure.energy_j - recording.truth_j(t0_s, t1_s)))
            bands_j.append(figure.uncertainty_j)
            commons_j.append(figure.common_j)
        errors, bands = np.array(errors_j), np.array(bands_j)
        assert np.mean(errors <= bands) >= 0.95, f"{window_s} s"
        assert np.median(bands) <= NO_WIDER * np.percentile(errors, 95), f"{window_s} s"
        assert np.all(np.array(commons_j) <= bands)


def test_a_ratio_of_windows_by_one_sensor_does_not_have_its_calibration() -> None:
    recording = Recording.load("a100-step")
    replay = Replay.of(recording, "instant")
    first, second = replay.energy(2.5, 4.5), replay.energy(4.5, 6.5)
    assert first.energy_j is not None
    assert second.energy_j is not None
    assert first.uncertainty_j is not None
    off = first.energy_j / recording.truth_j(2.5, 4.5) - 1
    ratio = (first.energy_j / second.energy_j) / (
        recording.truth_j(2.5, 4.5) / recording.truth_j(4.5, 6.5)
    )
    assert off == pytest.approx(-0.055, abs=0.01)
    assert abs(ratio - 1) < 0.01
    assert abs(off) * first.energy_j < first.common_j
    assert (first.uncertainty_j - first.common_j) / first.energy_j < 0.03
