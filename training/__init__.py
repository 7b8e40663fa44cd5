"""Kaggle archives -> prepared data -> float model, on Keras 3 with any backend. With a
checkout installed by pip install -e, from any folder: python -m training
"""
