"""Estimates of means and variances of cells that share blocks; for runners and analysis alike."""
