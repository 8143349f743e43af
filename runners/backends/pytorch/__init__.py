"""PyTorch: eager, compiled, and compiled ahead of time."""
