"""Reads what training left in a run folder: files only, and of training's code the layers that a network may be made of."""

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract import strict
from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.labels import LABELS, check_label_order
from edgeemo.data.prepared import Prepared
from edgeemo.errors import MissingFile, RunError, SpecMismatch
from edgeemo.optional import need
from workstation.quiet import quiet

_BATCH = 256


@dataclass(frozen=True)
class FloatRun:
    """A finished run: its config, input spec, float network, and that network's logits on the test split.

    `simulated` is, of a run of quantization-aware training, the same network with its int8 simulation; else None.
    `logits` float32 (N, 7), `labels` int64 (N,), in the order of the split's rows.
    """

    path: Path
    config: dict[str, Any]
    spec: InputSpec
    model: Any
    simulated: Any | None
    logits: NDArray[np.float32]
    labels: NDArray[np.int64]

    @property
    def seen(self) -> str:
        """What the reader of a verdict on `validation` has to know of the run; "" where it has not seen those pictures."""
        if not self.config["recipe"].get("with_validation"):
            return ""
        return "The run was fitted to validation too, so steps are judged on pictures that it has seen; the test split it has not."

    def predict(self, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
        """float32 (N, 7) logits of the float network for uint8 (N, 48, 48, 1) pictures."""
        batches = range(0, len(pictures), _BATCH)
        logits = [
            self.model.predict_on_batch(pictures[i : i + _BATCH].astype(np.float32))
            for i in batches
        ]
        return np.concatenate(logits).astype(np.float32)


def load_config(path: Path) -> tuple[dict[str, Any], InputSpec]:
    """A run's config and input spec.

    Raises:
        MissingFile: no run there.
        RunError: unfinished, damaged, or of other labels.
    """
    file = path / "config.json"
    if not file.is_file():
        raise MissingFile(
            f"{path}: expected a run folder with config.json; make one with: python -m training train --out {path}"
        )
    try:
        config = strict.loads(file.read_bytes())
        spec = strict.from_dict(InputSpec, config["input_spec"], "input_spec")
        labels = config["labels"]
        if not all(
            isinstance(config[key], kind)
            for key, kind in (("recipe", dict), ("data_sets", list), ("split_hash", str))
        ):
            raise ValueError("a field has the wrong type")
    except (ValueError, KeyError, TypeError) as error:
        raise RunError(f"{file}: not the config of a run ({error}); train it again") from None
    check_label_order(labels, str(file), RunError)
    if config.get("input_fingerprint") != spec.fingerprint():
        raise RunError(f"{file}: its fingerprint is not that of its input spec; train it again")
    for name in ("model.weights.h5", "model.keras", "predictions_test.npz"):
        if not (path / name).is_file():
            raise RunError(
                f"{path}: the run has no {name}; finish it with: python -m training train --resume --data DATA --out {path}"
            )
    return config, spec


def load_float_run(path: Path, data: Prepared) -> FloatRun:
    """A finished run that fits the prepared data.

    Raises:
        SpecMismatch: the run was trained for another input spec than the data was prepared for.
        RunError: split or predictions are not those of the data, or the model cannot be loaded.
    """
    config, spec = load_config(path)
    if spec.fingerprint() != data.fingerprint:
        raise SpecMismatch(
            f"{path} was trained for the input spec {spec.fingerprint()}, {data.path} was prepared for {data.fingerprint}; "
            "prepare the data or train the run again"
        )
    if config["split_hash"] != data.split_hash:
        raise RunError(
            f"{path}: was trained on another split than {data.path} holds (hashes {config['split_hash'][:12]} and "
            f"{data.split_hash[:12]}), so test pictures may have been trained on; use the data that it was trained on"
        )
    logits, labels = _predictions(path / "predictions_test.npz", data)
    return FloatRun(path, config, spec, *_networks(path, config, spec), logits, labels)


def _predictions(path: Path, data: Prepared) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    rows = data.indices("test")
    try:
        with np.load(path, allow_pickle=False) as stored:
            logits, labels, stored_rows = stored["logits"], stored["labels"], stored["rows"]
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(
            f"{path}: not readable ({error}); run: python -m training evaluate {path.parent} --data {data.path}"
        ) from None
    same_rows = np.array_equal(stored_rows, rows) and np.array_equal(labels, data.labels[rows])
    if not same_rows or logits.shape != (len(rows), len(LABELS)) or not np.isfinite(logits).all():
        raise RunError(
            f"{path}: its float predictions are not those of the test split of {data.path}; "
            f"run: python -m training evaluate {path.parent} --data {data.path}"
        )
    return logits.astype(np.float32), data.labels[rows]


def _networks(path: Path, config: dict[str, Any], spec: InputSpec) -> tuple[Any, Any | None]:
    """The run's float network and, of a run of quantization-aware training, the one that simulates int8."""
    # Conversion reads TensorFlow graphs, whatever backend trained the run.
    os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with quiet():
        keras = need("keras", "export", "to load the trained network")
        # Before loading: Keras finds the simulation's layers by the names that they are registered under.
        from training.networks.layers import without_simulation
    try:
        model = keras.models.load_model(path / "model.keras", compile=False, safe_mode=True)
        model.load_weights(path / "model.weights.h5")
    except Exception as error:  # keras raises whatever its layers and h5py raise
        trained_with, here = str(config.get("keras")), str(keras.__version__)
        way_out = (
            "train it again" if trained_with == here else f"it was trained with Keras {trained_with} and this is {here}; "
            f"run: pip install keras=={trained_with} (or train it again)"
        )  # fmt: skip
        raise RunError(
            f"{path / 'model.keras'}: cannot be loaded ({' '.join(str(error).split())[:200]}); {way_out}"
        ) from None
    if model.input_shape != (None, *spec.shape) or model.output_shape != (None, len(LABELS)):
        raise RunError(
            f"{path}: expected a network of shapes {(None, *spec.shape)} -> {(None, len(LABELS))}, "
            f"received {model.input_shape} -> {model.output_shape}"
        )
    return (without_simulation(model), model) if config["recipe"].get("qat") else (model, None)
