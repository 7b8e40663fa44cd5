"""Frames with known faces: what detectors learn from and are judged on."""
