"""Trials of backends in their child process: that they run, and every way in which they fail.

A stand-in for ``onnxruntime`` on PYTHONPATH plays the faults.
"""

import os
from pathlib import Path

import pytest

from greenbatch.runners.doctor import backends

pytestmark = pytest.mark.alone


STAND_IN = """
import numpy as np
__version__ = "1.99"
class SessionOptions:
    def add_session_config_entry(self, *_): pass
def get_available_providers(): return ["CPUExecutionProvider"]
class _Node:
    name, op_type, domain = "node_conv", "Conv", ""
class _Part:
    ep_name = PROVIDER
    def get_nodes(self): return [_Node()]
class InferenceSession:
    def __init__(self, *_, **__): START
    def get_provider_graph_assignment_info(self): return [_Part()]
    def run(self, *_): return [np.full((1, 1, 1, 1), RESULT, np.float32)]
"""


def _stand_in(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    provider: str = "CPUExecutionProvider",
    start: str = "pass",
    result: float = 27.0,
) -> None:
    text = STAND_IN.replace("PROVIDER", repr(provider))
    text = text.replace("START", start).replace("RESULT", str(result))
    (folder / "onnxruntime.py").write_text(text)
    monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)


def test_a_backend_that_works_proves_its_placement() -> None:
    state = backends.look("onnxruntime-cpu")
    assert state.usable, state.reason
    assert dict(state.placement) == {"CPUExecutionProvider": 1}
    assert state.version
    assert state.trial_s is not None
    assert state.trial_s > 0


def test_the_stand_in_is_what_the_child_imports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _stand_in(tmp_path, monkeypatch)
    assert backends.look("onnxruntime-cpu").usable
    reason = backends.look("onnxruntime-cuda").reason
    assert reason is not None
    assert "onnxruntime 1.99 was built without CUDAExecutionProvider" in reason


@pytest.mark.parametrize(
    ("faults", "sentence"),
    [
        (
            {"provider": "OtherExecutionProvider"},
            "(1 of 1 to OtherExecutionProvider: Conv 'node_conv'); ",
        ),
        ({"result": 26.0}, "a convolution of ones gave 26, wanted 27; "),
        ({"start": "raise RuntimeError('no kernel for this CPU')"}, "no kernel for this CPU"),
        ({"start": "import os; os.abort()"}, "the process was killed by SIGABRT"),
    ],
)
def test_a_backend_that_fails_its_trial_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, faults: dict[str, object], sentence: str
) -> None:
    _stand_in(tmp_path, monkeypatch, **faults)  # type: ignore[arg-type]
    state = backends.look("onnxruntime-cpu")
    assert not state.usable
    assert sentence in str(state.reason)
    assert state.placement == {}


def test_a_runtime_that_cannot_be_imported_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "onnxruntime.py").write_text("raise ImportError('libstdc++.so.6 is too old')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    reason = str(backends.look("onnxruntime-cpu").reason)
    assert "cannot be imported (libstdc++.so.6 is too old); install onnxruntime again" in reason


def test_a_trial_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _stand_in(tmp_path, monkeypatch, start="import time; time.sleep(100)")
    reason = str(backends.look("onnxruntime-cpu", timeout_s=1.5).reason)
    assert reason.startswith("its trial did not end within 1.5 s; ")
