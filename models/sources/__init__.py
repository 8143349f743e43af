"""A user's own networks: parsed from the command line, and loaded."""
