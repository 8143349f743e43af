"""The child's side of a training: epochs, scores, checkpoints."""
