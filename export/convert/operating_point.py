"""A Keras network brought to its operating point: its last layer changed, nothing added."""

from typing import Any

import numpy as np

from edgeemo.contract.operating_point import OperatingPoint
from edgeemo.errors import RunError


def fold(model: Any, point: OperatingPoint) -> None:
    """Change a Keras model's last layer so that its logits become `point.applied` of them.

    Of quantization-aware training, the simulated range of the logits is moved along, wide enough
    for every class.

    Raises:
        RunError: the logits do not come from a dense layer with biases.
    """
    ranges = model.layers[-1] if type(model.layers[-1]).__name__ == "FakeQuantize" else None
    dense = model.layers[-2 if ranges else -1]
    weights = dense.get_weights()
    name = getattr(getattr(dense, "activation", None), "__name__", "")
    if not hasattr(dense, "units") or len(weights) != 2 or name != "linear":
        raise RunError(
            f"{model.name}: expected logits of a Dense layer with biases and no activation, "
            f"received {type(dense).__name__} {dense.name}; its operating point cannot be folded in"
        )
    dense.set_weights(list(point.folded(*weights)))
    if ranges:
        shift = -point.adjustment * point.log_prior
        low, high = (float(end) / point.temperature for end in ranges.get_weights())
        ends = (min(0.0, low + shift.min()), max(0.0, high + shift.max()))
        ranges.set_weights([np.float32(end) for end in ends])
