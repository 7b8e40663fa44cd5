"""Prepared data: the folder that training writes and that training, export and `edgeemo evaluate`
read.

`images.npy` uint8 (N, H, W, C), `index.csv` with a row a picture, `dataset.json` with class names,
input spec, seeds, counts and what was rejected.
"""

import csv
import hashlib
import itertools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked import npy, strict
from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.checked.reading import read_regular, read_text, sha256_of, why_no_file
from edgeemo.contract.input_spec import InputSpec, parse_spec
from edgeemo.contract.labels import FERPLUS_COLUMNS, check_labels, check_same_labels
from edgeemo.errors import DataError, MissingFile, SpecMismatch

IMAGES, INDEX, DATASET = "images.npy", "index.csv", "dataset.json"
INDEX_COLUMNS = (
    "row",
    "source",
    "path",
    "sha256",
    "group",
    "given_label",
    "label",
    "split",
    "reason",
)
VOTE_COLUMNS = tuple(f"votes_{name.lower()}" for name in FERPLUS_COLUMNS)
SPLITS = ("train", "validation", "test")
EXCLUDED = "excluded"  # in the folder, in no split; the column `reason` says why
_MAX_PICTURES = 2_000_000
_MAX_INDEX_BYTES = 256 * 1024 * 1024  # a million rows of 250


@dataclass(frozen=True)
class Prepared:
    """A checked prepared folder."""

    path: Path
    """The folder."""
    images: NDArray[np.uint8]
    """uint8 (N, H, W, C), read lazily from the file."""
    labels: NDArray[np.int64]
    """int64 (N,), positions in `class_names`: what to train on and measure against."""
    given_labels: NDArray[np.int64]
    """int64 (N,), positions in `class_names`: what the set's folder says."""
    splits: NDArray[np.str_]
    """(N,) of "train", "validation", "test" or "excluded"."""
    groups: NDArray[np.int64]
    """int64 (N,), one number for all copies and near copies of one picture."""
    votes: NDArray[np.int64] | None
    """int64 (N, 10) FER+ votes in FERPLUS_COLUMNS order, -1 where unknown; None without FER+."""
    rows: list[dict[str, str]]
    """The index as text, a dict a picture."""
    dataset: dict[str, Any]
    """The parsed dataset.json."""
    class_names: tuple[str, ...]
    """What label numbers mean."""
    spec: InputSpec
    """The input spec that the pictures were prepared for."""

    @property
    def fingerprint(self) -> str:
        """Fingerprint of the input spec that the pictures were prepared for."""
        return self.spec.fingerprint()

    @property
    def split_hash(self) -> str:
        """sha256 over every picture's hash, label and split: equal exactly when the same pictures
        are split equally.
        """
        return split_hash((row["sha256"], row["label"], row["split"]) for row in self.rows)

    def indices(self, split: str) -> NDArray[np.int64]:
        """Row numbers of a split, ascending.

        Raises DataError when the split is unknown or empty.
        """
        if split not in SPLITS:
            raise DataError(f"expected a split of {', '.join(SPLITS)}, received {split!r}")
        rows = np.flatnonzero(self.splits == split)
        if not len(rows):
            raise DataError(
                f"{self.path}: holds no picture in the split {split!r}; prepare the data again"
                " with one"
            )
        return rows


def split_hash(rows: Iterable[tuple[str, str, str]]) -> str:
    """sha256 of the sorted (picture sha256, label, split) rows."""
    text = "\n".join(",".join(row) for row in sorted(rows))
    return hashlib.sha256(text.encode()).hexdigest()


def prepared_files(path: str | os.PathLike[str]) -> list[Path]:
    """Where the files lie that make `path` a prepared folder; its report is none."""
    return [Path(path) / name for name in (IMAGES, INDEX, DATASET)]


def is_prepared(path: str | os.PathLike[str]) -> bool:
    """Whether `path` looks like a prepared folder (holds a dataset.json)."""
    return (Path(path) / DATASET).is_file()


