"""Folders and zip archives of labelled pictures, `.../<class>/<file>`, read as if they were
hostile.
"""

import os
import re
import stat
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked.reading import open_regular, why_no_file
from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.labels import DROPPED_WORDS, known_label, match_label_or_none
from edgeemo.contract.preprocess import face_to_input
from edgeemo.data.ferplus import ferplus_majority, group_votes
from edgeemo.data.pictures import (
    MAX_BYTES,
    MAX_PIXELS_OF_MANY,
    SUFFIXES,
    decode_picture,
    pixel_bound,
)
from edgeemo.data.prepared import Prepared, is_prepared, load_prepared
from edgeemo.data.zip_entries import check_directory
from edgeemo.errors import ArchiveError, MissingFile, PictureError

MAX_FILES = 500_000
MAX_TOTAL_BYTES = 16 * 1024**3
MAX_RATIO = (
    200  # unpacked over packed; pictures are packed already, so an honest archive stays near 1
)
NO_PLACE = "class without a place among the labels"
"""Why pictures of a known class that is none of the class names are left out."""
_NEVER_PICTURES = frozenset({"thumbs.db", ".ds_store", "desktop.ini"})
# A path is stored in index.csv as it is, and must lead back to its file.
_UNWRITABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# Folder names that mean a split, and the split they mean.
SPLIT_WORDS = {
    "train": "train", "training": "train", "train_dir": "train",
    "validation": "validation", "valid": "validation", "val": "validation",
    "validation_dir": "validation",
    "test": "test", "testing": "test", "test_dir": "test",
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


class PictureArchive:
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
        self.class_names = tuple(class_names)
        self.path = Path(path)
        self._labels_from = labels_from
        self._zip: zipfile.ZipFile | None = None
        self._entries: dict[str, zipfile.ZipInfo] = {}
        self.rejected: list[dict[str, str]] = []
        if self.path.is_dir():
            names = self._folder_names()
        elif self.path.is_file():
            names = self._zip_names()
        else:
            why = (why_no_file(self.path) or "").replace("file", "folder or archive")
            raise MissingFile(f"{self.path}: {why}; check the path")
        self.files = [file for name in sorted(names) if (file := self._classify(name)) is not None]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the archive; more than once does no harm."""
        if self._zip is not None:
            self._zip.close()

    def read(self, path: str) -> bytes:
        """The bytes of one entry.

        Raises PictureError when it is damaged, too large or unreadable.
        """
        try:
            if self._zip is None:
                with open_regular(self.path / path) as file:
                    data = file.read(MAX_BYTES + 1)
            else:
                with self._zip.open(self._entries.get(path, path)) as entry:
                    data = entry.read(MAX_BYTES + 1)
        except (
            OSError,
            zipfile.BadZipFile,
            EOFError,
            RuntimeError,
            NotImplementedError,
            ValueError,
        ) as error:
            raise PictureError(f"{self.path}/{path}: cannot be read ({error})") from None
        except Exception as error:  # zlib.error, lzma.LZMAError: zipfile passes them on
            raise PictureError(f"{self.path}/{path}: damaged ({error})") from None
        if len(data) > MAX_BYTES:
            raise PictureError(f"{self.path}/{path}: unpacks to more than {MAX_BYTES:,} bytes")
        return data

    def reject(self, path: str, reason: str) -> None:
        """Note that `path` was left out, and why."""
        self.rejected.append({"path": path, "reason": reason})

    def rejected_counts(self) -> dict[str, int]:
        """How many entries were left out, by reason, most first."""
        return dict(Counter(row["reason"] for row in self.rejected).most_common())

    def _folder_names(self) -> Iterator[str]:
        count = 0
        for root, folders, files in os.walk(self.path, onerror=self._unreadable):
            folders.sort()
            links = [name for name in folders if Path(root, name).is_symlink()]
            for name in links + files:
                count += 1
                if count > MAX_FILES:
                    raise ArchiveError(
                        f"{self.path}: more than {MAX_FILES:,} files; name a folder with fewer"
                    )
                full = Path(root, name)
                relative = full.relative_to(self.path).as_posix()
                if full.is_symlink() or not full.is_file():
                    self.reject(relative, "a link or special file")
                else:
                    yield relative

    def _unreadable(self, error: OSError) -> None:
        self.reject(
            Path(error.filename).relative_to(self.path).as_posix(), "a folder that cannot be read"
        )

    def _zip_names(self) -> Iterator[str]:
        try:
            check_directory(self.path, MAX_FILES)
        except (OSError, ValueError) as error:
            raise ArchiveError(f"{self.path}: {error}; split the archive") from None
        try:
            self._zip = zipfile.ZipFile(self.path)
        except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
            raise ArchiveError(
                f"{self.path}: expected a folder or a zip archive, received neither ({error})"
            ) from None
        # Not is_dir(): before Python 3.12 that fails for an entry without a name.
        entries = [entry for entry in self._zip.infolist() if not entry.filename.endswith("/")]
        seen: set[str] = set()
        total = 0
        for entry in entries:
            reason = _entry_fault(entry, seen)
            seen.add(entry.filename)
            if reason is None:
                total += entry.file_size
                reason = "beyond what an archive may unpack to" if total > MAX_TOTAL_BYTES else None
            if reason:
                self.reject(entry.filename, reason)
            else:
                self._entries[entry.filename] = (
                    entry  # by name alone, zipfile would open the last of several
                )
                yield entry.filename

    def _classify(self, name: str) -> LabelledFile | None:
        path = PurePosixPath(name)
        folders = path.parts[:-1]
        if _UNWRITABLE.search(name):
            self.reject(name, "a name with control characters or that is no UTF-8")
            return None
        if (
            "__MACOSX" in folders
            or path.name.lower() in _NEVER_PICTURES
            or path.name.startswith("._")
        ):
            self.reject(name, "system file")
            return None
        if path.suffix.lower() not in SUFFIXES:
            self.reject(name, "not a picture file")
            return None
        # A folder above that merely happens to be a label word must not label the pictures of an
        # unknown class.
        word = path.stem if self._labels_from == "name" else folders[-1] if folders else ""
        label = match_label_or_none(word, self.class_names)
        if label is None:
            known = word.strip().lower() in DROPPED_WORDS or known_label(word) is not None
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


def _entry_fault(entry: zipfile.ZipInfo, seen: set[str]) -> str | None:
    parts = PurePosixPath(entry.filename).parts
    if not parts:
        return "an entry without a name"
    if entry.filename.startswith("/") or ".." in parts or "\\" in entry.filename:
        return "path that leads outside"
    if entry.filename in seen:
        return "second entry of the same name"
    if stat.S_ISLNK(entry.external_attr >> 16):
        return "a link or special file"
    if entry.flag_bits & 1:
        return "encrypted"
    if entry.file_size > MAX_BYTES:
        return "too large"
    if entry.file_size > MAX_RATIO * max(entry.compress_size, 1):
        return "packed too tightly to be a picture"
    return None


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
                frame = decode_picture(archive.read(file.path), file.path, most)
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
