"""Findings as figures for print, by matplotlib."""
