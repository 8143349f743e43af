"""What a dataset of trainings says."""
