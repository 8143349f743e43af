"""What is called of CUDA's driver, for pinned memory and a device's UUID, by a stand-in for it.

Nothing here has run on a GPU.
"""

import ctypes
import uuid
from typing import Any

import pytest

from greenbatch.runners.backends import cuda_driver


class Driver:
    """Stands for libcuda; ``failing`` returns 801.

    Memory is registered once, in a range, as the real one has it.
    """

    def __init__(self, failing: str = "") -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.failing = failing
        self.locked: list[range] = []

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> int:
            self.calls.append((name, *arguments))
            return 801 if name == self.failing else 0

        return call

    def cuMemHostRegister_v2(self, address: Any, size: Any, flags: int) -> int:  # noqa: N802
        self.calls.append(("cuMemHostRegister_v2", address, size, flags))
        if self.failing == "cuMemHostRegister_v2":
            return 801
        wanted = range(address.value, address.value + size.value)
        if any(wanted.start < old.stop and old.start < wanted.stop for old in self.locked):
            return 712
        self.locked.append(wanted)
        return 0

    def cuPointerGetAttribute(self, kind: Any, attribute: int, pointer: Any) -> int:  # noqa: N802
        assert attribute == 2
        known = any(pointer.value in each for each in self.locked)
        kind._obj.value = 1 if known else 0
        return 0 if known else 1


def test_memory_is_pinned_in_the_context_that_runtimes_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver = Driver()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    assert cuda_driver.pin(4096, 100) is None
    names = [call[0] for call in driver.calls]
    assert names.index("cuCtxSetCurrent") < names.index("cuMemHostRegister_v2")
    _, address, size, _flags = driver.calls[-1]
    assert (address.value, size.value) == (4096, 100)


def test_memory_that_cannot_be_pinned_is_told_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver("cuMemHostRegister_v2"))
    assert cuda_driver.pin(4096, 100) == "pageable (cuMemHostRegister_v2 returned 801)"


def test_a_part_of_memory_that_is_pinned_already_is_pinned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver = Driver()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: driver)
    assert cuda_driver.pin(4096, 100) is None
    assert cuda_driver.pin(4096, 100) is None
    assert cuda_driver.pin(4096, 25) is None
    assert cuda_driver.pin(4121, 25) is None
    # But not what reaches beyond it.
    assert cuda_driver.pin(4096, 101) == "pageable (cuMemHostRegister_v2 returned 712)"
    assert cuda_driver.pin(4000, 100) == "pageable (cuMemHostRegister_v2 returned 712)"


UUID = uuid.UUID("1a2b3c4d-0000-1111-2222-333344445555")


class UuidDriver(Driver):
    """Stands for a libcuda with two devices; the thread's context is on ``current``."""

    def __init__(self, current: int | None) -> None:
        super().__init__()
        self.current = current

    def cuCtxGetDevice(self, device: Any) -> int:  # noqa: N802  # the driver's name
        if self.current is None:
            return 201  # CUDA_ERROR_INVALID_CONTEXT
        device._obj.value = self.current
        return 0

    def cuDeviceGet(self, device: Any, ordinal: int) -> int:  # noqa: N802
        device._obj.value = ordinal
        return 0

    def cuDeviceGetUuid_v2(self, found: Any, device: Any) -> int:  # noqa: N802
        found.raw = uuid.UUID(int=UUID.int + device.value).bytes
        return 0


@pytest.mark.parametrize(("current", "offset"), [(None, 0), (0, 0), (1, 1)])
def test_the_uuid_is_that_of_the_device_that_computes(
    monkeypatch: pytest.MonkeyPatch, current: int | None, offset: int
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: UuidDriver(current))
    assert cuda_driver.current_uuid() == f"GPU-{uuid.UUID(int=UUID.int + offset)}"


def test_a_driver_that_does_not_say_has_no_uuid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: Driver("cuDeviceGetUuid_v2"))
    assert cuda_driver.current_uuid() is None

    def absent(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", absent)
    assert cuda_driver.current_uuid() is None
