"""run/ -> bundle: int8 TFLite and ONNX, proved against the float model.

Run from a checkout: python -m export
"""
