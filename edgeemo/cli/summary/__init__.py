"""Emotion over time as a file: a page, a table or a picture."""
