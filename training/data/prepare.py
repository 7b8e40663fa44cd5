"""Archives of labelled pictures -> a prepared folder: decoded once, grouped by duplicate, split, counted."""

import csv
import hashlib
from collections import Counter
from collections.abc import Sequence
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
from edgeemo.contract.preprocess import face_to_input
from edgeemo.data.labelled import LabelledFile, PictureArchive
from edgeemo.data.pictures import decode_picture
from edgeemo.data.prepared import (
    DATASET,
    EXCLUDED,
    IMAGES,
    INDEX,
    INDEX_COLUMNS,
    VOTE_COLUMNS,
    file_sha256,
    split_hash,
)
from edgeemo.errors import ArchiveError, DataError, InvalidInput, PictureError
from edgeemo.faces import Detector, open_detector
from training.data.conflicts import CONFLICTING, settle
from training.data.duplicates import Duplicates, find_duplicates
from training.data.ferplus import read_votes
from training.data.reviewed import read_reviewed
from training.data.sources import Source
from training.data.splits import COPY_OF_TEST, SPLITTERS
from training.runs.report import Pictures, write_report

DROPPED_IN_REVIEW = "dropped in review"


@dataclass
class _Picture:
    source: str
    path: str
    sha256: str
    label: int  # position in LABELS, as the set's folder says
    held_out: bool
    votes: tuple[int, ...] | None


def prepare(
    sources: Sequence[tuple[Source, Path]],
    out: Path,
    *,
    ferplus: Path | None = None,
    reviewed: Path | None = None,
    split: str = "grouped",
    conflicts: str = "majority",
    seed: int = 1,
    spec: InputSpec = DEFAULT_SPEC,
    progress: bool = True,
) -> dict[str, Any]:
    """Write a prepared folder with its splits, and return its dataset.json.

    Splits: training/data/splits.py; label conflicts: training/data/conflicts.py; duplicate groups: training/data/duplicates.py. The order of
    `sources` does not matter.

    Raises:
        ArchiveError, DataError, InvalidInput, MissingFile: an input that does not fit.
        StorageError: `out` cannot be written.
    """
    sources = sorted(sources, key=lambda pair: (not pair[0].official_test, pair[0].name))
    if split == "official" and not any(source.official_test for source, _ in sources):
        raise InvalidInput(
            "expected a set with an official test part (fer2013) for --split official; use --split grouped"
        )
    votes = read_votes(ferplus) if ferplus else None
    decisions = read_reviewed(reviewed) if reviewed else {}
    with folder_written_beside(out, marker=DATASET) as folder:
        pictures, images, rejected, detector = _read(sources, votes, spec, progress)
        if votes is not None and not any(picture.votes for picture in pictures):
            raise DataError(
                f"{ferplus}: none of its {len(votes):,} file names is among the pictures ({_first_names(pictures)}, ...); "
                "expected the FER+ file of FER-2013, and fer2013 among the sources"
            )
        if decisions and not any(picture.sha256 in decisions for picture in pictures):
            raise DataError(
                f"{reviewed}: none of its pictures is among the sources; review the same sources again"
            )
        duplicates = find_duplicates(images, progress=progress)
        index, counts = _decide(pictures, duplicates.groups, decisions, split, conflicts, seed)
        np.save(folder / IMAGES, images, allow_pickle=False)
        _write_index(folder / INDEX, pictures, index, with_votes=votes is not None)
        dataset = {
            "format": 2,
            "edgeemo": edgeemo.__version__,
            "labels": list(LABELS),
            "input_spec": spec.to_dict(),
            "input_fingerprint": spec.fingerprint(),
            "seed": seed,
            "split": split,
            "detector": detector,
            "images": len(pictures),
            "images_sha256": file_sha256(folder / IMAGES),
            "index_sha256": file_sha256(folder / INDEX),
            "split_hash": split_hash((row["sha256"], row["label"], row["split"]) for row in index),
            "sources": [
                {"name": s.name, "kaggle": s.kaggle, "licence": s.licence, "file": path.name}
                for s, path in sources
            ],
            "counts": _counts(index),
            "groups": int(duplicates.groups.max()) + 1,
            "pictures_with_copies": int(
                (np.bincount(duplicates.groups)[duplicates.groups] > 1).sum()
            ),
            "duplicates": _duplicate_counts(duplicates),
            **counts,
            "excluded": dict(Counter(row["reason"] for row in index if row["reason"])),
            "ferplus_rows": sum(p.votes is not None for p in pictures),
            "rejected_counts": dict(Counter(row["reason"] for row in rejected).most_common()),
            "rejected": rejected,
        }
        write_report(folder / "report.html", dataset, _for_report(images, pictures, index))
        (folder / DATASET).write_text(strict.dumps(dataset))
    return dataset


