"""A finished run for export: its network, and proof that it and the prepared data fit each other.

What lies in the folder is read through `edgeemo.contract.run`; of training's code, only the layers
that a network may be made of are imported.
"""

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.input_spec import Arithmetic, InputSpec
from edgeemo.contract.labels import check_same_labels
from edgeemo.contract.operating_point import OperatingPoint
from edgeemo.contract.run import MODEL, WEIGHTS, RunConfig, read_predictions
from edgeemo.data.prepared import Prepared
from edgeemo.errors import RunError, SpecMismatch
from export.convert import onnx, tflite
from export.convert.operating_point import fold
from export.prove.before import ADVICE
from workstation.keras_settings import load_keras
from workstation.quiet import quiet

_BATCH = 256


class Subject(Protocol):
    """A float network under export, and its answers to the test pictures: what all that measures
    and reports asks of it.
    """

    @property
    def path(self) -> Path:
        """Where it lies."""

    @property
    def config(self) -> RunConfig:
        """What is known of how it was made."""

    @property
    def logits(self) -> NDArray[np.float32]:
        """float32 (N, classes), in the order of the test split's rows."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """True label numbers of the same pictures, (N,)."""

    @property
    def simulated(self) -> Any | None:
        """As of `FloatRun`."""

    @property
    def given(self) -> bytes | None:
        """An int8 .tflite of it that was made elsewhere and is to be judged as it is; else None."""

    @property
    def spec(self) -> InputSpec:
        """What the network sees."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """What label numbers mean."""

    @property
    def note(self) -> str:
        """What the reader of a verdict has to know of it, or ""."""

    @property
    def advice(self) -> str:
        """What to do where the gate refuses it in int8, in words."""

    @property
    def float_advice(self) -> str:
        """What to do where it fails by itself, in words."""

    @property
    def operating_point(self) -> OperatingPoint | None:
        """What its last layer was changed by; None where nothing is known of it."""

    @property
    def about(self) -> Mapping[str, Any]:
        """What the report says of where it comes from, by the report's keys; plain JSON values."""

    def float_tflite(self) -> bytes:
        """The float network as .tflite. Raises BackendError."""

    def float_onnx(self) -> bytes:
        """The float network as .onnx. Raises BackendError."""


