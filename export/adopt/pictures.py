"""The pictures that an adopted model is calibrated and judged on, as prepared data in memory."""

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.labels import match_label_or_none
from edgeemo.contract.preprocess import face_to_input
from edgeemo.data.file_store import FileStore
from edgeemo.data.labelled import LabelledFile, PictureArchive, load_inputs
from edgeemo.data.pictures import COMMON_SUFFIXES, MAX_PIXELS_OF_MANY, decode_picture, pixel_bound
from edgeemo.data.prepared import Prepared, is_prepared, load_prepared
from edgeemo.errors import DataError, PictureError
from export.convert.calibration import FACES, SPLIT

TEST, VALIDATION = "test", "validation"
# Of pictures in no parts, how many choose a step of the ladder; and at most how many calibrate.
_SHARE = 0.2
_PURPOSE = {SPLIT: "calibrates", VALIDATION: "chooses the ladder's step"}
_MOST = {SPLIT: 8 * FACES, VALIDATION: 8 * FACES, TEST: 20_000}
# Pictures of each part that are read; of more, so many are drawn.
_MOST_BYTES = {SPLIT: 1 << 28, VALIDATION: 1 << 28, TEST: 1 << 29}
# Of their pixels: the test part's 512 MB are 682 pictures of the largest input, 512x512 RGB.

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Labelled:
    """Pictures of the three parts, and how they came to be parts."""

    data: Prepared
    """Pictures, labels, parts: `train` calibrates."""
    words: str
    """How they were split, in words."""
    left_out: dict[str, int]
    """Files and pictures left out, by reason."""


@dataclass(frozen=True)
class _Pool:
    """Pictures with labels, before they are split."""

    images: Pixels
    """uint8 (N, H, W, C)."""
    labels: NDArray[np.int64]
    """Positions among the labels, (N,)."""
    parts: NDArray[np.str_]
    """(N,) of "train", "validation", "test", or "" where nothing says so."""
    names: tuple[str, ...]
    """(N,) where each lies."""
    left_out: dict[str, int]
    """What was left out, by reason."""


def load_labelled(
    path: Path, spec: InputSpec, labels: tuple[str, ...], seed: int, needed: Collection[str]
) -> Labelled:
    """The pictures at `path`, a prepared folder, or a folder or zip archive of class folders.

    Parts are those of the folders above the classes or of the prepared folder. `needed` are those
    beside the test part: SPLIT to calibrate, VALIDATION to choose the step of the ladder. Where one
    is not there, a fifth at most is drawn for it, which is not tested on.

    Raises:
        EdgeemoError: what is wrong with them.
    """
    pool = (_prepared if is_prepared(path) else _archive)(path, spec, labels, seed)
    parts, words = _split(pool, len(labels), seed, needed)
    used = parts != ""
    rows = np.flatnonzero(used)
    images, numbers = pool.images[rows], pool.labels[rows]
    if not (parts[rows] == TEST).any():
        raise DataError(f"{path}: no picture is left to test on; give more, or --calibration DIR")
    index = [
        {
            "row": str(i),
            "source": path.name,
            "path": pool.names[row],
            "sha256": hashlib.sha256(images[i].tobytes()).hexdigest(),
            "label": labels[numbers[i]],
            "split": str(parts[row]),
        }
        for i, row in enumerate(rows)
    ]
    dataset = {"split": words, "seed": seed, "sources": [{"name": path.name}]}
    data = Prepared(
        path,
        images,
        numbers,
        numbers,
        parts[rows],
        np.arange(len(rows)),
        None,
        index,
        dataset,
        labels,
        spec,
    )
    return Labelled(data, words, pool.left_out)


