"""What a run is to measure: its rules, its checks, and the presets."""