def load_prepared(
    path: str | os.PathLike[str],
    spec: InputSpec | None = None,
    class_names: Sequence[str] | None = None,
) -> Prepared:
    """Read and check a prepared folder.

    Args:
        spec, class_names: what it must have been prepared for; by default whatever it says.

    Raises:
        MissingFile: no such folder, or one of its files is missing.
        SpecMismatch: it was prepared for another input spec.
        DataError: any of its files is damaged or contradicts the others.
    """
    folder = Path(path)
    for name in (DATASET, INDEX, IMAGES):
        if why := why_no_file(folder / name):
            raise MissingFile(
                f"{folder}: expected a prepared folder with {name} ({why}); make one with: python"
                f" -m training prepare --out {folder}"
            )
    dataset, own_spec = _load_dataset(folder / DATASET)
    if spec is not None and own_spec.pixels != spec.pixels:
        raise SpecMismatch(
            f"{folder}: prepared for {own_spec.size} (input spec {own_spec.fingerprint()}),"
            f" expected {spec.size} ({spec.fingerprint()}); prepare the data again for this input"
        )
    names = tuple(dataset["labels"])
    if class_names is not None:
        check_same_labels(names, class_names, str(folder), DataError)
    images = _load_images(folder / IMAGES, own_spec)
    rows = _load_index(folder / INDEX)
    _check_agree(folder, dataset, images, rows)
    columns = _parse_rows(rows, names, folder / INDEX)
    return Prepared(folder, images, *columns, rows, dataset, names, own_spec)


def _check_agree(
    folder: Path, dataset: dict[str, Any], images: NDArray[np.uint8], rows: list[dict[str, str]]
) -> None:
    """Raise DataError unless the three files are of one another, and as they were written."""
    if len(rows) != len(images) or dataset["images"] != len(images):
        raise DataError(
            f"{folder}: {IMAGES} holds {count_of(len(images), 'picture')}, {INDEX} "
            f"{count_of(len(rows), 'row')} and"
            f" {DATASET} promises {dataset['images']}; prepare the data again"
        )
    if (
        file_sha256(folder / IMAGES) != dataset["images_sha256"]
        or file_sha256(folder / INDEX) != dataset["index_sha256"]
    ):
        raise DataError(
            f"{folder}: its files have changed since they were prepared (sha256 differs); prepare"
            " the data again"
        )


def file_sha256(path: Path) -> str:
    """sha256 of a file's bytes in hex."""
    with path.open("rb") as file:
        return sha256_of(file)


def _load_dataset(path: Path) -> tuple[dict[str, Any], InputSpec]:
    try:
        dataset = strict.loads(read_regular(path, strict.MAX_BYTES))
        labels, fingerprint, count = (
            dataset["labels"],
            dataset["input_fingerprint"],
            dataset["images"],
        )
        hashes = dataset["images_sha256"], dataset["index_sha256"]
        if (
            not isinstance(labels, list)
            or not isinstance(count, int)
            or not all(isinstance(word, str) for word in [*labels, fingerprint, *hashes])
        ):
            raise ValueError("a field has the wrong type")
        check_labels(labels, "labels", ValueError)
        _check_origin(dataset)
        spec, _ = parse_spec(dataset["input_spec"], fingerprint, "input_spec")
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise DataError(
            f"{path}: not the dataset.json of prepared data ({error}); prepare the data again"
        ) from None
    return dict(dataset), spec


def _check_origin(dataset: dict[str, Any]) -> None:
    """Raise ValueError, KeyError unless what says where the pictures come from can be read."""
    for name, kind in (("seed", int), ("split", str), ("sources", list)):
        if type(dataset[name]) is not kind:
            raise ValueError(f"{name}: expected {kind.__name__}, received {dataset[name]!r:.60}")
    for source in dataset["sources"]:
        if not isinstance(source, dict) or not isinstance(source.get("name"), str):
            raise ValueError(f"sources: expected objects with a name, received {source!r:.60}")
    conflicts = dataset.get("conflicts", {})
    if not isinstance(conflicts, dict) or not isinstance(conflicts.get("policy", ""), str):
        raise ValueError(f"conflicts: expected an object with a policy, received {conflicts!r:.60}")


