"""A graph without its weights: enough for whoever asks about its nodes."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx

_LARGEST_KEPT_BYTES = 1024  # what holds sizes is smaller


def load_graph(network: str | bytes | Path) -> "onnx.ModelProto":
    """Read a graph; its large constants keep their types and sizes, and lose their values.

    Args:
        network: A file, or a serialised network.
    """
    import onnx

    if isinstance(network, bytes):
        model = onnx.load_model_from_string(network)
    else:
        model = onnx.load(network, load_external_data=False)
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) > _LARGEST_KEPT_BYTES:
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            tensor.external_data.add(key="location", value="left-out")
    return model
