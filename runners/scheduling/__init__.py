"""In which order cells are measured, and how often."""
