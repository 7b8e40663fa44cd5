"""Archives of labelled faces, read: the network's input of every usable picture, and what was
not.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.crop import BOX
from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.labels import match_label_or_none
from edgeemo.contract.preprocess import face_to_input
from edgeemo.data.labelled import NO_PLACE, LabelledFile, PictureArchive
from edgeemo.data.pictures import MAX_PIXELS_OF_MANY, decode_picture, pixel_bound
from edgeemo.data.prepared import VOTE_COLUMNS
from edgeemo.errors import ArchiveError, PictureError
from edgeemo.faces import Detector, crop_of, open_detector
from training.data.competition import SIDE, Table, find_table
from training.data.hidden import look_closer
from training.data.left_out import BROKEN, NO_FACE, check_whole
from training.data.own.own_set import LARGEST_CROP, OwnSet, check_parts
from training.data.sources import Source
from training.data.split_files import picture_id
from training.data.votes import Votes
from workstation.progress import counted

_Item = TypeVar("_Item")

_MAX_LOST = 0.1
"""Of photos, those in which no face is found: a few percent of real ones, half of large crops."""


@dataclass(frozen=True)
class Picture:
    """A picture that was read."""

    source: str
    """Name of its set."""
    path: str
    """Where it lies inside the set's archive."""
    sha256: str
    """Of its file, in hex."""
    id: str
    """What splits know it by, `picture_id`: equal for equal pixels."""
    label: int
    """Position in the class names, as the set says."""
    held_out: bool
    """Whether it is of an official test part."""
    given: str | None
    """"train", "validation" or "test", the part of its set that it came in; None where the set has
    none."""
    votes: tuple[int, ...] | None
    """Its ten FER+ votes, where they are known."""


@dataclass(frozen=True)
class Faces:
    """All pictures of some sets."""

    pictures: list[Picture]
    """What is known of each."""
    images: NDArray[np.uint8]
    """uint8 (N, H, W, C), in the same order."""
    rejected: list[dict[str, str]]
    """Files that are not among them: source, path and reason."""
    detector: str | None
    """Name of the face detector that photos were searched with; None without photos."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """int64 (N,), as the sets say."""
        return np.array([picture.label for picture in self.pictures], np.int64)

    @property
    def held_out(self) -> NDArray[np.bool_]:
        """bool (N,), the pictures of an official test part."""
        return np.array([picture.held_out for picture in self.pictures], bool)

    @property
    def given(self) -> NDArray[np.str_]:
        """(N,), the parts that the sets came in: "train", "validation", "test", or "" for none."""
        return np.array([picture.given or "" for picture in self.pictures], "U10")

    @property
    def sources(self) -> NDArray[np.str_]:
        """(N,), names of the sets."""
        return np.array([picture.source for picture in self.pictures])

    @property
    def votes(self) -> NDArray[np.int64]:
        """int64 (N, 10), -1 where unknown."""
        unknown = [-1] * len(VOTE_COLUMNS)
        return np.array([picture.votes or unknown for picture in self.pictures], np.int64)


def read_faces(
    sources: Sequence[tuple[Source | OwnSet, Path]],
    votes: Votes | None,
    class_names: Sequence[str],
    spec: InputSpec,
    *,
    allow_left_out: bool = False,
    progress: bool = True,
) -> Faces:
    """Read every picture of some sets; `votes` are given to those of an official set.

    Raises:
        MissingFile, ArchiveError: a set is missing, of another layout, without a usable picture,
            or, unless `allow_left_out`, not to be read whole (training/data/left_out.py).
        DetectorError: photos are among them and no face detector can work here.
    """
    reading = _Reading(tuple(class_names), spec, votes, progress, allow_left_out)
    detector = open_detector() if any(source.photos for source, _ in sources) else None
    for source, path in sources:
        table = None
        if isinstance(source, Source) and source.official_test:
            table = find_table(path, source.fits)
        if table is not None:
            reading.table(source, table)
        else:
            reading.archive(source, path, detector)
    name = detector.name if detector else None
    return Faces(reading.pictures, np.stack(reading.images), reading.rejected, name)


class _Reading:
    """Pictures and rejected files so far."""

    def __init__(
        self,
        class_names: tuple[str, ...],
        spec: InputSpec,
        votes: Votes | None,
        progress: bool,
        allow_left_out: bool,
    ) -> None:
        self._class_names, self._spec, self._votes = class_names, spec, votes
        self._progress, self._allow_left_out = progress, allow_left_out
        self.pictures: list[Picture] = []
        self.images: list[NDArray[np.uint8]] = []
        self.rejected: list[dict[str, str]] = []

    def archive(self, source: Source | OwnSet, path: Path, detector: Detector | None) -> None:
        """Read a set's pictures from their files."""
        known = self._votes if source.official_test else None
        before = len(self.pictures)
        with source.open(path, self._class_names) as archive:
            for file in self._counted(archive.files, source):
                face = _read_one(archive, file, self._spec, detector if source.photos else None)
                if face is not None:
                    votes = known.of_file(file, face[3]) if known else None
                    held_out = source.official_test and file.split == "test"
                    label = self._class_names.index(file.label)
                    self.images.append(face[0])
                    self.pictures.append(
                        Picture(
                            source.name, file.path, *face[1:3], label, held_out, file.split, votes
                        )
                    )
            look_closer(archive)
        self._finish(source, path, before, archive.rejected)

    def table(self, source: Source | OwnSet, table: Table) -> None:
        """Read a set's pictures from the competition's table."""
        before = len(self.pictures)
        rejected: list[dict[str, str]] = []
        box, count = (0, 0, SIDE, SIDE), 0
        for row in self._counted(table.rows(), source):
            count += 1
            votes = self._votes.of_row(row) if self._votes else None
            label = match_label_or_none(row.label, self._class_names)
            if label is None:
                rejected.append({"path": row.path, "reason": NO_PLACE})
                continue
            sha256 = hashlib.sha256(row.pixels.tobytes()).hexdigest()
            self.images.append(face_to_input(row.pixels, box, self._spec))
            self.pictures.append(
                Picture(
                    source.name,
                    row.path,
                    sha256,
                    picture_id(row.pixels),
                    self._class_names.index(label),
                    row.held_out,
                    "test" if row.held_out else "train",
                    votes,
                )
            )
        if self._votes:
            self._votes.check_rows(count)
        self._finish(source, table.path, before, rejected)

    def _counted(self, items: Iterable[_Item], source: Source | OwnSet) -> Iterator[_Item]:
        return counted(items, source.name, "pictures", shown=self._progress, keep=True)

    def _finish(
        self, source: Source | OwnSet, path: Path, before: int, rejected: list[dict[str, str]]
    ) -> None:
        """Note what a set lacks.

        Raises:
            ArchiveError: all of its pictures, or a part of it that may not lack.
        """
        pictures = self.pictures[before:]
        if not pictures:
            raise _no_picture(path, source, rejected)
        if not self._allow_left_out:
            way_out = (
                "correct that" if isinstance(source, OwnSet) else "give the set as it was published"
            )
            check_whole(source.name, path, len(pictures), rejected, way_out=way_out)
        if isinstance(source, OwnSet):
            check_parts(source.name, path, ((p.sha256, p.given) for p in pictures))
            if not self._allow_left_out:
                _check_guess(source, path, len(pictures), rejected)
                source.check_classes(path, {self._class_names[p.label] for p in pictures})
        self.rejected += [{"source": source.name, **row} for row in rejected]


