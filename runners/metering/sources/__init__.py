"""Where energy is read: one file for each source."""
