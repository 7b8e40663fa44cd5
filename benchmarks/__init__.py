"""Measurements behind the figures in the docs.

Each prints ratios side by side; none decides a test.
"""
