"""The version of edgeemo, here alone."""

__version__ = "0.7.0"
