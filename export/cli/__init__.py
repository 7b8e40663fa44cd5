"""The verbs of `python -m export`, one file each."""
