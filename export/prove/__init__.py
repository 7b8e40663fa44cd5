"""Whether a quantized file may ship."""
