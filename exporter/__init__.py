"""Any network -> verified ONNX artifact and manifest.

export     a model of the registry, or a module    recipe     what an artifact is made from
own        a user's own network                    lower      fp16, bf16, int8 beside fp32
fleet      many at a time                          verify     a folder against its manifests
graph      torch module -> ONNX file               parity     ONNX Runtime against torch
frozen     which node fixes the batch              workshop   nothing half-written is left
onnx_file  reads an .onnx file as data             rebatch    frees its batch axis, with proof
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
