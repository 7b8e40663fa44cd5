"""Frames from a camera, which is healed when it fails."""
