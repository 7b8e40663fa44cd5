"""A float network as TFLite and ONNX files."""
