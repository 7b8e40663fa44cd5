"""Facial emotion recognition on the edge, with quantized models."""

__version__ = "0.1.0"
