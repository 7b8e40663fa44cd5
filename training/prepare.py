"""Archives of labelled pictures -> a prepared folder: decoded once, grouped by duplicate, split, counted."""

import csv
import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

import edgeemo
from edgeemo.contract import strict
from edgeemo.contract.files import folder_written_beside
from edgeemo.contract.input_spec import DEFAULT_SPEC, InputSpec
from edgeemo.contract.labels import LABELS
from edgeemo.contract.prepared import (
    DATASET,
    EXCLUDED,
    IMAGES,
    INDEX,
    INDEX_COLUMNS,
    VOTE_COLUMNS,
    file_sha256,
    split_hash,
)
from edgeemo.contract.preprocess import face_to_input
from edgeemo.errors import ArchiveError, DataError, PictureError
from edgeemo.labelled import PictureArchive
from edgeemo.pictures import decode_picture
from training.ferplus import read_votes
from training.report import write_report
from training.sources import Source

VALIDATION_SHARE = 0.1


@dataclass
class _Picture:
    source: str
    path: str
    sha256: str
    label: str
    official: str | None  # the split that the archive's folders name
    votes: tuple[int, ...] | None
    group: int = -1
    split: str = ""


def prepare(
    sources: Sequence[tuple[Source, Path]],
    out: Path,
    *,
    ferplus: Path | None = None,
    split: str = "official",
    seed: int = 1,
    spec: InputSpec = DEFAULT_SPEC,
    progress: bool = True,
) -> dict[str, Any]:
    """Write a prepared folder with its splits, and return its dataset.json.

    With the split "official", the archive's test part is `test`; a tenth of its training part, whole duplicate groups together, is
    `validation`; a training picture that is a copy of a test picture is `excluded`.

    Raises:
        ArchiveError, DataError, MissingFile: an input that does not fit.
        StorageError: `out` cannot be written.
    """
    votes = read_votes(ferplus) if ferplus else None
    with folder_written_beside(out, marker=DATASET) as folder:
        pictures, images, rejected = _read(sources, votes, spec, progress)
        if votes is not None and not any(picture.votes for picture in pictures):
            raise DataError(
                f"{ferplus}: none of its file names is among the pictures; expected the FER+ file of FER-2013"
            )
        _group(pictures, images)
        _SPLITTERS[split](pictures, seed)
        np.save(folder / IMAGES, images, allow_pickle=False)
        _write_index(folder / INDEX, pictures, with_votes=votes is not None)
        dataset = _describe(sources, pictures, rejected, split, seed, spec, folder)
        write_report(folder / "report.html", dataset, images, np.array([LABELS.index(p.label) for p in pictures]))
        (folder / DATASET).write_text(strict.dumps(dataset))
    return dataset


def _read(
    sources: Sequence[tuple[Source, Path]], votes: dict[str, tuple[int, ...]] | None, spec: InputSpec, progress: bool
) -> tuple[list[_Picture], NDArray[np.uint8], list[dict[str, str]]]:
    pictures: list[_Picture] = []
    images: list[NDArray[np.uint8]] = []
    rejected: list[dict[str, str]] = []
    for source, path in sources:
        with source.open(path) as archive:
            for file in tqdm(archive.files, desc=source.name, unit="picture", disable=not progress):
                read = _read_one(archive, file.path, spec)
                if read is None:
                    continue
                image, sha256 = read
                known = votes.get(Path(file.path).name) if votes else None
                pictures.append(_Picture(source.name, file.path, sha256, file.label, file.split, known))
                images.append(image)
            rejected += [{"source": source.name, **row} for row in archive.rejected]
    if not images:
        raise ArchiveError(f"{', '.join(str(path) for _, path in sources)}: not a single usable picture")
    return pictures, np.stack(images), rejected


