"""The design of a run: checked, read from files, found among the presets."""
