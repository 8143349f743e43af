"""Findings as JSON for the charts of a page."""