def _read(
    sources: Sequence[tuple[Source, Path]],
    votes: dict[str, tuple[int, ...]] | None,
    spec: InputSpec,
    progress: bool,
) -> tuple[list[_Picture], NDArray[np.uint8], list[dict[str, str]], str | None]:
    pictures: list[_Picture] = []
    images: list[NDArray[np.uint8]] = []
    rejected: list[dict[str, str]] = []
    detector = open_detector() if any(source.photos for source, _ in sources) else None
    for source, path in sources:
        before = len(pictures)
        with source.open(path) as archive:
            for file in tqdm(archive.files, desc=source.name, unit="picture", disable=not progress):
                read = _read_one(archive, file, spec, detector if source.photos else None)
                if read is None:
                    continue
                image, sha256 = read
                known = votes.get(Path(file.path).name) if votes and source.official_test else None
                held_out = source.official_test and file.split == "test"
                pictures.append(
                    _Picture(
                        source.name, file.path, sha256, LABELS.index(file.label), held_out, known
                    )
                )
                images.append(image)
            rejected += [{"source": source.name, **row} for row in archive.rejected]
            if len(pictures) == before:
                reasons = ", ".join(
                    f"{n:,} x {reason}" for reason, n in archive.rejected_counts().items()
                )
                raise ArchiveError(
                    f"{path}: not a single usable picture ({reasons}); get {source.name} again"
                )
    return pictures, np.stack(images), rejected, detector.name if detector else None


def _read_one(
    archive: PictureArchive, file: LabelledFile, spec: InputSpec, detector: Detector | None
) -> tuple[NDArray[np.uint8], str] | None:
    try:
        data = archive.read(file.path)
        frame = decode_picture(data, file.path)
    except PictureError as error:
        # Without the file's name and details, so that the reasons can be counted.
        reason = str(error).partition(f"{file.path}: ")[2].partition(";")[0].partition(" (")[0]
        archive.reject(file.path, f"not a usable picture: {reason}")
        return None
    box, name = (0, 0, frame.shape[1], frame.shape[0]), "whole"
    if detector is not None:
        faces = detector.detect(frame)
        if not faces:
            archive.reject(file.path, "no face found")
            return None
        box, name = faces[0].as_tuple(), detector.name
    return face_to_input(frame, box, spec, detector=name), hashlib.sha256(data).hexdigest()