def _load_images(path: Path, spec: InputSpec) -> NDArray[np.uint8]:
    try:
        with path.open("rb") as file:
            dtype, shape, offset = npy.read_header(
                file.read(npy.MAX_HEADER_BYTES), path.stat().st_size
            )
    except (ValueError, OSError) as error:
        raise DataError(
            f"{path}: not a readable NumPy array ({error}); prepare the data again"
        ) from None
    if dtype != np.uint8 or shape[1:] != spec.shape or not 0 < shape[0] <= _MAX_PICTURES:
        raise DataError(
            f"{path}: expected uint8 (N, {', '.join(map(str, spec.shape))}), received {dtype}"
            f" {shape}; prepare the data again"
        )
    return np.memmap(path, dtype, "r", offset, shape)


def _load_index(path: Path) -> list[dict[str, str]]:
    try:
        with read_text(path, _MAX_INDEX_BYTES) as file:
            reader = csv.DictReader(file, strict=True)
            columns = tuple(reader.fieldnames or ())
            if columns not in (INDEX_COLUMNS, INDEX_COLUMNS + VOTE_COLUMNS):
                raise ValueError(
                    f"expected the columns {', '.join(INDEX_COLUMNS)}, received"
                    f" {', '.join(columns)[:200]!r}"
                )
            rows = list(itertools.islice(reader, _MAX_PICTURES + 1))
            if len(rows) > _MAX_PICTURES:
                raise ValueError(f"more than {_MAX_PICTURES:,} rows")
            # DictReader fills a short row with None, and puts what a long one has too much under
            # the key None.
            if any(None in row or None in row.values() for row in rows):
                raise ValueError(f"a row of more or fewer than {len(columns)} cells")
    except (ValueError, OSError, csv.Error) as error:
        raise DataError(f"{path}: {error}; prepare the data again") from None
    return rows


def _parse_rows(
    rows: list[dict[str, str]], class_names: Sequence[str], path: Path
) -> tuple[
    NDArray[np.int64],
    NDArray[np.int64],
    NDArray[np.str_],
    NDArray[np.int64],
    NDArray[np.int64] | None,
]:
    """The columns label, given_label, split, group and votes as arrays."""
    try:
        if any(int(row["row"]) != i for i, row in enumerate(rows)):
            raise ValueError("rows are not numbered from 0")
        labels, given_labels = (
            _label_column(rows, name, class_names) for name in ("label", "given_label")
        )
        splits = np.array([row["split"] for row in rows], np.str_)
        if not np.isin(splits, (*SPLITS, EXCLUDED)).all():
            raise ValueError(f"expected a split of {', '.join(SPLITS)} or {EXCLUDED}")
        if any((row["split"] == EXCLUDED) != bool(row["reason"]) for row in rows):
            raise ValueError("expected a reason exactly where a picture is excluded")
        groups = np.array([int(row["group"]) for row in rows], np.int64)
        votes = None
        if rows and VOTE_COLUMNS[0] in rows[0]:
            votes = np.array(
                [[int(row[name] or -1) for name in VOTE_COLUMNS] for row in rows], np.int64
            )
    except (ValueError, OverflowError) as error:
        raise DataError(f"{path}: {error}; prepare the data again") from None
    return labels, given_labels, splits, groups, votes


def _label_column(
    rows: list[dict[str, str]], name: str, class_names: Sequence[str]
) -> NDArray[np.int64]:
    number = {label: i for i, label in enumerate(class_names)}
    for row in rows:
        if row[name] not in number:
            raise ValueError(
                f"expected a {name} of {', '.join(class_names)}, received {row[name][:60]!r}"
            )
    return np.array([number[row[name]] for row in rows], np.int64)
