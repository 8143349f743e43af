"""Where time and energy of an inference go: profilers in a metered window, and parts cut out."""