def most_pictures(part: str, spec: InputSpec) -> int:
    """How many pictures of a part are read, by their number and by the memory that they take."""
    return min(_MOST[part], _MOST_BYTES[part] // (spec.height * spec.width * spec.channels))


def load_unlabelled(path: Path, spec: InputSpec, seed: int) -> Pixels:
    """At most FACES pictures, uint8 (N, H, W, C), of a folder at whatever depth, drawn by seed.

    Raises:
        DataError: not a single one that can be used.
    """
    with FileStore(path) as archive:
        names = [name for name in archive.names if Path(name).suffix.lower() in COMMON_SUFFIXES]
        most = pixel_bound(MAX_PIXELS_OF_MANY)
        order = np.random.default_rng(seed).permutation(len(names))
        pictures: list[Pixels] = []
        for number in order:
            try:
                frame = decode_picture(
                    archive.read(names[number]), names[number], most, may_shrink=True
                )
            except PictureError:
                continue
            pictures.append(_whole(frame, spec))
            if len(pictures) == FACES:
                break
    if not pictures:
        raise DataError(f"{path}: not a single usable picture to calibrate with; check the folder")
    return np.stack(pictures)


def drawn_for_calibration(data: Prepared, seed: int) -> Pixels:
    """uint8 (N, H, W, C): about FACES pictures of the part `train`, of each class alike."""
    rows = np.flatnonzero(data.splits == SPLIT)
    rng, chosen = np.random.default_rng(seed), []
    wanted = -(-FACES // len(data.class_names))
    for number in range(len(data.class_names)):
        of_class = rows[data.labels[rows] == number]
        chosen.append(rng.choice(of_class, min(wanted, len(of_class)), replace=False))
    return np.asarray(data.images[np.sort(np.concatenate(chosen))])


def _whole(frame: Pixels, spec: InputSpec) -> Pixels:
    return face_to_input(frame, (0, 0, frame.shape[1], frame.shape[0]), spec)


def _prepared(path: Path, spec: InputSpec, labels: Sequence[str], seed: int) -> _Pool:
    data = load_prepared(path)
    place = [match_label_or_none(name, labels) for name in data.class_names]
    left_out: dict[str, int] = {}
    rows: list[NDArray[np.int64]] = []
    rng = np.random.default_rng(seed)
    for part in _MOST:
        most = most_pictures(part, spec)
        of_part = np.flatnonzero(data.splits == part)
        known = np.array([place[n] is not None for n in data.labels[of_part]], bool)
        if not known.all():
            reason = "class without a place among the labels"
            left_out[reason] = left_out.get(reason, 0) + int(np.sum(~known))
        of_part = of_part[known]
        if len(of_part) > most:
            of_part = rng.choice(of_part, most, replace=False)
        rows.append(np.sort(of_part))
    chosen = np.concatenate(rows)
    if not len(chosen):
        raise DataError(
            f"{path}: holds {', '.join(data.class_names)}, none of which is one of --labels "
            f"{', '.join(labels)}"
        )
    images = np.asarray(data.images[chosen])
    if data.spec.pixels != spec.pixels:
        images = np.stack([_whole(_frame(image), spec) for image in images])
    numbers = [list(labels).index(str(place[data.labels[row]])) for row in chosen]
    names = tuple(data.rows[row]["path"] for row in chosen)
    return _Pool(images, np.array(numbers, np.int64), data.splits[chosen], names, left_out)


def _frame(image: Pixels) -> Pixels:
    """A prepared picture as a frame: grey ones have no channel axis."""
    return image[..., 0] if image.shape[2] == 1 else image


def _archive(path: Path, spec: InputSpec, labels: Sequence[str], seed: int) -> _Pool:
    with PictureArchive(path, labels) as archive:
        most = pixel_bound(MAX_PIXELS_OF_MANY)
        files = _some(archive.files, spec, seed)
        images, numbers, parts, names = [], [], [], []
        for file in files:
            try:
                frame = decode_picture(archive.read(file.path), file.path, most, may_shrink=True)
            except PictureError:
                archive.reject(file.path, "not a usable picture")
                continue
            images.append(_whole(frame, spec))
            numbers.append(list(labels).index(file.label))
            parts.append(file.split or "")
            names.append(file.path)
        left_out = archive.rejected_counts()
    if not images:
        load_inputs(path, TEST, spec, labels)  # says what is wrong with them
        raise DataError(f"{path}: not a single usable picture")
    return _Pool(
        np.stack(images), np.array(numbers, np.int64), np.array(parts, np.str_), tuple(names),
        left_out,
    )  # fmt: skip


def _some(files: Sequence[LabelledFile], spec: InputSpec, seed: int) -> list[LabelledFile]:
    """The files of each part, or as many of them as are used, drawn by the seed, in order."""
    rng = np.random.default_rng(seed)
    parts = np.array([file.split or TEST for file in files])
    kept: list[int] = []
    for part in _MOST:
        most = most_pictures(part, spec)
        rows = np.flatnonzero(parts == part)
        kept += (rows if len(rows) <= most else rng.choice(rows, most, replace=False)).tolist()
    return [files[i] for i in sorted(kept)]


def _split(
    pool: _Pool, classes: int, seed: int, needed: Collection[str]
) -> tuple[NDArray[Any], str]:
    """The part of each picture ("" of those not used), and how that came to be, in words."""
    parts = np.array(pool.parts, dtype="<U10")
    named = set(parts) - {""}
    if TEST not in named:  # what chooses a step elsewhere, or all there is
        parts[(parts == VALIDATION) if VALIDATION in named else (parts == "")] = TEST
    parts[parts == ""] = SPLIT
    quota = -(-FACES // classes)
    if SPLIT in needed and not (parts == SPLIT).any():
        _take(parts, pool.labels, TEST, SPLIT, _SHARE, seed, quota)
    if VALIDATION in needed and not (parts == VALIDATION).any():
        source = SPLIT if SPLIT in named else TEST
        share = 0.5 if SPLIT in named else _SHARE
        _take(parts, pool.labels, source, VALIDATION, share, seed, len(parts))
    parts[~np.isin(parts, (TEST, *needed))] = ""
    drawn = [_PURPOSE[part] for part in needed if part not in named or TEST not in named]
    words = "the data's own parts" if named else "no parts in the data"
    if drawn:
        words += f"; drawn by the seed and not tested on: what {' and what '.join(drawn)}"
    return parts, words


def _take(
    parts: NDArray[Any],
    labels: NDArray[np.int64],
    source: str,
    target: str,
    share: float,
    seed: int,
    most: int,
) -> None:
    """Move a share of a part to another, of each class alike and at most `most` of each."""
    rng = np.random.default_rng([seed, sum(target.encode())])
    for number in np.unique(labels):
        rows = np.flatnonzero((parts == source) & (labels == number))
        count = min(int(share * len(rows)), most)
        parts[rng.choice(rows, count, replace=False)] = target
