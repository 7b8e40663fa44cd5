"""The faces that the family is trained on, from prepared data or from the one file that travels to
another machine.
"""

import lzma
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked import strict
from edgeemo.contract.checked.files import make_folder, written_beside
from edgeemo.contract.checked.reading import open_regular, why_no_file
from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.data.ferplus import group_votes
from edgeemo.data.prepared import Prepared, is_prepared, load_prepared
from edgeemo.errors import DataError, MissingFile

_FILE = "faces.npz"


@dataclass(frozen=True)
class Part:
    """Labelled faces of one split."""

    images: NDArray[np.uint8]
    """uint8 (n, S, S) grey."""
    labels: NDArray[np.int64]
    """(n,) positions in LABELS."""
    votes: NDArray[np.int64]
    """(n, 10) FER+ votes, -1 where they are not known."""


@dataclass(frozen=True)
class FaceSet:
    """All that a family learns from and is chosen by; nothing of the test split."""

    train: Part
    """Faces to fit."""
    validation: Part
    """Faces to choose by."""
    unlabelled: NDArray[np.uint8]
    """uint8 (m, S, S) faces that teachers alone say something of; m may be 0."""
    about: dict[str, Any]
    """Where they come from: the fields of a run's config that name its data."""


def load_faces(path: Path, unlabelled: Path | None = None) -> FaceSet:
    """The faces of a prepared folder, or of a folder that `pack_faces` wrote.

    `unlabelled` is a .npy file of more faces, uint8 (m, S, S).

    Raises:
        MissingFile, SpecMismatch, DataError: no such folder, or not one for this input.
    """
    if not is_prepared(path):
        return _unpacked(path)
    data = load_prepared(path, DEFAULT_SPEC)
    if data.votes is None:
        raise DataError(
            f"{path}: the family learns from FER+ votes too; prepare the data again with "
            "--ferplus CSV"
        )
    votes = group_votes(data)
    parts = [_part(data, votes, split) for split in ("train", "validation")]
    side = DEFAULT_SPEC.height
    extra = np.zeros((0, side, side), np.uint8) if unlabelled is None else _array(unlabelled)
    if extra.dtype != np.uint8 or extra.shape[1:] != (side, side):
        raise DataError(
            f"{unlabelled}: expected uint8 (m, {side}, {side}), "
            f"received {extra.dtype} {extra.shape}"
        )
    about = {
        "data": str(path),
        "data_sets": [source["name"] for source in data.dataset["sources"]],
        "data_seed": data.dataset["seed"],
        "split_hash": data.split_hash,
    }
    return FaceSet(parts[0], parts[1], extra, about)


def _array(path: Path) -> NDArray[Any]:
    """The array of a .npy file. Raises MissingFile and DataError."""
    if why := why_no_file(path):
        raise MissingFile(f"{path}: {why}; expected faces as a .npy file")
    try:
        with open_regular(path) as file:
            return np.asarray(np.lib.format.read_array(file, allow_pickle=False))
    except (ValueError, OSError, EOFError) as error:
        raise DataError(f"{path}: not a readable NumPy array ({error})") from None


def pack_faces(faces: FaceSet, folder: Path) -> Path:
    """Write `folder`/faces.npz, losslessly: what each pixel adds to a guess from three neighbours,
    under LZMA.
    """
    make_folder(folder)
    arrays: dict[str, Any] = {"about": np.array(strict.dumps(faces.about, indent=None))}
    for name, part in (("train", faces.train), ("validation", faces.validation)):
        arrays |= _packed(part.images, name)
        arrays |= {f"{name}_labels": part.labels.astype(np.int8)}
        arrays |= {f"{name}_votes": part.votes.astype(np.int8)}
    arrays |= _packed(faces.unlabelled, "unlabelled")
    with written_beside(folder / _FILE) as part_file, part_file.open("wb") as file:
        np.savez(file, **arrays)
    return folder / _FILE


def _unpacked(folder: Path) -> FaceSet:
    file = folder / _FILE
    if not file.is_file():
        raise MissingFile(
            f"{folder}: expected prepared data or {_FILE}; "
            "make one with: python -m training prepare"
        )
    try:
        with np.load(file, allow_pickle=False) as stored:
            parts = [
                Part(
                    _pictures(stored, name),
                    stored[f"{name}_labels"].astype(np.int64),
                    stored[f"{name}_votes"].astype(np.int64),
                )
                for name in ("train", "validation")
            ]
            about = dict(strict.loads(str(stored["about"])))
            return FaceSet(parts[0], parts[1], _pictures(stored, "unlabelled"), about)
    except (ValueError, KeyError, OSError, lzma.LZMAError) as error:
        raise DataError(f"{file}: damaged ({error}); pack the faces again") from None


def _part(data: Prepared, votes: NDArray[np.int64], split: str) -> Part:
    rows = data.indices(split)
    return Part(np.ascontiguousarray(data.images[rows, :, :, 0]), data.labels[rows], votes[rows])


def _packed(images: NDArray[np.uint8], name: str) -> dict[str, Any]:
    residues = lzma.compress(_residues(images).tobytes(), preset=6)
    return {
        f"{name}_shape": np.array(images.shape),
        f"{name}_pixels": np.frombuffer(residues, np.uint8),
    }


def _pictures(stored: Any, name: str) -> NDArray[np.uint8]:
    raw = lzma.decompress(stored[f"{name}_pixels"].tobytes())
    return _from_residues(np.frombuffer(raw, np.uint8).reshape(stored[f"{name}_shape"]))


def _guess(left: Any, above: Any, corner: Any) -> Any:
    """The median edge detector of JPEG-LS (Weinberger et al. 2000), int16 in and out."""
    low, high = np.minimum(left, above), np.maximum(left, above)
    plane = left + above - corner
    return np.where(corner >= high, low, np.where(corner <= low, high, plane))


def _residues(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    wide = np.pad(images.astype(np.int16), ((0, 0), (1, 0), (1, 0)))
    guess = _guess(wide[:, 1:, :-1], wide[:, :-1, 1:], wide[:, :-1, :-1])
    return np.asarray((images - guess) & 255, np.uint8)


def _from_residues(residues: NDArray[np.uint8]) -> NDArray[np.uint8]:
    count, height, width = residues.shape
    wide = np.zeros((height + 1, width + 1, count), np.int16)
    added = np.ascontiguousarray(residues.transpose(1, 2, 0)).astype(np.int16)
    for y in range(height):
        for x in range(width):
            guess = _guess(wide[y + 1, x], wide[y, x + 1], wide[y, x])
            wide[y + 1, x + 1] = (added[y, x] + guess) & 255
    return np.ascontiguousarray(wide[1:, 1:].transpose(2, 0, 1).astype(np.uint8))
