"""A simulated package zeus: the modules, names and signatures that the adapters use.

`tests/unit/runners/metering/adapters/test_zeus_devices.py` compares them with the real package
where it is installed.
"""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any
from unittest import mock


class ZeusGPUNotSupportedError(Exception):
    """zeus.device.gpu.common: the device does not tell."""


class AMDGPU:
    """zeus.device.gpu.amd: one GPU, at a constant power."""

    def __init__(self, gpu_index: int) -> None:
        self.gpu_index = gpu_index
        self.model = "AMD Instinct MI300X"
        self.power_w = 0.0
        self.counter = self.instant = self.average = True
        self.fault: Exception | None = None

    def get_name(self) -> str:
        """Return the model's name."""
        return self.model

    def supports_get_total_energy_consumption(self) -> bool:
        """Tell whether there is a counter."""
        return self.counter

    def get_total_energy_consumption(self) -> int:
        """Return the energy in mJ."""
        self._check(self.counter)
        return int(self.power_w * time.perf_counter() * 1e3)

    def get_instant_power_usage(self) -> int:
        """Return the power in mW."""
        self._check(self.instant)
        return int(self.power_w * 1e3)

    def get_average_power_usage(self) -> int:
        """Return the power in mW."""
        self._check(self.average)
        return int(self.power_w * 1e3)

    def _check(self, supported: bool) -> None:
        if self.fault:
            raise self.fault
        if not supported:
            raise ZeusGPUNotSupportedError("not supported on this AMD GPU")


@dataclass
class AppleSiliconMeasurement:
    """zeus.device.soc.apple: cumulative energy in mJ; ``None``: this chip does not tell."""

    cpu_total_mj: int | None = None
    efficiency_cores_mj: list[int] | None = None
    performance_cores_mj: list[int] | None = None
    efficiency_cluster_mj: list[int] | None = None
    performance_cluster_mj: list[int] | None = None
    efficiency_core_manager_mj: int | None = None
    performance_core_manager_mj: int | None = None
    dram_mj: int | None = None
    gpu_mj: int | None = None
    gpu_sram_mj: int | None = None
    ane_mj: int | None = None


class Rail:
    """zeus.device.soc.jetson.PowerMeasurementStrategy: one rail."""

    def __init__(self, power_w: float) -> None:
        self.power_w = power_w
        self.fault: Exception | None = None

    def measure_power(self) -> float:
        """Return the power in mW."""
        if self.fault:
            raise self.fault
        return self.power_w * 1e3


@contextmanager
def amd(gpus: Sequence[AMDGPU], available: bool = True) -> Iterator[list[str]]:
    """Install ``zeus.device.gpu.amd``; yields what happens to AMD SMI."""
    events: list[str] = []

    class AMDGPUs:
        def __init__(self, ensure_homogeneous: bool = False) -> None:
            events.append("init")
            self._gpus = gpus

        @property
        def gpus(self) -> Sequence[AMDGPU]:
            return self._gpus

        def __del__(self) -> None:
            events.append("shut down")

    with _installed("zeus.device.gpu.amd", AMDGPUs=AMDGPUs, amdsmi_is_available=lambda: available):
        yield events


@contextmanager
def apple(measure: Callable[[], AppleSiliconMeasurement]) -> Iterator[None]:
    """Install ``zeus.device.soc.apple`` and ``zeus_apple_silicon``."""

    class AppleSilicon:
        def get_total_energy_consumption(self) -> AppleSiliconMeasurement:
            return measure()

    with (
        _installed("zeus_apple_silicon"),
        _installed("zeus.device.soc.apple", AppleSilicon=AppleSilicon),
    ):
        yield


@contextmanager
def jetson(rails: dict[str, Rail]) -> Iterator[list[str]]:
    """Install ``zeus.device.soc.jetson``; yields what happens to its polling process."""
    events: list[str] = []

    class Process:
        def terminate(self) -> None:
            events.append("terminated")

        def join(self) -> None:
            events.append("joined")

    class Jetson:
        def __init__(self) -> None:
            self.power_measurement = rails
            self.process = Process()

    with _installed("zeus.device.soc.jetson", Jetson=Jetson):
        yield events


@contextmanager
def _installed(name: str, **members: Any) -> Iterator[None]:
    """Put a module and the packages around it in place of what may be installed."""
    modules: dict[str, ModuleType] = {}
    parts = name.split(".")
    for depth in range(1, len(parts) + 1):
        whole = ".".join(parts[:depth])
        module = ModuleType(whole)
        module.__spec__ = ModuleSpec(whole, None, is_package=depth < len(parts))
        module.__path__ = []
        modules[whole] = module
    vars(modules[name]).update(members)
    with mock.patch.dict(sys.modules, modules):
        yield
