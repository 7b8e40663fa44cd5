"""The data sets that `prepare` knows, each with its layout, licence, vocabulary and Kaggle name
stated once.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edgeemo.data.labelled import LabelledFile, PictureArchive
from edgeemo.errors import ArchiveError, InvalidInput


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
    """The same as a regular expression, from the first folder that belongs to the layout on."""
    vocabulary: tuple[str, ...] = (
        "angry", "disgust", "fear", "happy", "neutral", "sad", "surprise",
    )  # fmt: skip
    """The set's words for the classes; contract/labels.py maps them."""
    splits: tuple[str, ...] = ()
    """The splits that its folders name; all of them must be there."""
    official_test: bool = False
    """Whether its `test` is the held-out part that the field compares on.

    The re-splits of FER-2013 have none: theirs are full of FER-2013's training pictures."""
    second_copy: tuple[str, str] | None = None
    """(folder, folder): what lies in the first also lies in the second, and is left out there."""
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
        if not fits or not set(self.splits) <= {file.split for file in fits}:
            contents = _contents(archive, self)
            archive.close()
            raise ArchiveError(
                f"{path}: expected {self.name} as {self.layout}; found {contents}; get it from "
                f"kaggle.com/datasets/{self.kaggle}"
            )
        inside = {file.path for file in fits}
        for file in archive.files:
            if file.path not in inside:
                archive.reject(file.path, "outside the set's layout")
        archive.files = [file for file in fits if not self._is_second_copy(file, inside, archive)]
        return archive

    def fits(self, path: str) -> bool:
        """Whether the layout has a place for a picture at `path`."""
        return re.search(rf"(?:^|/){self.pattern}$", path, re.IGNORECASE) is not None

    def _is_second_copy(
        self, file: LabelledFile, inside: set[str], archive: PictureArchive
    ) -> bool:
        if self.second_copy is None or self.second_copy[1] not in file.path:
            return False
        first, second = self.second_copy
        if file.path.replace(second, first, 1) not in inside:
            return False
        archive.reject(file.path, "second copy inside the archive")
        return True


_FER2013_NAME = r"(?:Training|PublicTest|PrivateTest)_\d{8}\.\w+"
_RESPLIT = "not stated for the pictures, which are FER-2013's (DbCL, research use)"

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
            layout="train/<class>/Training_*.png and test/<class>/PublicTest_*.png (or .jpg)",
            pattern=rf"(?:train|test)/[^/]+/{_FER2013_NAME}",
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
            pattern=r"images/(?:train|validation)/[^/]+/[^/]+",
            splits=("train", "validation"),
            second_copy=("images/", "images/images/"),
        ),
        Source(
            name="face-emotion-dataset",
            kaggle="missaouimohamedamine/face-emotion-dataset",
            licence=_RESPLIT,
            layout="train/<class>/* and test/<class>/* (im*.png, Training_<number>.jpg, aug_*.jpg)",
            pattern=rf"(?:train|test)/[^/]+/(?!{_FER2013_NAME}$)[^/]+",
            splits=("train", "test"),
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
            pattern=r"images/\d+/[^/]+",
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


def parse_source(text: str) -> tuple[Source, Path | None]:
    """The source and path of `NAME=PATH`; without `=PATH` the path is None: download it. Raises
    InvalidInput.
    """
    name, sign, path = text.partition("=")
    if name not in SOURCES or (sign and not path):
        raise InvalidInput(
            "expected --source NAME or NAME=ARCHIVE_OR_FOLDER with a NAME of "
            f"{', '.join(SOURCES)}; received {text!r}"
        )
    return SOURCES[name], Path(path) if sign else None


def choose_sources(
    texts: Iterable[str], *, accept_license: bool
) -> list[tuple[Source, Path | None]]:
    """The sources of several `--source`; all that need no licence accepted (or all) where there is
    none.

    Raises:
        InvalidInput: an unknown name, one given twice, or a set whose licence has to be accepted
            first.
    """
    chosen = [parse_source(text) for text in texts] or [
        (source, None) for source in SOURCES.values() if accept_license or not source.opt_in
    ]
    names = Counter(source.name for source, _ in chosen)
    for source, _ in chosen:
        if names[source.name] > 1:
            raise InvalidInput(
                f"expected each --source once, received {source.name} {names[source.name]} times"
            )
        if source.opt_in and not accept_license:
            raise InvalidInput(
                f"{source.name} is read only with --accept-license: {source.opt_in} "
                f"(kaggle.com/datasets/{source.kaggle})"
            )
    return chosen


def _contents(archive: PictureArchive, asked: Source) -> str:
    """What an archive of the wrong layout holds, in words."""
    shapes = Counter(_shape(file.path) for file in archive.files)
    parts = [f"{count:,} pictures at {shape}" for shape, count in shapes.most_common(3)] or [
        "no usable picture"
    ]
    parts += [
        f"{count:,} x {reason}" for reason, count in list(archive.rejected_counts().items())[:3]
    ]
    paths = [file.path for file in archive.files] + [row["path"] for row in archive.rejected]
    likely = [
        s.name
        for s in SOURCES.values()
        if s is not asked and sum(map(s.fits, paths)) > len(paths) / 2
    ]
    return ", ".join(parts) + (f" (it looks like {' or '.join(likely)})" if likely else "")


def _shape(path: str) -> str:
    folders = PurePosixPath(path).parts[:-1]
    return "/".join([*folders[:-1], "<class>", "*"])[:120]
