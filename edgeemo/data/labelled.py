"""Folders and zip archives of labelled pictures, `.../<class>/<file>`, read as if they were
hostile.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.labels import DROPPED_WORDS, match_label_or_none, meaning
from edgeemo.contract.preprocess import face_to_input
from edgeemo.data.ferplus import ferplus_majority, group_votes
from edgeemo.data.file_store import FileStore, name_fault
from edgeemo.data.pictures import MAX_PIXELS_OF_MANY, decode_picture, pixel_bound
from edgeemo.data.prepared import Prepared, is_prepared, load_prepared
from edgeemo.errors import ArchiveError, PictureError

NO_PLACE = "class without a place among the labels"
"""Why pictures of a known class that is none of the class names are left out."""
# Folder names that mean a split, and the split they mean.
SPLIT_WORDS = {
    "train": "train", "training": "train", "train_dir": "train", "train_set": "train",
    "training_set": "train", "fer2013train": "train",
    "validation": "validation", "valid": "validation", "val": "validation",
    "validation_dir": "validation", "val_set": "validation", "validation_set": "validation",
    "dev": "validation", "fer2013valid": "validation", "publictest": "validation",
    "test": "test", "testing": "test", "test_dir": "test", "test_set": "test",
    "fer2013test": "test", "privatetest": "test",
}  # fmt: skip


def plain_word(name: str) -> str:
    """A name in lower case without outer blanks, inner blanks and hyphens as `_`."""
    return re.sub(r"[\s-]+", "_", name.strip().lower())


@dataclass(frozen=True)
class LabelledFile:
    """One picture file inside a folder or archive."""

    path: str
    """Inside the folder or archive, with `/`."""
    label: str
    """One of the class names, from the nearest folder's name, by itself or its vocabulary."""
    split: str | None
    """"train", "validation" or "test" where a folder above says so, else None."""


class PictureArchive(FileStore):
    """A folder or zip archive of `<class>/` pictures; a context manager.

    With `labels_from="name"` the file's own name is the class (`<subject>/Happy.jpg`) instead of
    its folder. `files` are the usable entries in path order, `rejected` the others with their
    reason; nothing is skipped silently.

    Raises:
        MissingFile: nothing at `path`.
        ArchiveError: neither a folder nor a zip archive, or one of too many files.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        class_names: Sequence[str],
        *,
        labels_from: str = "folder",
    ) -> None:
        super().__init__(path)
        self.class_names = tuple(class_names)
        self._labels_from = labels_from
        self.files = [file for name in self.names if (file := self._classify(name)) is not None]

    def _classify(self, name: str) -> LabelledFile | None:
        path = PurePosixPath(name)
        folders = path.parts[:-1]
        if fault := name_fault(name):
            self.reject(name, fault)
            return None
        # A folder above that merely happens to be a label word must not label the pictures of an
        # unknown class.
        word = path.stem if self._labels_from == "name" else folders[-1] if folders else ""
        label = match_label_or_none(word, self.class_names)
        if label is None:
            known = word.strip().lower() in DROPPED_WORDS or meaning(word) is not None
            unknown = (
                "class folder of unknown name"
                if self._labels_from == "folder"
                else "file name of no known class"
            )
            self.reject(name, NO_PLACE if known else unknown)
            return None
        # The class's own folder may be named as a split is: "pass" and "test" are two classes.
        above = folders if self._labels_from == "name" else folders[:-1]
        plain = map(plain_word, above)
        words = [SPLIT_WORDS[folder] for folder in plain if folder in SPLIT_WORDS]
        split = words[-1] if words else None
        return LabelledFile(name, label, split)


@dataclass(frozen=True)
class LabelledInputs:
    """Network inputs uint8 (N, H, W, C) with label numbers (N,), and files left out, by reason.

    `majority` is the label number that more than half of FER+'s taggers agree on, int64 (N,), -1
    where they agree on none; None where no votes are known.
    """

    inputs: NDArray[np.uint8]
    """uint8 (N, H, W, C)."""
    labels: NDArray[np.int64]
    """Label numbers, int64 (N,)."""
    left_out: dict[str, int]
    """Files left out, by reason."""
    majority: NDArray[np.int64] | None = None
    """FER+'s majority, int64 (N,), -1 where there is none; None without votes."""


def load_inputs(
    path: str | os.PathLike[str], split: str, spec: InputSpec, class_names: Sequence[str]
) -> LabelledInputs:
    """The labelled inputs of a prepared folder, or of a folder or zip archive of `<class>/`
    pictures of cropped faces.

    Where folder names mean splits (train/, test/, ...), only the files of `split` count; where none
    do, all.

    Raises:
        MissingFile, ArchiveError, DataError, SpecMismatch: what it says; also when not a single
            picture is usable.
    """
    if is_prepared(path):
        return _prepared_inputs(load_prepared(path, spec, class_names), split)
    with PictureArchive(path, class_names) as archive:
        most = pixel_bound(MAX_PIXELS_OF_MANY)
        splits = sorted({file.split for file in archive.files if file.split})
        inputs, labels = [], []
        for file in archive.files:
            if splits and file.split != split:
                continue
            try:
                frame = decode_picture(archive.read(file.path), file.path, most, may_shrink=True)
            except PictureError:
                archive.reject(file.path, "not a usable picture")
                continue
            inputs.append(face_to_input(frame, (0, 0, frame.shape[1], frame.shape[0]), spec))
            labels.append(archive.class_names.index(file.label))
        left_out = archive.rejected_counts()
    if not inputs:
        raise _no_inputs(path, split, splits, left_out, class_names)
    return LabelledInputs(np.stack(inputs), np.array(labels, np.int64), left_out)


def _prepared_inputs(data: Prepared, split: str) -> LabelledInputs:
    rows, majority = data.indices(split), None
    if data.votes is not None:
        majority = ferplus_majority(group_votes(data)[rows], data.class_names)[0]
    return LabelledInputs(np.asarray(data.images[rows]), data.labels[rows], {}, majority)


def _no_inputs(
    path: str | os.PathLike[str],
    split: str,
    splits: Sequence[str],
    left_out: dict[str, int],
    class_names: Sequence[str],
) -> ArchiveError:
    reasons = [f"{count} x {reason}" for reason, count in left_out.items()]
    if splits and split not in splits:
        reasons.append(f"its folders name the split {', '.join(splits)}")
    return ArchiveError(
        f"{path}: not a single usable picture for the split {split!r} "
        f"({', '.join(reasons) or 'it is empty'}); expected <class>/ folders named after "
        f"{', '.join(class_names)}, or a prepared folder"
    )
