"""A run folder: what training leaves behind and export goes on from, written and read through here
alone.

Nothing in a folder is believed before it is checked. Only JSON and arrays are read here; networks
are Keras' matter.
"""

import io
import re
import shlex
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked import npy, strict
from edgeemo.contract.checked.files import make_folder, written_beside
from edgeemo.contract.checked.reading import read_regular
from edgeemo.contract.input_spec import InputSpec, parse_spec
from edgeemo.contract.labels import check_labels
from edgeemo.errors import InvalidInput, MissingFile, RunError

CONFIG, HISTORY, CURVES = "config.json", "history.csv", "curves.png"
WEIGHTS, MODEL, CHECKPOINT = "model.weights.h5", "model.keras", "checkpoint.npz"
_MAX_CONFIG_BYTES = 4 * 1024**2
_MAX_PREDICTIONS_BYTES = 4 * 1024**3
_SHA256 = re.compile("[0-9a-f]{64}")


def predictions_name(split: str) -> str:
    """Name of the file with a split's predictions: predictions_SPLIT.npz."""
    return f"predictions_{split}.npz"


@dataclass(frozen=True)
class SourceRun:
    """Another run that a run has learned from."""

    use: str
    """"init", whose weights it started from, or "teacher"."""
    run: str
    """Its folder."""
    weights_sha256: str
    """sha256 of its weights file, in hex."""
    model: str
    """Name of its network."""
    labels: str
    """What it was fitted to: "fer2013", "ferplus" or "mix"."""
    seed: int
    """Its recipe's seed."""
    data_sets: tuple[str, ...] = ()
    """Names of the data sets that it was trained on, and those that it has learned from; empty in
    runs of earlier versions."""


@dataclass(frozen=True)
class RestoredFrom:
    """The bundle that a run was restored from."""

    bundle: str
    """Its name."""
    version: str
    """Its version."""
    training: dict[str, Any]
    """What its manifest tells of the training."""


@dataclass(frozen=True)
class Progress:
    """How a finished run went."""

    epochs: int
    """Epochs that it took; 0 for a restored run."""
    best_epoch: int
    """The epoch, from 1, whose weights were kept; 0 for a restored run."""
    seconds: float
    """How long all epochs took together."""


