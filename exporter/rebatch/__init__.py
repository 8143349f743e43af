"""A graph with a fixed batch is rewritten to take any, with proof."""
