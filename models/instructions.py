"""The processor's instructions that decide how int8 is multiplied.

ONNX Runtime and oneDNN have kernels for each of them. Those for AVX2 and AVX-512 alone add pairs of
products in 16 bits, which saturates; the others add in 32 bits.
"""

import ctypes
import platform
from collections.abc import Set
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")

# Leaf of CPUID, register (EAX to EDX) and bits: Intel 64 and IA-32 Architectures Software
# Developer's Manual, volume 2, CPUID. int8 kernels for AVX-512 need F, DQ, BW and VL.
_X86 = {
    "avx2": ("7", 1, (5,)),
    "avx512": ("7", 1, (16, 17, 30, 31)),
    "avx512_vnni": ("7", 2, (11,)),
    "avx_vnni": ("7.1", 0, (4,)),
    "avx_vnni_int8": ("7.1", 3, (4,)),
    "amx_int8": ("7", 3, (24, 25)),
}
_INDICES = {"7": 1, "7.1": 6}  # of these leaves in glibc's sys/platform/x86.h
_FLAGS = {
    **{name: {name} for name in ("avx2", "avx512_vnni", "avx_vnni", "avx_vnni_int8")},
    "avx512": {"avx512f", "avx512dq", "avx512bw", "avx512vl"},
    "amx_int8": {"amx_tile", "amx_int8"},
}
_ARM = ("asimddp", "i8mm", "svei8mm")
_NAMES = ("flags", "Features")  # of the line with the flags, on x86 and on ARM


class _Leaf(ctypes.Structure):
    _fields_ = (("cpuid", ctypes.c_uint * 4), ("active", ctypes.c_uint * 4))


def instruction_set() -> str:
    """Return the architecture and its instructions for int8: ``x86_64 avx2 avx512 avx512_vnni``.

    It is what this process may use: an emulator or a hypervisor may hide what the processor has.
    """
    machine = platform.machine()
    if machine in ("x86_64", "AMD64"):
        return " ".join(["x86_64", *_x86()])
    flags = _flags()
    return " ".join([machine, *(name for name in _ARM if name in flags)])


def _x86() -> list[str]:
    try:
        read = ctypes.CDLL(None).__x86_get_cpuid_feature_leaf
    except (AttributeError, OSError, TypeError):  # no glibc, or one before 2.33
        flags = _flags()
        return [name for name in _X86 if _FLAGS[name] <= flags]
    read.argtypes, read.restype = [ctypes.c_uint], ctypes.POINTER(_Leaf)
    leaves = {leaf: list(read(index).contents.active) for leaf, index in _INDICES.items()}
    return [
        name
        for name, (leaf, register, bits) in _X86.items()
        if all(leaves[leaf][register] >> bit & 1 for bit in bits)
    ]


def _flags() -> Set[str]:
    """Return the flags of the first processor, as Linux names them."""
    try:
        lines = _CPUINFO.read_text(errors="replace").splitlines()
    except OSError:
        return set()
    named = (line.partition(":") for line in lines)
    return next((set(rest.split()) for key, _, rest in named if key.strip() in _NAMES), set())
