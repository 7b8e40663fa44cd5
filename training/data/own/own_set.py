"""A set of one's own: opened, its words understood, its pictures read as those of any set."""

import re
import statistics
import zipfile
from collections.abc import Iterable, Sequence, Set
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeemo.contract.checked.text import printable
from edgeemo.data.file_store import FileStore
from edgeemo.data.headers import read_header
from edgeemo.data.labelled import NO_PLACE, LabelledFile
from edgeemo.errors import ArchiveError, InvalidInput, PictureError
from training.data.own.layout import Asked, left_out, read_contents
from training.data.own.places import LooseFiles
from training.data.own.tables import LIST_SUFFIXES, TABLE_SUFFIXES
from training.data.own.tar import TarStore, is_tar
from training.data.own.words import (
    Meant,
    Rules,
    check_dropped,
    class_names_of,
    write_missing,
)

FACES = ("auto", "crop", "detect")
LARGEST_CROP = 256
"""Pixels: sets of cropped faces have up to 224 (AffectNet), photos begin at 320."""
_SAMPLE = 32
_NAME = re.compile(r"\w[\w .+-]{0,63}")


@dataclass(frozen=True)
class OwnSource:
    """A set that nobody has described: its name, and what is said of its layout."""

    name: str
    """Short name, as in `--source NAME=PATH` and in index.csv."""
    asked: Asked = field(default_factory=Asked)
    """Its layout."""
    faces: str = "auto"
    """One of FACES: whether pictures are cropped faces, or photos to find the face in."""
    kaggle: str = ""
    """It is on no page."""
    licence: str = "not stated"
    """Of its pictures."""
    official_test: bool = False
    """It has no test part that others compare on."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise InvalidInput(
                "expected a --source NAME of 1 to 64 letters, digits, blanks, '.', '+', '_' and "
                f"'-', received {printable(self.name)[:80]!r}; choose another"
            )


class OwnSet:
    """An opened set: what is known of an OwnSource, and its pictures as a PictureArchive has them;
    a context manager that closes it.

    Raises:
        MissingFile, ArchiveError, DataError, InvalidInput: a path, layout or table that does not
            fit.
    """

    def __init__(self, source: OwnSource, path: Path, rules: Rules) -> None:
        self.name, self.kaggle, self.licence = source.name, source.kaggle, source.licence
        self.official_test = source.official_test
        self.files: list[LabelledFile] = []
        self._store, table = _open(path)
        try:
            self._contents = read_contents(self._store, table, source.asked, rules)
            self.meant = self._understood(rules)
            self.longer_side = self._longer_side()
        except BaseException:
            self._store.close()
            raise
        self.photos = source.faces == "detect" or (
            source.faces == "auto" and self.longer_side > LARGEST_CROP
        )
        self.guessed = source.faces == "auto"

    def _understood(self, rules: Rules) -> dict[str, Meant]:
        words = dict.fromkeys(entry.word for entry in self._contents.entries)
        return {word: rules.label(word, self._contents.codes) for word in words}

    def _longer_side(self) -> int:
        """Median of the longer sides of some pictures, in pixels; 0 where none can be read."""
        names = [entry.path for entry in self._contents.entries]
        sides = []
        for name in names[:: max(1, len(names) // _SAMPLE)]:
            try:
                header = read_header(self._read(name))
            except (PictureError, ValueError):
                continue
            sides += [max(header.size)] if header else []
        return int(statistics.median(sides)) if sides else 0

    def open(self, path: Path, class_names: Sequence[str]) -> "OwnSet":
        """Itself, `files` with each picture that has a label among `class_names`; the others are
        noted as rejected.
        """
        del path
        for entry in self._contents.entries:
            meant = self.meant[entry.word]
            if meant.label is None:
                self.reject(entry.path, meant.reason or NO_PLACE)
            else:
                assert meant.label in class_names
                self.files.append(LabelledFile(entry.path, meant.label, entry.part))
        return self

    def check_classes(self, path: Path, read: Set[str]) -> None:
        """Raise ArchiveError where not one picture of a class could be read."""
        missing = sorted({file.label for file in self.files} - read)
        if missing:
            raise ArchiveError(
                f"{path}: expected pictures of {printable(missing[0])}, not one can be used "
                f"({self.left_out}); correct that, leave the class out with --drop, or add "
                "--allow-left-out to go on without it"
            )

    @property
    def left_out(self) -> str:
        """How many files are not among its pictures, and why, in words; "" for none."""
        return left_out(self._store)

    def labels(self, rules: Rules) -> set[str]:
        """What its words stand for, those to drop too."""
        kept = Rules(rules.class_names, rules.mapped)
        found = (kept.label(word, self._contents.codes).label for word in self.meant)
        return {label for label in found if label}

    def __enter__(self) -> "OwnSet":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close its files; more than once does no harm."""
        self._store.close()

    @property
    def rejected(self) -> list[dict[str, str]]:
        """Files that are not among its pictures, with `path` and `reason`."""
        return self._store.rejected

    def read(self, path: str) -> bytes:
        """A picture file's bytes. Raises PictureError."""
        return self._read(path)

    def start(self, path: str, count: int) -> bytes:
        """A file's first bytes."""
        return self._store.start(path, count)

    def reject(self, path: str, reason: str) -> None:
        """Note that `path` was left out, and why."""
        self._store.reject(path, reason)

    def _read(self, path: str) -> bytes:
        pixels = self._contents.pixels.get(path)
        return self._store.read(path) if pixels is None else pixels

    def described(self) -> dict[str, Any]:
        """For dataset.json: layout, faces, and what each word stands for (null: left out)."""
        return {
            "layout": self._contents.layout,
            "read_from": self._contents.shown,
            "faces": "detect" if self.photos else "crop",
            "longer_side": self.longer_side,
            "words": {word: meant.label for word, meant in self.meant.items()},
        }


