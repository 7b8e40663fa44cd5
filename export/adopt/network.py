"""A float network from elsewhere as a subject of export."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.run import RunConfig


@dataclass(frozen=True)
class AdoptedNetwork:
    """A float network from elsewhere under export (`export.run.Subject`)."""

    path: Path
    """Its file."""
    config: RunConfig
    """What is known of it."""
    logits: NDArray[np.float32]
    """float32 (N, classes) of the test pictures."""
    labels: NDArray[np.int64]
    """Their true label numbers, (N,)."""
    about: Mapping[str, Any]
    """What the report says of where it comes from."""
    note: str
    """What a reader has to know."""
    tflite: bytes | None = None
    """The float network as .tflite."""
    onnx: bytes | None = None
    """The float network as .onnx."""
    given: bytes | None = None
    """An int8 .tflite that came with it."""
    simulated: None = None
    """Nothing of it was trained here."""
    operating_point: None = None
    """Its training prior is not known."""

    @property
    def spec(self) -> InputSpec:
        """What the network sees."""
        return self.config.input_spec

    @property
    def class_names(self) -> tuple[str, ...]:
        """What label numbers mean."""
        return self.config.labels

    @property
    def advice(self) -> str:
        """What to do where the gate refuses it in int8, in words."""
        if self.given is not None:
            return f"adopt the float model, of which int8 is made here: adopt {self.path}"
        return (
            "calibrate with other pictures (--calibration DIR), give layers more bits "
            "(--profile pi), or train it in simulated int8 where it comes from"
        )

    @property
    def float_advice(self) -> str:
        """What to do where it fails by itself, in words."""
        return (
            "quantization cannot help: are --labels in the order of its outputs, and --scale, "
            "--offset and --input those that it was trained with?"
        )

    def float_tflite(self) -> bytes:
        """The float network as .tflite."""
        assert self.tflite is not None
        return self.tflite

    def float_onnx(self) -> bytes:
        """The float network as .onnx."""
        assert self.onnx is not None
        return self.onnx
