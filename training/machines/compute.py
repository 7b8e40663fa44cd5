"""How layers compute: in which precision, from which seed, and under Keras on torch with which
kernel they normalize.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import keras

from edgeemo.optional import need

_POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


@contextmanager
def computing_in(precision: str) -> Iterator[None]:
    """Networks that are built inside compute in a recipe's `precision`; their weights are float32
    in each.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(_POLICIES[precision])
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def set_seed(seed: int) -> None:
    """Seed all that draws: Python, NumPy, and Keras with its backend.

    Keras seeds TensorFlow too wherever it is installed. Where nothing draws from it, importing it
    would only cost ten seconds and half a gigabyte, so Keras does not find it here.
    """
    if keras.backend.backend() == "tensorflow" or "tensorflow" in sys.modules:
        keras.utils.set_random_seed(seed)
        return
    sys.modules["tensorflow"] = None  # type: ignore[assignment]
    try:
        keras.utils.set_random_seed(seed)
    finally:
        del sys.modules["tensorflow"]


def fuse_normalization(model: keras.Model) -> None:
    """Let torch's own kernel compute the batch normalizations of `model` where Keras runs on torch,
    which makes each of a dozen.

    They give what Keras's own give but for rounding; the moving variance is of the unbiased
    estimate, n / (n - 1) times as much with n values a channel. Nothing of it is saved with the
    model.
    """
    if keras.backend.backend() != "torch":
        return
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.call = partial(_normalized, layer)


def _normalized(layer: Any, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
    """`inputs` (n, h, w, c) normalized by `layer`; Keras passes a `mask`, which pictures do not
    have.
    """
    torch = need("torch", "train", "to train")  # loaded already, by Keras
    outputs = torch.nn.functional.batch_norm(
        inputs.permute(0, 3, 1, 2),
        layer.moving_mean.value,
        layer.moving_variance.value,
        layer.gamma.value,
        layer.beta.value,
        bool(training) and layer.trainable,
        1 - layer.momentum,
        layer.epsilon,
    )
    return outputs.permute(0, 2, 3, 1)