def _read_one(archive: PictureArchive, path: str, spec: InputSpec) -> tuple[NDArray[np.uint8], str] | None:
    try:
        data = archive.read(path)
        frame = decode_picture(data, path)
    except PictureError as error:
        # Without the file's name and details, so that the reasons can be counted.
        reason = str(error).partition(f"{path}: ")[2].partition(";")[0].partition(" (")[0]
        archive.reject(path, f"not a usable picture: {reason}")
        return None
    image = face_to_input(frame, (0, 0, frame.shape[1], frame.shape[0]), spec)
    return image, hashlib.sha256(data).hexdigest()


def _group(pictures: list[_Picture], images: NDArray[np.uint8]) -> None:
    """Number the groups of equal pictures (same prepared pixels) in order of first appearance."""
    numbers: dict[bytes, int] = {}
    for picture, image in zip(pictures, images, strict=True):
        picture.group = numbers.setdefault(hashlib.sha256(image.tobytes()).digest(), len(numbers))


def _split_official(pictures: list[_Picture], seed: int) -> None:
    tested = {picture.group for picture in pictures if picture.official == "test"}
    by_class: dict[str, dict[int, list[_Picture]]] = defaultdict(lambda: defaultdict(list))
    first_label: dict[int, str] = {}
    for picture in pictures:
        if picture.official == "test":
            picture.split = "test"
        elif picture.group in tested:
            picture.split = EXCLUDED
        else:
            # Copies with several labels go by their first one: what counts is that they stay together.
            by_class[first_label.setdefault(picture.group, picture.label)][picture.group].append(picture)
    for label in LABELS:
        _split_class(by_class[label], np.random.default_rng([seed, LABELS.index(label)]))


def _split_class(groups: dict[int, list[_Picture]], rng: np.random.Generator) -> None:
    wanted = round(VALIDATION_SHARE * sum(map(len, groups.values())))
    taken = 0
    for number in rng.permutation(sorted(groups)):
        members = groups[int(number)]
        split = "validation" if taken < wanted else "train"
        for picture in members:
            picture.split = split
        taken += len(members) if split == "validation" else 0


_SPLITTERS: dict[str, Callable[[list[_Picture], int], None]] = {"official": _split_official}


def _write_index(path: Path, pictures: list[_Picture], *, with_votes: bool) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(INDEX_COLUMNS + VOTE_COLUMNS if with_votes else INDEX_COLUMNS)
        for row, p in enumerate(pictures):
            votes = list(p.votes or [""] * len(VOTE_COLUMNS)) if with_votes else []
            writer.writerow([row, p.source, p.path, p.sha256, p.group, p.label, p.split, *votes])


def _describe(
    sources: Sequence[tuple[Source, Path]],
    pictures: list[_Picture],
    rejected: list[dict[str, str]],
    split: str,
    seed: int,
    spec: InputSpec,
    folder: Path,
) -> dict[str, Any]:
    counts: dict[str, Any] = {}
    for p in pictures:
        by_split = counts.setdefault(p.source, {}).setdefault(p.split, dict.fromkeys(LABELS, 0))
        by_split[p.label] += 1
    sizes = Counter(p.group for p in pictures)
    return {
        "format": 1,
        "edgeemo": edgeemo.__version__,
        "labels": list(LABELS),
        "input_spec": spec.to_dict(),
        "input_fingerprint": spec.fingerprint(),
        "seed": seed,
        "split": split,
        "validation_share": VALIDATION_SHARE,
        "images": len(pictures),
        "images_sha256": file_sha256(folder / IMAGES),
        "index_sha256": file_sha256(folder / INDEX),
        "split_hash": split_hash((p.sha256, p.label, p.split) for p in pictures),
        "sources": [
            {"name": s.name, "kaggle": s.kaggle, "licence": s.licence, "file": Path(path).name} for s, path in sources
        ],
        "counts": counts,
        "groups": len(sizes),
        "pictures_with_copies": sum(size for size in sizes.values() if size > 1),
        "excluded": {"copy of a test picture": sum(p.split == EXCLUDED for p in pictures)},
        "ferplus_rows": sum(p.votes is not None for p in pictures),
        "rejected_counts": dict(Counter(row["reason"] for row in rejected)),
        "rejected": rejected,
    }
