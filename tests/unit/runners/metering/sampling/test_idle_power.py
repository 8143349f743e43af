"""Idle power of a GPU is taken when it has settled: a simulated one whose power decays."""

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from greenbatch.runners.child import system
from greenbatch.runners.child.messages import Idling, Message, Settled, encode
from greenbatch.runners.metering import MeterOptions, Recorder, open_meters
from greenbatch.runners.metering.sources.nvml import NvmlMeter
from tests.fakes import nvml

pytestmark = [
    pytest.mark.skipif(not nvml.has_compiler(), reason="no C compiler"),
    pytest.mark.alone,
    pytest.mark.slow,
]
IDLE_W, BUSY_W, E_FOLD_S = 100.0, 300.0, 1.5


@pytest.fixture
def gpu(tmp_path: Path) -> Iterator[nvml.FakeNvml]:
    fake = nvml.FakeNvml(tmp_path, nvml.build(tmp_path / "lib"), tick_s=0.1)
    fake.set(architecture=7, capability=86, power_period_s=0.1, power_window_s=0.1)
    with fake.installed():
        yield fake


def _decay(gpu: nvml.FakeNvml, e_fold_s: float) -> None:
    now_s = time.perf_counter()
    gpu.set(low_w=IDLE_W, high_w=BUSY_W, period_s=e_fold_s, shape="decay", seed=now_s)


@pytest.mark.parametrize("counter", [1, 0])
def test_idle_power_begins_when_what_the_load_left_is_gone(
    gpu: nvml.FakeNvml, counter: int
) -> None:
    gpu.set(low_w=BUSY_W, counter=counter)
    with NvmlMeter.open(MeterOptions(environ={})) as meter, Recorder([meter]) as recorder:
        time.sleep(0.5)
        _decay(gpu, E_FOLD_S)
        began_s = time.perf_counter()
        assert recorder.wait_until_idle()
        start_s = time.perf_counter()
        assert gpu.curve.power_w(start_s) <= 1.03 * IDLE_W
        assert start_s - began_s < 10.0
        time.sleep(1.0)
        end_s = recorder.end()
        (figure,) = recorder.idle(start_s, end_s)
    assert figure.power_w == pytest.approx(IDLE_W, rel=0.03)


def test_power_that_never_settles_is_waited_for_no_longer_than_asked(gpu: nvml.FakeNvml) -> None:
    with NvmlMeter.open(MeterOptions(environ={})) as meter, Recorder([meter]) as recorder:
        _decay(gpu, 10.0)
        gpu.set(low_w=0.0)
        began_s = time.perf_counter()
        assert not recorder.wait_until_idle(timeout_s=3.0)
        assert 3.0 <= time.perf_counter() - began_s < 4.0


def test_a_machine_without_a_gpu_waits_for_nothing(tmp_path: Path) -> None:
    with open_meters(["estimate"]) as metering, Recorder(metering.meters) as recorder:
        assert not metering.settles
        began_s = time.perf_counter()
        assert recorder.wait_until_idle()
        assert time.perf_counter() - began_s < 0.5


def test_a_child_idles_from_its_parents_word_on(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Message] = []
    answered_s: list[float] = []

    class Input:
        buffer: "Input"

        def readline(self) -> bytes:
            assert [type(message) for message in sent] == [Idling]
            time.sleep(0.3)
            answered_s.append(time.perf_counter())
            return encode(Settled())

    stdin = Input()
    stdin.buffer = stdin
    monkeypatch.setattr(sys, "stdin", stdin)
    start_s, end_s = system.idle_for(0.1, sent.append)
    assert start_s >= answered_s[0]
    assert end_s - start_s >= 0.1
