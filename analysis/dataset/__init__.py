"""From a run's files to a labelled dataset: compiled, stored, merged."""
