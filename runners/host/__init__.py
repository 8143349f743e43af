"""The machine beside the measurement: its load, and the cores granted."""