def _decide(
    pictures: list[_Picture],
    groups: NDArray[np.int64],
    decisions: dict[str, str],
    split: str,
    conflicts: str,
    seed: int,
) -> tuple[list[dict[str, str]], dict[str, Any]]:
    """The rows of index.csv without their votes, and the counts of what review and conflicts did."""
    given = np.array([p.label for p in pictures], np.int64)
    held_out = np.array([p.held_out for p in pictures])
    decided = [decisions.get(p.sha256) for p in pictures]
    # "keep" fixes the given label; a held-out test part is what others compare on, so no review changes it.
    person = np.array(
        [
            p.label if d == "keep" else LABELS.index(d) if d in LABELS else -1
            for d, p in zip(decided, pictures, strict=True)
        ]
    )
    settled = settle(
        given, groups, _votes(pictures), held_out, _to_copies(person, groups), conflicts
    )
    dropped = np.isin(groups, groups[[d == "drop" for d in decided]]) & ~held_out
    reasons = np.where(dropped, DROPPED_IN_REVIEW, np.where(settled.dropped, CONFLICTING, ""))
    used = reasons == ""
    names = np.full(len(pictures), EXCLUDED, "U10")  # room for "validation"
    names[used] = SPLITTERS[split](settled.labels[used], groups[used], held_out[used], seed)
    reasons = np.where((names == EXCLUDED) & used, COPY_OF_TEST, reasons)
    rows = [
        {
            "row": str(i),
            "source": p.source,
            "path": p.path,
            "sha256": p.sha256,
            "group": str(groups[i]),
            "given_label": LABELS[p.label],
            "label": LABELS[settled.labels[i]],
            "split": str(names[i]),
            "reason": str(reasons[i]),
        }
        for i, p in enumerate(pictures)
    ]
    reviewed = {
        "decisions": len(decisions),
        "pictures": sum(d is not None for d in decided),
        "not_applied_to_held_out": sum(
            d is not None and p.held_out for d, p in zip(decided, pictures, strict=True)
        ),
    }
    return rows, {"conflicts": settled.summary, "reviewed": reviewed}


def _to_copies(person: NDArray[np.int64], groups: NDArray[np.int64]) -> NDArray[np.int64]:
    """A person's labels (N,), -1 for none, given to the copies too: of several copies, review shows one."""
    of_group = np.full(int(groups.max()) + 1, -1, np.int64)
    decided = np.flatnonzero(person >= 0)[::-1]  # backwards, so that the first one stays
    of_group[groups[decided]] = person[decided]
    return np.where(person >= 0, person, of_group[groups])


def _votes(pictures: list[_Picture]) -> NDArray[np.int64]:
    """int64 (N, 10), -1 where unknown."""
    return np.array([p.votes or [-1] * len(VOTE_COLUMNS) for p in pictures], np.int64)


def _write_index(
    path: Path, pictures: list[_Picture], index: list[dict[str, str]], *, with_votes: bool
) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(INDEX_COLUMNS + VOTE_COLUMNS if with_votes else INDEX_COLUMNS)
        for p, row in zip(pictures, index, strict=True):
            writer.writerow(
                [*row.values(), *((p.votes or [""] * len(VOTE_COLUMNS)) if with_votes else [])]
            )


def _counts(index: list[dict[str, str]]) -> dict[str, Any]:
    counts: dict[str, Any] = {}
    for row in index:
        by_split = counts.setdefault(row["source"], {}).setdefault(
            row["split"], dict.fromkeys(LABELS, 0)
        )
        by_split[row["label"]] += 1
    return counts


def _duplicate_counts(duplicates: Duplicates) -> dict[str, int]:
    sizes = np.bincount(duplicates.groups)
    exact_of_group = np.unique(np.stack([duplicates.groups, duplicates.exact]), axis=1)[0]
    near = int((np.bincount(exact_of_group) > 1).sum())
    return {
        "exact_groups": int((sizes > 1).sum()) - near,
        "near_groups": near,
        "largest": int(sizes.max()),
    }


def _for_report(
    images: NDArray[np.uint8], pictures: list[_Picture], index: list[dict[str, str]]
) -> Pictures:
    return Pictures(
        images=images,
        labels=np.array([LABELS.index(row["label"]) for row in index], np.int64),
        given_labels=np.array([p.label for p in pictures], np.int64),
        splits=np.array([row["split"] for row in index]),
        groups=np.array([int(row["group"]) for row in index], np.int64),
        sources=np.array([p.source for p in pictures]),
        votes=_votes(pictures) if any(p.votes for p in pictures) else None,
    )


def _first_names(pictures: list[_Picture]) -> str:
    return ", ".join(Path(p.path).name for p in pictures[:2])
