"""The parent's side of a run: its folder, its loop, its repetitions."""
