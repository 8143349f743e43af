"""Which nodes of an artifact a GPU's execution provider would leave to the CPU, without a GPU.

kernels    the tables: which operators, operator sets and types a provider takes
nodes      a graph as the rules see it: types, constants, who takes what
cuda       ONNX Runtime's rule for CUDA     tensorrt   what TensorRT's parser takes
check      an artifact, checked
"""
