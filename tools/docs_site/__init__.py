"""The documentation site: pages that are made from the code, and links that leave ``docs/``."""
