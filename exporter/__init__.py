"""Model spec -> verified ONNX artifact and manifest.

export     the whole way, once for each recipe     recipe     what an artifact is made from
graph      torch module -> ONNX file               parity     ONNX Runtime against torch
"""

from greenbatch.exporter.export import (
    PRECISIONS,
    Origin,
    WeightsWarning,
    export_model,
    export_module,
)

__all__ = [
    "PRECISIONS",
    "Origin",
    "WeightsWarning",
    "export_model",
    "export_module",
]
