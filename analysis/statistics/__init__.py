"""Intervals, tests and models, of plain arrays or along a dataset's dimensions."""
