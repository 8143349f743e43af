"""An entry of the table of backends."""

from dataclasses import dataclass


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
