"""Logits of a network, batch by batch."""

import keras
import numpy as np
from numpy.typing import NDArray

from workstation.progress import counted

_BATCH = 512


def predict(
    model: keras.Model, images: NDArray[np.uint8] | NDArray[np.float32], title: str = ""
) -> NDArray[np.float32]:
    """float32 (N, classes) logits of (N, H, W, C) pictures 0..255; with a `title` it says how far
    it is.
    """
    logits = [
        keras.ops.convert_to_numpy(
            model.predict_on_batch(images[i : i + _BATCH].astype(np.float32))
        )
        for i in counted(
            range(0, len(images), _BATCH), title, f"batches of {_BATCH}", shown=bool(title)
        )
    ]
    return np.concatenate(logits).astype(np.float32)


def mirrored(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 (N, H, W, C) pictures with left and right exchanged."""
    return images[:, :, ::-1]
