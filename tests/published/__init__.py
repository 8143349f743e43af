"""What others published, as datasets of ours."""
