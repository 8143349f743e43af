"""From samples to E(t), and from E(t) to the figures of a window."""