@dataclass(frozen=True)
class FloatRun:
    """A finished run: its float network, and that network's answers to the test split."""

    path: Path
    """Its folder."""
    config: RunConfig
    """Its config.json."""
    model: Any
    """The float network, a Keras model: raw pixels in, logits out."""
    simulated: Any | None
    """Of quantization-aware training, the same network with its int8 simulation; else None."""
    logits: NDArray[np.float32]
    """float32 (N, classes), in the order of the split's rows."""
    labels: NDArray[np.int64]
    """True label numbers of the same pictures, (N,)."""

    given: None = None
    """Of a run int8 is always made here."""
    operating_point: OperatingPoint | None = None
    """What its networks' last layers and its logits were changed by; None: nothing yet."""

    @property
    def spec(self) -> InputSpec:
        """What the network sees."""
        return self.config.input_spec

    @property
    def class_names(self) -> tuple[str, ...]:
        """What label numbers mean."""
        return self.config.labels

    @property
    def note(self) -> str:
        """What the reader of a verdict on `validation` has to know of the run, or ""."""
        if not self.config.has_seen_validation:
            return ""
        return (
            "The run was fitted to validation too, so steps are judged on pictures that it has "
            "seen; the test split it has not."
        )

    @property
    def advice(self) -> str:
        """What to do where the gate refuses it in int8, in words."""
        if self.simulated is not None:
            return (
                "train it longer or with another learning rate in simulated int8 "
                "(python -m training finetune --qat)"
            )
        return (
            "train it in simulated int8: python -m training finetune --qat "
            f"{shlex.quote(str(self.path))} --data DATA --out {shlex.quote(f'{self.path}-qat')}"
        )

    float_advice: str = ADVICE
    """As of `Subject`."""

    @property
    def about(self) -> Mapping[str, Any]:
        """Nothing: the manifest tells of a run."""
        return {}

    def at(self, point: OperatingPoint) -> "FloatRun":
        """The run with networks and logits at `point`; the networks are changed in place.

        Raises RunError where their last layer is none that it can be folded into.
        """
        for network in filter(None, (self.model, self.simulated)):
            fold(network, point)
        return replace(self, logits=point.applied(self.logits), operating_point=point)

    def float_tflite(self) -> bytes:
        """The float network as .tflite. Raises BackendError."""
        return tflite.convert_fp32(self.model)

    def float_onnx(self) -> bytes:
        """The float network as .onnx. Raises BackendError."""
        return onnx.convert_fp32(self.model)

    def predict(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """float32 (N, classes) logits of the float network for uint8 (N, H, W, C) pictures."""
        batches = range(0, len(pictures), _BATCH)
        logits = [
            self.model.predict_on_batch(pictures[i : i + _BATCH].astype(np.float32))
            for i in batches
        ]
        return np.concatenate(logits).astype(np.float32)


def load_float_run(path: Path, config: RunConfig, data: Prepared) -> FloatRun:
    """The finished run at `path`, of that config, if it fits the prepared data.

    Raises:
        SpecMismatch: the run was trained for another input spec than the data was prepared for.
        RunError: labels, split or predictions are not those of the data, or the model cannot be
            loaded.
    """
    _check_fit(path, config, data)
    logits = _logits(path, config, data)
    labels = data.labels[data.indices("test")]
    return FloatRun(path, config, *_networks(path, config), logits, labels)


def _check_fit(path: Path, config: RunConfig, data: Prepared) -> None:
    spec = config.input_spec
    if spec != data.spec:
        raise SpecMismatch(
            f"{path} was trained for the input spec {spec.fingerprint()} ({spec.size}), "
            f"{data.path} was prepared for {data.fingerprint} ({data.spec.size}); "
            "prepare the data or train the run again"
        )
    if spec.arithmetic is not Arithmetic.GRAPH:
        raise RunError(
            f"{path}: expected a network that scales its pixels itself, received one for "
            "scaled pixels; train it again"
        )
    check_same_labels(config.labels, data.class_names, str(path), RunError)
    if config.split_hash != data.split_hash:
        raise RunError(
            f"{path}: was trained on another split than {data.path} holds (hashes "
            f"{config.split_hash[:12]} and {data.split_hash[:12]}), so test pictures may have been "
            "trained on; use the data that it was trained on"
        )


def _logits(path: Path, config: RunConfig, data: Prepared) -> NDArray[np.float32]:
    """float32 (N, classes): what the run stored of the test split."""
    rows = data.indices("test")
    stored = read_predictions(path, "test", len(config.labels))
    if not (np.array_equal(stored.rows, rows) and np.array_equal(stored.labels, data.labels[rows])):
        raise RunError(
            f"{path}: its float predictions are not those of the test split of {data.path}; "
            f"run: python -m training evaluate {shlex.join([str(path), '--data', str(data.path)])}"
        )
    return stored.logits


def _networks(path: Path, config: RunConfig) -> tuple[Any, Any | None]:
    """The float network and, of quantization-aware training, the one that simulates int8."""
    # Conversion reads TensorFlow graphs, whatever backend trained the run.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    keras = load_keras("export", "to load the trained network")
    with quiet():
        # Before loading: Keras looks the simulation's layers up by their registered names.
        from training.networks.layers import without_simulation
    try:
        model = keras.models.load_model(path / MODEL, compile=False, safe_mode=True)
        model.load_weights(path / WEIGHTS)
    except Exception as error:  # keras raises whatever its layers and h5py raise
        raise RunError(
            f"{path / MODEL}: cannot be loaded ({' '.join(str(error).split())[:200]}); "
            f"{_way_out(config.keras, str(keras.__version__))}"
        ) from None
    shapes = (None, *config.input_spec.shape), (None, len(config.labels))
    if (model.input_shape, model.output_shape) != shapes:
        raise RunError(
            f"{path}: expected a network of shapes {shapes[0]} -> {shapes[1]}, "
            f"received {model.input_shape} -> {model.output_shape}"
        )
    return (without_simulation(model), model) if config.simulates_int8 else (model, None)


def _way_out(trained_with: str | None, here: str) -> str:
    if trained_with == here:
        return "train it again"
    return (
        f"it was trained with Keras {trained_with} and this is {here}; "
        f"run: pip install keras=={trained_with} (or train it again)"
    )
