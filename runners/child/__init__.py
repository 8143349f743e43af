"""The process that measures, and the parent's handle on it."""
