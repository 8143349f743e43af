"""Any network -> verified ONNX artifact and manifest.

export        a model of the registry, or a module    recipe      what an artifact is made from
user_network  a user's own network                    verify      a folder against its manifests
parallel      many at a time                          publishing  nothing half-written is left
torch_to_onnx torch module -> ONNX file               parity      ONNX Runtime against torch
onnx_file/    reads an .onnx file as data             precisions/ fp16, bf16, int8 beside fp32
rebatch/      frees a fixed batch axis, with proof    outputs/    what each output of a graph is
placement/    what CUDA and TensorRT would not run    sizes/      sizes become constants
translations  operators that torch.onnx lacks         bfloat16    at the ends of a graph
any_rows      rows whose number the data decide       peak_memory that a proof takes
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
