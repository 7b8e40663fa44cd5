"""The version of edgeemo, here alone."""

__version__ = "0.2.0"
