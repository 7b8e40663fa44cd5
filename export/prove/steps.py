"""Names of the ladder's steps and of the ways to choose ranges."""

METHODS = ("min-max", "least-error", "percentile", "entropy")
"""How ranges follow from the representative data set (export.convert.activations)."""
STEPS = (*METHODS, "bias", "mixed")
"""Steps of the ladder, in order."""
TRAINED = "trained"
"""The one step of quantization-aware training."""
