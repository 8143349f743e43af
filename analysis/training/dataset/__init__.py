"""From a training run's files to a labelled dataset."""
