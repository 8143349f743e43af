"""Meters that reach hardware through something else: a plug's web page, another package."""
