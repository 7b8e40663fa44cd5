"""The data sets that `prepare` knows, each with its layout, licence, vocabulary and Kaggle name
stated once.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edgeemo.contract.checked.counts import count_of
from edgeemo.data.labelled import SPLIT_WORDS, LabelledFile, PictureArchive, plain_word
from edgeemo.errors import ArchiveError, InvalidInput
from training.data.own.own_set import OwnSource


@dataclass(frozen=True)
class Source:
    """A data set."""

    name: str
    """Short name, as in `--source NAME=PATH` and in index.csv."""
    kaggle: str
    """OWNER/NAME on kaggle.com."""
    licence: str
    """What its page says."""
    layout: str
    """Where the pictures lie inside, in words."""
    pattern: str
    """The same as a regular expression, from the first folder that belongs to the layout on.

    Matched against paths in lower case, blanks and hyphens as `_` (`plain_path`)."""
    vocabulary: tuple[str, ...] = (
        "angry", "disgust", "fear", "happy", "neutral", "sad", "surprise",
    )  # fmt: skip
    """The set's words for the classes; contract/labels.py maps them."""
    splits: tuple[str, ...] = ()
    """The splits that its folders name; all of them must be there."""
    official_test: bool = False
    """Whether its `test` is the held-out part that the field compares on.

    The re-splits of FER-2013 have none: theirs are full of FER-2013's training pictures."""
    second_copy: str | None = None
    """A folder: what lies there too without it in its path is left out with it."""
    includes: str | None = None
    """A set whose layout fits this one's too: an archive of that set alone is refused."""
    photos: bool = False
    """Whether its pictures are whole photos: the face detector finds the face."""
    labels_from: str = "folder"
    """"folder", or "name" for a class as the file's name."""
    opt_in: str | None = None
    """Why the set is read only with --accept-license; None for the others."""

    def open(self, path: str | Path, class_names: Sequence[str]) -> PictureArchive:
        """Open the set's archive or folder; files outside the set's layout are among its
        `rejected`.

        Raises:
            MissingFile: nothing at `path`.
            ArchiveError: without a usable picture, or of another layout; the message says what was
                expected and found.
        """
        archive = PictureArchive(path, class_names, labels_from=self.labels_from)
        fits = [file for file in archive.files if self.fits(file.path)]
        if not self._is_it(fits, archive.files):
            contents = _contents(archive, self)
            archive.close()
            raise ArchiveError(
                f"{path}: expected {self.name} as {self.layout}; found {contents}; get it from "
                f"kaggle.com/datasets/{self.kaggle}"
            )
        inside = {file.path for file in fits}
        for file in archive.files:
            if file.path not in inside:
                archive.reject(file.path, OUTSIDE)
        plain = set(map(plain_path, inside))
        archive.files = [file for file in fits if not self._is_second_copy(file, plain, archive)]
        return archive

    def fits(self, path: str) -> bool:
        """Whether the layout has a place for a picture at `path`."""
        return re.search(rf"(?:^|/){self.pattern}$", plain_path(path)) is not None

    def _is_it(self, fits: list[LabelledFile], files: list[LabelledFile]) -> bool:
        """Whether pictures of which some fit the layout are this set."""
        if 2 * len(fits) < max(len(files), 1):
            return False
        if not set(self.splits) <= {file.split for file in fits}:
            return False
        other = SOURCES[self.includes] if self.includes else None
        return other is None or not _mostly(other, [file.path for file in files], 0.9)

    def _is_second_copy(
        self, file: LabelledFile, inside: set[str], archive: PictureArchive
    ) -> bool:
        parts = plain_path(file.path).split("/")
        if self.second_copy not in parts[:-1]:
            return False
        parts.remove(self.second_copy)
        if "/".join(parts) not in inside:
            return False
        archive.reject(file.path, SECOND_COPY)
        return True


OUTSIDE = "outside the set's layout"
SECOND_COPY = "second copy inside the archive"


def plain_path(path: str) -> str:
    """A path without what people and systems change in names: case, and outer blanks of folders;
    inner blanks and hyphens are `_`.
    """
    return "/".join(map(plain_word, path.split("/")))


def _mostly(source: Source, paths: Sequence[str], share: float) -> bool:
    """Whether more than a share of the paths fit a set's layout, in each of its splits."""
    fits = [path for path in paths if source.fits(path)]
    words = {word for path in fits for word in plain_path(path).split("/")[:-2]}
    return len(fits) > share * len(paths) and set(source.splits) <= {
        SPLIT_WORDS[word] for word in words & SPLIT_WORDS.keys()
    }


_RESPLIT = "not stated for the pictures, which are FER-2013's (DbCL, research use)"

# Sets of the same pictures.
FER2013_AGAIN = frozenset(
    {
        "fer2013",
        "facial-emotion-expressions",
        "face-emotion-dataset",
        "facial-emotion-dataset",
    }
)

