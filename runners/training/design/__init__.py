"""What is trained, with which settings."""