def _read_one(
    archive: PictureArchive | OwnSet, file: LabelledFile, spec: InputSpec, detector: Detector | None
) -> tuple[NDArray[np.uint8], str, str, NDArray[np.uint8]] | None:
    """Input, sha256, id and pixels of one picture; None where the archive notes it as rejected."""
    try:
        data = archive.read(file.path)
        most = pixel_bound(MAX_PIXELS_OF_MANY)
        frame = decode_picture(data, file.path, most, may_shrink=True)
    except PictureError as error:
        # Without the file's name and details, so that the reasons can be counted.
        reason = str(error).partition(f"{file.path}: ")[2].partition(";")[0].partition(" (")[0]
        archive.reject(file.path, f"{BROKEN}{reason}")
        return None
    box, crop = (0, 0, frame.shape[1], frame.shape[0]), BOX
    if detector is not None:
        faces = detector.detect(frame)
        if not faces:
            archive.reject(file.path, NO_FACE)
            return None
        box, crop = faces[0].as_tuple(), crop_of(detector)
    sha256 = hashlib.sha256(data).hexdigest()
    return face_to_input(frame, box, spec, crop), sha256, picture_id(frame), frame


def _check_guess(
    source: OwnSet, path: Path, read: int, rejected: Sequence[Mapping[str, str]]
) -> None:
    """Raise ArchiveError where a guess that pictures are photos would leave many of them out."""
    lost = sum(row["reason"] == NO_FACE for row in rejected)
    if source.guessed and lost > _MAX_LOST * (read + lost):
        raise ArchiveError(
            f"{path}: no face found in {lost:,} of {count_of(read + lost, 'picture')}, taken as "
            f"photos for their size (half have a longer side of over {LARGEST_CROP} pixels); add "
            "--faces crop where each is a face, or --faces detect to leave those out"
        )


def _no_picture(
    path: Path, source: Source | OwnSet, rejected: list[dict[str, str]]
) -> ArchiveError:
    counts = Counter(row["reason"] for row in rejected).most_common()
    reasons = ", ".join(f"{n:,} x {reason}" for reason, n in counts)
    way_out = f"get {source.name} again"
    if isinstance(source, OwnSet):
        way_out = "look at its files" + (", or try --faces crop" if source.photos else "")
    return ArchiveError(f"{path}: not a single usable picture ({reasons}); {way_out}")