SOURCES = {
    source.name: source
    for source in (
        Source(
            name="fer2013",
            kaggle="msambare/fer2013",
            licence=(
                "Database Contents License (DbCL) 1.0 as its page says; pictures from the web, "
                "research use"
            ),
            layout=(
                "train/<class>/Training_*.jpg and test/<class>/PublicTest_*.jpg and "
                "PrivateTest_*.jpg (or .png)"
            ),
            pattern=r"(?:train/[^/]+/training|test/[^/]+/(?:publictest|privatetest))_[^/]+",
            splits=("train", "test"),
            official_test=True,
        ),
        Source(
            name="facial-emotion-expressions",
            kaggle="samaneheslamifar/facial-emotion-expressions",
            licence=_RESPLIT,
            layout=(
                "images/train/<class>/*.jpg and images/validation/<class>/*.jpg (and a second "
                "copy at images/images/)"
            ),
            pattern=r"(?:train|validation)/[^/]+/[^/]+",
            splits=("train", "validation"),
            second_copy="images",
        ),
        Source(
            name="face-emotion-dataset",
            kaggle="missaouimohamedamine/face-emotion-dataset",
            licence=_RESPLIT,
            layout="train/<class>/* and test/<class>/* (im*.png, Training_<number>.jpg, aug_*.jpg)",
            pattern=r"(?:train|test)/[^/]+/[^/]+",
            splits=("train", "test"),
            includes="fer2013",
        ),
        Source(
            name="facial-emotion-dataset",
            kaggle="dilkushsingh/facial-emotion-dataset",
            licence=_RESPLIT,
            layout="train_dir/<class>/*.jpg and test_dir/<class>/*.jpg (or .jpeg)",
            pattern=r"(?:train_dir|test_dir)/[^/]+/[^/]+",
            splits=("train", "test"),
        ),
        Source(
            name="facial-emotion-recognition",
            kaggle="tapakah68/facial-emotion-recognition",
            licence="CC BY-NC-ND 4.0",
            layout="images/<subject>/<Class>.jpg, colour photos, with emotions.csv",
            pattern=(
                r"[^/]+/(?:anger|contempt|disgust|fear|happy|neutral|sad|surprised)_*\.[a-z]+"
            ),
            vocabulary=(
                "Anger",
                "Contempt",
                "Disgust",
                "Fear",
                "Happy",
                "Neutral",
                "Sad",
                "Surprised",
            ),
            photos=True,
            labels_from="name",
            opt_in=(
                "its licence (CC BY-NC-ND 4.0) forbids commercial use and derived works, and "
                "one of its subjects is 15 years old"
            ),
        ),
    )
}


def parse_source(text: str) -> tuple[Source | OwnSource, Path | None]:
    """The source and path of `NAME=PATH`: one of SOURCES, or an own one of any other name.

    Of SOURCES without `=PATH` the path is None: download it. Raises InvalidInput.
    """
    name, sign, path = text.partition("=")
    if (sign and not path) or (not sign and name not in SOURCES) or not name:
        raise InvalidInput(
            "expected --source NAME=PATH with the folder, archive or table of faces of your own, "
            f"or --source NAME with a NAME of {', '.join(SOURCES)}; received {text[:200]!r}"
        )
    return SOURCES.get(name) or OwnSource(name), Path(path) if sign else None


def choose_sources(
    texts: Iterable[str], *, accept_license: bool
) -> list[tuple[Source | OwnSource, Path | None]]:
    """The sources of several `--source`; all that need no licence accepted (or all) where there is
    none.

    Raises:
        InvalidInput: an unknown name without a path, a name or path given twice, or a set whose
            licence has to be accepted first.
    """
    chosen = [parse_source(text) for text in texts] or [
        (source, None) for source in SOURCES.values() if accept_license or not source.opt_in
    ]
    _check_apart([path for _, path in chosen if path is not None])
    names = Counter(source.name for source, _ in chosen)
    for source, _ in chosen:
        if names[source.name] > 1:
            raise InvalidInput(
                f"expected each --source once, received {source.name} {names[source.name]} times"
            )
        if isinstance(source, Source) and source.opt_in and not accept_license:
            raise InvalidInput(
                f"{source.name} is read only with --accept-license: {source.opt_in} "
                f"(kaggle.com/datasets/{source.kaggle})"
            )
    return chosen


def _check_apart(paths: Sequence[Path]) -> None:
    """Raise InvalidInput where two sources are the same file or folder."""
    real: dict[str, Path] = {}
    for path in paths:
        other = real.setdefault(os.path.realpath(path), path)
        if other is not path:
            raise InvalidInput(
                f"expected another path for each --source, {other} and {path} are the same"
            )


def _contents(archive: PictureArchive, asked: Source) -> str:
    """What an archive of the wrong layout holds, in words."""
    shapes = Counter(_shape(file.path) for file in archive.files)
    parts = [
        f"{count_of(count, 'picture')} at {shape}" for shape, count in shapes.most_common(3)
    ] or ["no usable picture"]
    parts += [
        f"{count:,} x {reason}" for reason, count in list(archive.rejected_counts().items())[:3]
    ]
    paths = [file.path for file in archive.files] + [row["path"] for row in archive.rejected]
    likely = [s.name for s in SOURCES.values() if s is not asked and _mostly(s, paths, 0.5)]
    # Where one of them is a special case of another, it is the special one.
    wider = {s.name for s in SOURCES.values() if s.includes in likely}
    likely = [name for name in likely if name not in wider] or likely
    return ", ".join(parts) + (f" (it looks like {' or '.join(likely)})" if likely else "")


def _shape(path: str) -> str:
    folders = PurePosixPath(path).parts[:-1]
    return "/".join([*folders[:-1], "<class>", "*"])[:120]
