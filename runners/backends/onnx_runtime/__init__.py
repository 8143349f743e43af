"""ONNX Runtime, one backend for each execution provider."""