@dataclass(frozen=True)
class RunConfig:
    """config.json of a run, checked.

    Raises:
        InvalidInput: a value that no run has.
    """

    recipe: dict[str, Any]
    """Every choice that changes the weights, as plain JSON values; at least the name of its
    `model`."""
    labels: tuple[str, ...]
    """Class names, in the order of the logits."""
    input_spec: InputSpec
    """What the network sees."""
    split_hash: str
    """`Prepared.split_hash` of the data that it was trained on."""
    data_sets: tuple[str, ...] = ()
    """Names of the sources of that data."""
    data: str | None = None
    """The prepared folder that it was trained on."""
    data_seed: int | None = None
    """Seed of that folder's splits."""
    edgeemo: str | None = None
    """Version that trained it."""
    keras: str | None = None
    """Version of Keras that trained it."""
    backend: str | None = None
    """Keras' backend that trained it."""
    threads: int | None = None
    """Processors of the machine."""
    devices: int = 1
    """Devices that shared each batch."""
    workers: int = 1
    """Machines that shared each batch."""
    parameters: int | None = None
    """Numbers that the network holds."""
    multiply_accumulates: int | None = None
    """Multiply-accumulates of one inference."""
    leaned_on: tuple[SourceRun, ...] = ()
    """Runs that it has learned from."""
    faces: dict[str, int] | None = None
    """Pictures that were used, by split."""
    left_out: dict[str, dict[str, int]] | None = None
    """Pictures that were not used, by split and reason."""
    kept_hard: dict[str, dict[str, int]] | None = None
    """Pictures of a mix with their hard label alone, by split and reason."""
    votes_dropped: dict[str, dict[str, int]] | None = None
    """Votes for what is no class, by split and FER+ column."""
    class_weights: dict[str, float] | None = None
    """Weight of each class's loss, by class name; None where all weigh the same."""
    restored_from: RestoredFrom | None = None
    """The bundle that it was restored from; None for a run that was trained."""
    family: dict[str, Any] | None = None
    """How it was distilled as one of a family; None for a run of its own."""
    history: Progress | None = None
    """How it went; None until it is finished."""

    def __post_init__(self) -> None:
        check_labels(self.labels, "labels")
        if not isinstance(self.recipe.get("model"), str):
            raise InvalidInput("recipe.model: expected the name of a network")
        for name in ("qat", "with_validation"):
            if not isinstance(self.recipe.get(name, False), bool):
                raise InvalidInput(f"recipe.{name}: expected true or false")
        if not _SHA256.fullmatch(self.split_hash):
            raise InvalidInput(
                f"split_hash: expected 64 hex digits, received {self.split_hash[:80]!r}"
            )

    @property
    def model(self) -> str:
        """Name of the network."""
        return str(self.recipe["model"])

    @property
    def learned_from(self) -> tuple[str, ...]:
        """Names of all data sets that something in it comes from, in alphabetical order."""
        others = (name for run in self.leaned_on for name in run.data_sets)
        return tuple(sorted({*self.data_sets, *others}))

    @property
    def simulates_int8(self) -> bool:
        """Whether it was trained in simulated int8 (quantization-aware training)."""
        return bool(self.recipe.get("qat", False))

    @property
    def has_seen_validation(self) -> bool:
        """Whether it was fitted to the validation pictures too."""
        return bool(self.recipe.get("with_validation", False))

    def to_dict(self) -> dict[str, Any]:
        """The config as plain JSON values; what is not known yet is left out."""
        values = {name: value for name, value in asdict(self).items() if value is not None}
        return values | {
            "labels": list(self.labels),
            "data_sets": list(self.data_sets),
            "leaned_on": [
                asdict(run) | {"data_sets": list(run.data_sets)} for run in self.leaned_on
            ],
            "input_spec": self.input_spec.to_dict(),
            "input_fingerprint": self.input_spec.fingerprint(),
        }


def run_files(path: str | Path) -> list[Path]:
    """Where the files lie that make the run folder `path` a run; pictures and reports are none."""
    predictions = [predictions_name(split) for split in ("train", "validation", "test")]
    return [
        Path(path) / name for name in (CONFIG, HISTORY, WEIGHTS, MODEL, CHECKPOINT, *predictions)
    ]


def has_config(path: str | Path) -> bool:
    """Whether `path` looks like a run folder."""
    return (Path(path) / CONFIG).is_file()


def read_run_config(path: str | Path) -> RunConfig:
    """The checked config of the run folder `path`. Folders of earlier versions are read too.

    Raises:
        MissingFile: no run there.
        RunError: not the config of a run.
    """
    file = Path(path) / CONFIG
    if not file.is_file():
        if inside := sorted(Path(path).glob(f"*/{CONFIG}")):
            raise MissingFile(
                f"{path}: expected a run folder with {CONFIG}, received a folder of such folders; "
                f"name one of them, for example {inside[0].parent}"
            )
        raise MissingFile(
            f"{path}: expected a run folder with {CONFIG}; make one with: "
            f"python -m training train --out {shlex.quote(str(path))}"
        )
    try:
        return _parsed(strict.loads(read_regular(file, _MAX_CONFIG_BYTES)))
    except (ValueError, OSError) as error:
        raise RunError(f"{file}: not the config of a run ({error}); train it again") from None


def write_run_config(path: str | Path, config: RunConfig) -> None:
    """Write config.json of the run folder `path`, which is made, in one step. Raises
    StorageError.
    """
    with written_beside(make_folder(path) / CONFIG) as part:
        part.write_text(strict.dumps(config.to_dict()), encoding="utf-8")


