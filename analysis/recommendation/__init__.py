"""The batching policy and runtime for a given traffic, by simulation."""
