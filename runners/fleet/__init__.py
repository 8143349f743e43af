"""A study on several machines: what each one measures, and how its records come home."""