def check_finished(path: str | Path) -> None:
    """Raise RunError unless the run folder `path` holds all that a finished run leaves for
    export."""
    for name in (WEIGHTS, MODEL, predictions_name("test")):
        if not (Path(path) / name).is_file():
            raise RunError(
                f"{path}: the run has no {name}; finish it with: "
                f"python -m training train --resume --data DATA --out {shlex.quote(str(path))}"
            )


@dataclass(frozen=True)
class Predictions:
    """What a run's float network answers for the pictures of one split.

    Raises:
        InvalidInput: arrays that do not fit each other.
    """

    logits: NDArray[np.float32]
    """float32 (N, classes), finite."""
    mirrored: NDArray[np.float32]
    """float32 (N, classes), finite: of the same pictures with left and right exchanged."""
    labels: NDArray[np.int64]
    """int64 (N,), the pictures' label numbers."""
    rows: NDArray[np.int64]
    """int64 (N,), their rows in the prepared folder's index.csv, ascending."""

    def __post_init__(self) -> None:
        shape = self.logits.shape
        expected = {
            "logits": (np.float32, shape),
            "mirrored": (np.float32, shape),
            "labels": (np.int64, shape[:1]),
            "rows": (np.int64, shape[:1]),
        }
        for name, (dtype, size) in expected.items():
            array = getattr(self, name)
            if array.dtype != dtype or array.shape != size or len(shape) != 2 or not shape[0]:
                raise InvalidInput(
                    f"{name}: expected {np.dtype(dtype)} of one row a picture, received "
                    f"{array.dtype} {array.shape} beside logits {shape}"
                )
        if not (np.isfinite(self.logits).all() and np.isfinite(self.mirrored).all()):
            raise InvalidInput("expected finite logits, received infinities or no numbers")
        if self.labels.min() < 0 or self.labels.max() >= shape[1]:
            raise InvalidInput(f"expected label numbers of 0 to {shape[1] - 1}")
        if self.rows[0] < 0 or (np.diff(self.rows) <= 0).any():
            raise InvalidInput("expected the rows of a split, ascending")


def read_predictions(path: str | Path, split: str, classes: int) -> Predictions:
    """The predictions of the run folder `path` on `split`, for so many classes.

    Raises:
        RunError: none there, damaged, or of another number of classes.
    """
    file = Path(path) / predictions_name(split)
    try:
        arrays = npy.parse_npz(read_regular(file, _MAX_PREDICTIONS_BYTES))
        if set(arrays) != {field.name for field in fields(Predictions)}:
            raise ValueError(f"holds the arrays {', '.join(sorted(arrays))[:80]}")
        predictions = Predictions(**arrays)
        if predictions.logits.shape[1] != classes:
            raise ValueError(f"logits of {predictions.logits.shape[1]} classes, not of {classes}")
    except (ValueError, OSError, EOFError, RuntimeError, zipfile.BadZipFile) as error:
        raise RunError(
            f"{file}: not readable as predictions ({str(error)[:200]}); run: "
            f"python -m training evaluate {shlex.quote(str(path))} --split {split} --data DATA"
        ) from None
    return predictions


def write_predictions(path: str | Path, split: str, predictions: Predictions) -> None:
    """Write predictions_SPLIT.npz of the run folder `path` in one step. Raises StorageError."""
    buffer = io.BytesIO()
    arrays: dict[str, Any] = {
        field.name: np.ascontiguousarray(getattr(predictions, field.name))
        for field in fields(Predictions)
    }
    np.savez(buffer, **arrays)
    with written_beside(Path(path) / predictions_name(split)) as part:
        part.write_bytes(buffer.getvalue())


def _parsed(raw: Any) -> RunConfig:
    if not isinstance(raw, Mapping):
        raise ValueError("expected an object")
    values = dict(raw)
    spec, _ = parse_spec(
        values.get("input_spec"), str(values.pop("input_fingerprint", "")), "input_spec"
    )
    defaults = {
        field.name: list(field.default) if isinstance(field.default, tuple) else field.default
        for field in fields(RunConfig)[4:]
    }
    return strict.from_dict(RunConfig, defaults | values | {"input_spec": spec.to_dict()}, "config")
