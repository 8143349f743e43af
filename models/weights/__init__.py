"""Which weights, and loading them."""
