"""run/ -> bundle: int8 TFLite and ONNX, proved against the float model.

With a checkout installed by pip install -e, from any folder: python -m export
"""
