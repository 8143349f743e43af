"""Simulated GPUs: compiles ``nvml.c`` and puts it in the place of ``libnvidia-ml.so.1``.

library = build(tmp_path)                       # once
with FakeNvml(tmp_path / "gpu", library, low_w=200) as gpu:
    env = os.environ | gpu.environment()        # for a child process
    with gpu.installed():                       # for this process
        ...
        gpu.set(low_w=300)                      # while it is read
"""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias
from unittest import mock

from tests.fakes.powercap_curve import PowerCurve

_SOURCE = Path(__file__).with_suffix(".c")
LIBRARY = "libnvidia-ml.so.1"
CONFIG_VARIABLE = "GB_FAKE_NVML"
DEFAULT_POWER_W = 200.0
_Setting: TypeAlias = float | str | list[int]


def has_compiler() -> bool:
    """Tell whether a C compiler is there to build the library."""
    return shutil.which("cc") is not None


def build(folder: Path) -> Path:
    """Compile the library into ``folder``; return its path.

    It has no SONAME: loaded by its path into a test's process it must not answer later for the
    real library.
    """
    folder.mkdir(parents=True, exist_ok=True)
    library = folder / LIBRARY
    command = ["cc", "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-pthread"]
    subprocess.run([*command, "-o", str(library), str(_SOURCE), "-lm"], check=True)
    return library


class FakeNvml:
    """One simulated machine: a file of settings that the library reads at each call.

    Args:
        folder: Where the file goes; made when needed.
        library: What `build` returned.
        settings: Keys of ``nvml.c``: ``devices``, ``low_w``, ``high_w``, ``period_s``, ``shape``
            and ``seed`` (see `PowerCurve`), ``tick_s``, ``counter``, ``counter_lag_s``, ``power``,
            ``power_period_s``, ``power_window_s``, ``gain``, ``call_s``, ``lost_from_s``,
            ``lost_to_s``, ``blocked_from_s``, ``blocked_to_s``, ``frozen_from_s``,
            ``frozen_to_s``, ``instant``, ``mig``, ``counter_offset_j``, ``init_error``,
            ``architecture``, ``capability`` (80 is 8.0), ``temperature_c``, ``clock_mhz``,
            ``reasons``, ``memory_bytes``, ``power_limit_w``, ``pid`` (a list), ``process_list``.
            Of every device, or with ``_N`` of device N: ``name`` (``_`` for a space), ``scopes``
            (1: the GPU's power, 2: the module's, 3: both), ``module_extra_w``, ``module_counter``,
            ``utilization``, ``memory_utilization``, ``own_pid``, ``own_reasons``,
            ``own_temperature_c``, ``mig``, ``mps_client`` and ``mps_server`` (a process id).
    """

    def __init__(self, folder: Path, library: Path, **settings: _Setting) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.library = library
        self.path = folder / "fake-nvml.txt"
        self._settings: dict[str, _Setting] = {"low_w": DEFAULT_POWER_W}
        self.set(**settings)

    def set(self, **settings: _Setting) -> None:
        """Change settings; the next call of the library sees all of them at once."""
        self._settings |= settings
        lines = [
            f"{key} {one}\n"
            for key, value in self._settings.items()
            for one in (value if isinstance(value, list) else [value])
        ]
        fresh = self.path.with_suffix(".new")
        fresh.write_text("".join(lines))
        fresh.replace(self.path)

    @property
    def curve(self) -> PowerCurve:
        """The power of device 0 as it is set now."""
        fields = ("low_w", "high_w", "period_s", "shape", "seed")
        known: dict[str, Any] = {k: self._settings[k] for k in fields if k in self._settings}
        return PowerCurve(**known)

    def environment(self) -> dict[str, str]:
        """Return the variables that make a child process see this machine."""
        paths = [str(self.library.parent), os.environ.get("LD_LIBRARY_PATH", "")]
        return {
            "LD_LIBRARY_PATH": ":".join(path for path in paths if path),
            CONFIG_VARIABLE: str(self.path),
        }

    @contextmanager
    def installed(self) -> Iterator[ctypes.CDLL]:
        """Make pynvml in this process use the library, and undo it at the end.

        ``LD_LIBRARY_PATH`` is read when a process starts, so the loaded library is set instead.
        """
        library = ctypes.CDLL(str(self.library))
        with mock.patch.dict(os.environ, {CONFIG_VARIABLE: str(self.path)}), _pynvml_uses(library):
            os.environ.pop("CUDA_VISIBLE_DEVICES", None)
            yield library


@contextmanager
def no_library() -> Iterator[None]:
    """Make pynvml in this process find no ``libnvidia-ml.so.1``."""
    import pynvml

    with _pynvml_uses(None), mock.patch.object(pynvml, "CDLL", side_effect=OSError("no library")):
        yield


@contextmanager
def _pynvml_uses(library: ctypes.CDLL | None) -> Iterator[None]:
    import pynvml

    pointers = pynvml._nvmlGetFunctionPointer_cache
    with mock.patch.object(pynvml, "nvmlLib", library), mock.patch.dict(pointers, clear=True):
        yield