def open_own(
    sources: Iterable[tuple[Any, Path]], rules: Rules, out: Path, stack: ExitStack
) -> tuple[list[tuple[Any, Path]], tuple[str, ...] | None]:
    """Sources with the own ones opened, on `stack`, and the classes: those of `rules`, else those
    that the own sets hold; None where neither says any.

    Words that nobody knows are written into a new file beside `out`.

    Raises:
        MissingFile, ArchiveError, DataError, InvalidInput: a set that does not fit, unknown words,
            a word to drop that is none, or fewer than 2 or more than 64 classes.
    """
    opened = [
        (stack.enter_context(OwnSet(source, path, rules)), path)
        if isinstance(source, OwnSource)
        else (source, path)
        for source, path in sources
    ]
    own = [source for source, _ in opened if isinstance(source, OwnSet)]
    if not own:
        return opened, rules.class_names
    words = [word for each in own for word in each.meant]
    check_dropped(rules, words, {label for each in own for label in each.labels(rules)})
    meant: dict[str, Meant] = {}
    for each in own:  # of a word that only one of the sets explains, what is not known
        meant |= {w: what for w, what in each.meant.items() if w not in meant or not what.known}
    if not all(what.known for what in meant.values()):
        unknown = [each.name for each in own if not all(w.known for w in each.meant.values())]
        raise write_missing(out, meant, unknown)
    if len(own) < len(opened):
        return opened, rules.class_names
    reasons = [text for each in own if (text := each.left_out)]
    names = class_names_of(
        (what.label for each in own for what in each.meant.values() if what.label),
        f" and leave out {', '.join(reasons)}" if reasons else "",
    )
    return opened, rules.class_names or names


def check_parts(name: str, path: Path, pictures: Iterable[tuple[str, str | None]]) -> None:
    """Raise ArchiveError where a part of a set holds nothing but files of its train part.

    Args:
        name: of the set.
        path: where it lies.
        pictures: sha256 and part of each.
    """
    parts: dict[str | None, set[str]] = {}
    for sha256, part in pictures:
        parts.setdefault(part, set()).add(sha256)
    train = parts.get("train", set())
    for part in ("validation", "test"):
        if parts.get(part) and parts[part] <= train:
            raise ArchiveError(
                f"{path}: expected other pictures in {part} than in train, every "
                f"file of {name}'s {part} ({len(parts[part]):,}) is in its train too; remove one "
                "of the two"
            )


def _open(path: Path) -> tuple[FileStore, Path | None]:
    """The files at a path, and the table or list where it is one."""
    if path.is_file():
        if path.suffix.lower() in TABLE_SUFFIXES | LIST_SUFFIXES:
            return LooseFiles(path.parent), path
        try:
            if is_tar(path):
                return TarStore(path), None
            if not zipfile.is_zipfile(path):
                raise ArchiveError(
                    f"{path}: expected a folder, a zip or tar archive, a table (.csv, .tsv) or a "
                    "list (.txt), received another file; unpack or convert it"
                )
        except OSError as error:
            raise ArchiveError(
                f"{path}: cannot be read ({error.strerror or error}); check its permissions"
            ) from None
    return FileStore(path), None
