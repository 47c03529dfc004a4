"""One node of the center cluster: `python -m center`."""
