"""An entry of the table of backends."""

from dataclasses import dataclass

_VENDORS = {"onnxruntime-migraphx": "amd", "openvino-gpu": "intel"}


@dataclass(frozen=True, slots=True)
class BackendSpec:
    """An entry of the table.

    Attributes:
        name: ``RUNTIME-PROVIDER``.
        runtime, provider: Its parts.
        device: Where it computes: ``cpu``, ``cuda``, ``gpu``, ``npu`` or ``soc``.
        target: ``module:class``.
    """

    name: str
    runtime: str
    provider: str
    device: str
    target: str

    @property
    def vendor(self) -> str:
        """Whose device it needs: ``nvidia``, ``amd``, ``intel``; empty: anybody's, or the CPU."""
        return "nvidia" if self.device == "cuda" else _VENDORS.get(self.name, "")
