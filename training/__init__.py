"""Kaggle archives -> prepared data -> float model, on Keras 3 with any backend. Run from a
checkout: python -m training
"""
