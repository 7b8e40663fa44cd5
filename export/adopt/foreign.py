"""A model from elsewhere, read: its networks in our contract, and what the file itself answers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked.reading import read_regular, why_no_file
from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.quantize import softmax
from edgeemo.errors import MissingFile, ModelError
from export.adopt.wanted import Scaling, Scores

MAX_BYTES = 1 << 30
"""Of a model file; a bundle's files take 64 MB at most."""

Floats = NDArray[np.float32]
Answers = Callable[[Floats], Floats]
"""float32 (N, H, W, C), as a first layer takes them, to float32 (N, outputs) of the file itself."""


@dataclass(frozen=True)
class Foreign:
    """A model from elsewhere whose ends are as our contract wants them."""

    path: Path
    """Its file or folder."""
    size: InputSpec
    """Height, width and channels that it takes."""
    scores: Scores
    """What its own outputs are."""
    original: Answers = field(repr=False)
    """What the file itself answers."""
    scaling: Scaling | None = None
    """What its first layer takes for a pixel, where the file says so."""
    tflite: bytes | None = field(default=None, repr=False)
    """Its network as .tflite with logits out, float or int8; None where there is none."""
    onnx: bytes | None = field(default=None, repr=False)
    """Its float network as .onnx with logits out; None where there is none."""
    is_int8: bool = False
    """Whether it was quantized elsewhere; then `tflite` is int8."""

    def probabilities(self, values: Floats) -> Floats:
        """float32 (N, labels): the scores that the file itself gives, whatever its outputs are."""
        said = self.original(values)
        if self.scores is Scores.LOGITS:
            return softmax(said if said.shape[1] > 1 else np.hstack([np.zeros_like(said), said]))
        return said if said.shape[1] > 1 else np.hstack([1 - said, said])


def read_bytes(path: Path) -> bytes:
    """A model file's bytes. Raises MissingFile, ModelError."""
    if why := why_no_file(path):
        raise MissingFile(f"{path}: {why}; check the path")
    try:
        return read_regular(path, MAX_BYTES)
    except ValueError as error:
        raise ModelError(f"{path}: {error}; no bundle holds so large a model") from None
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror}); check the path") from None
