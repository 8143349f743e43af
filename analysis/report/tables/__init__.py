"""Findings as tables: text, CSV and LaTeX."""
