"""Archives of labelled pictures -> a prepared folder: read, group copies, settle labels, split,
write.
"""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked import strict
from edgeemo.contract.checked.folders import folder_written_beside
from edgeemo.contract.input_spec import DEFAULT_SPEC, InputSpec
from edgeemo.contract.labels import LABELS, check_labels
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
from edgeemo.errors import DataError, InvalidInput
from edgeemo.version import __version__
from training.data.decide import Choices, Decided, decide
from training.data.duplicates import Duplicates, find_duplicates
from training.data.own.own_set import OwnSet, OwnSource, open_own
from training.data.own.words import read_rules
from training.data.read import Faces, read_faces
from training.data.reviewed import read_reviewed
from training.data.sources import Source
from training.data.split_files import (
    SPLIT_FILE,
    KnownSplit,
    check_spec,
    official_fer2013,
    read_known_split,
    write_split,
)
from training.data.splits import COPY_OF_TEST
from training.data.votes import Votes, open_votes
from training.runs.report import Pictures, write_report

Sources = Sequence[tuple[Source | OwnSource, Path]]
Opened = Sequence[tuple[Source | OwnSet, Path]]
Row = dict[str, str]


class Options(TypedDict, total=False):
    """How pictures are prepared; each may be left out."""

    ferplus: Path | None
    """FER+'s votes as CSV, by file name or as published; without it no picture has votes."""
    pixels: Path | None
    """FER-2013's table, by whose pixels picture files get the published votes."""
    reviewed: Path | None
    """A person's decisions, the CSV of `review`; without it every label stands as the set gives
    it."""
    split: str
    """One of training/data/splits.py; "grouped" by default."""
    split_from: Path | None
    """A split file, a prepared folder or a bundle whose parts are kept; None by default: of
    FER-2013 the official split, where the seed is 1."""
    conflicts: str
    """A policy of training/data/conflicts.py for copies of different labels; "majority" by
    default."""
    seed: int
    """Of the split; 1 by default."""
    class_names: Sequence[str] | None
    """2 to 64 names; pictures of other classes are left out. By default those that are there where
    all sets are own ones, else LABELS."""
    labels: str | None
    """What the words of own sets stand for: a JSON file, or one of NUMBERINGS."""
    drop: Sequence[str]
    """Words of own sets, or classes, to leave out."""
    spec: InputSpec
    """What the network is to see; DEFAULT_SPEC by default."""
    allow_left_out: bool
    """Whether a set may be read in part (training/data/left_out.py); False by default."""
    progress: bool
    """Whether bars are shown on stderr; True by default."""


_DEFAULTS = Options(
    ferplus=None,
    pixels=None,
    reviewed=None,
    split="grouped",
    split_from=None,
    conflicts="majority",
    seed=1,
    class_names=None,
    labels=None,
    drop=(),
    spec=DEFAULT_SPEC,
    allow_left_out=False,
    progress=True,
)


def prepare(sources: Sources, out: Path, **options: Unpack[Options]) -> dict[str, Any]:
    """Write a prepared folder with its splits, and return its dataset.json.

    `sources` are sets with the archive or folder of each; their order does not matter. Words of own
    sets that nobody knows are written into a new file labels.json beside `out`, to be filled in.

    Raises:
        ArchiveError, DataError, InvalidInput, MissingFile: an input that does not fit.
        StorageError: `out` cannot be written.
    """
    if unknown := set(options) - set(_DEFAULTS):
        raise TypeError(f"prepare() knows no {', '.join(sorted(unknown))}")
    chosen: Options = {**_DEFAULTS, **options}
    sources = _in_order(sources, chosen["split"])
    asked = chosen["class_names"]
    if asked is None and any(isinstance(source, Source) for source, _ in sources):
        asked = LABELS
    if asked is not None:
        check_labels(asked, "class names")
    rules = read_rules(asked, chosen["labels"], chosen["drop"])
    with ExitStack() as stack:
        opened, names = open_own(sources, rules, out, stack)
        return _prepare(opened, out, names or LABELS, chosen)


def _prepare(sources: Opened, out: Path, names: tuple[str, ...], chosen: Options) -> dict[str, Any]:
    """The same for opened sets, and the classes that they have."""
    spec, progress = chosen["spec"], chosen["progress"]
    votes = open_votes(chosen["ferplus"], chosen["pixels"], names)
    decisions = read_reviewed(chosen["reviewed"], names) if chosen["reviewed"] else {}
    known = _known_split(chosen, sources)
    choices = Choices(names, decisions, chosen["split"], chosen["conflicts"], chosen["seed"], known)
    with folder_written_beside(out) as folder:
        faces = read_faces(
            sources,
            votes,
            names,
            spec,
            allow_left_out=chosen["allow_left_out"],
            progress=progress,
        )
        _check_votes(chosen["ferplus"], votes, faces)
        _check_reviewed(chosen["reviewed"], decisions, faces)
        duplicates = find_duplicates(faces.images, progress=progress)
        decided = decide(faces, duplicates.groups, choices)
        _check_known(chosen["split_from"], decided)
        matched = dict(votes.matched) if votes else {}
        return _write(folder, sources, spec, faces, duplicates, decided, choices, matched)


def _in_order(sources: Sources, split: str) -> Sources:
    """Official sets first, then by name.

    Raises:
        InvalidInput: an official split is asked for, and there is no official test part.
    """
    if split == "official" and not any(source.official_test for source, _ in sources):
        raise InvalidInput(
            "expected a set with an official test part (fer2013) for --split official; use --split "
            "grouped"
        )
    return sorted(sources, key=lambda pair: (not pair[0].official_test, pair[0].name))


def _known_split(chosen: Options, sources: Opened) -> KnownSplit | None:
    """The parts that pictures have already, from --split-from or of FER-2013.

    Raises:
        InvalidInput: --split-from beside a split that takes the sets' own parts.
        MissingFile, DataError, BundleError, SpecMismatch: what it names cannot be taken.
    """
    path, split = chosen["split_from"], chosen["split"]
    if path is None:
        official = any(source.official_test for source, _ in sources)
        return official_fer2013(split, chosen["seed"]) if official else None
    if split == "given":
        raise InvalidInput(
            "expected --split-from or --split given, received both; leave one of them out"
        )
    known = read_known_split(path, split)
    check_spec(known, chosen["spec"])
    return known


def _check_known(path: Path | None, decided: Decided) -> None:
    counts = decided.summary["split_from"]
    if path is not None and not counts["known"]:
        raise DataError(
            f"{path}: none of its pictures is among the sources; give the split of these sources, "
            "or leave --split-from out"
        )


def _check_votes(path: Path | None, votes: Votes | None, faces: Faces) -> None:
    if votes is not None and not any(picture.votes for picture in faces.pictures):
        names = ", ".join(Path(picture.path).name for picture in faces.pictures[:2])
        raise DataError(
            f"{path}: none of its {votes.contents} is among the pictures ({names}, ...); "
            "expected the FER+ file of FER-2013 (fer2013new.csv for its table), and fer2013 among "
            "the sources"
        )


def _check_reviewed(path: Path | None, decisions: Mapping[str, str], faces: Faces) -> None:
    if decisions and not any(picture.sha256 in decisions for picture in faces.pictures):
        raise DataError(
            f"{path}: none of its pictures is among the sources; review the same sources again"
        )


def _write(
    folder: Path,
    sources: Opened,
    spec: InputSpec,
    faces: Faces,
    duplicates: Duplicates,
    decided: Decided,
    choices: Choices,
    matched: Mapping[str, int],
) -> dict[str, Any]:
    """Write the folder's files, and return its dataset.json."""
    rows = _rows(faces, duplicates.groups, decided, choices.class_names)
    with_votes = any(picture.votes for picture in faces.pictures)
    np.save(folder / IMAGES, faces.images, allow_pickle=False)
    _write_index(folder / INDEX, faces, rows, with_votes=with_votes)
    _write_split(folder / SPLIT_FILE, faces, decided, choices)
    dataset = {
        "format": 2,
        "edgeemo": __version__,
        "input_spec": spec.to_dict(),
        "input_fingerprint": spec.fingerprint(),
        "sources": [_described_source(source, path) for source, path in sources],
        "images_sha256": file_sha256(folder / IMAGES),
        "index_sha256": file_sha256(folder / INDEX),
        **_described(faces, rows, choices),
        "ferplus_matched": matched,
        **_duplicate_counts(duplicates),
        **decided.summary,
    }
    pictures = _for_report(faces, duplicates, decided, choices.class_names)
    write_report(folder / "report.html", dataset, pictures)
    (folder / DATASET).write_text(strict.dumps(dataset))
    return dataset


def _described_source(source: Source | OwnSet, path: Path) -> dict[str, Any]:
    page = {"name": source.name, "kaggle": source.kaggle, "licence": source.licence}
    own = source.described() if isinstance(source, OwnSet) else {}
    return {**page, "file": path.name, **own}


def _described(faces: Faces, rows: list[Row], choices: Choices) -> dict[str, Any]:
    """For dataset.json: what was chosen, and what it came to."""
    return {
        "labels": list(choices.class_names),
        "seed": choices.seed,
        "split": choices.split,
        "detector": faces.detector,
        "images": len(rows),
        "split_hash": split_hash((row["sha256"], row["label"], row["split"]) for row in rows),
        "counts": _counts(rows, choices.class_names),
        "excluded": dict(Counter(row["reason"] for row in rows if row["reason"])),
        "ferplus_rows": sum(picture.votes is not None for picture in faces.pictures),
        "rejected_counts": dict(Counter(row["reason"] for row in faces.rejected).most_common()),
        "rejected": faces.rejected,
    }


def _for_report(
    faces: Faces, duplicates: Duplicates, decided: Decided, class_names: Sequence[str]
) -> Pictures:
    with_votes = any(picture.votes for picture in faces.pictures)
    return Pictures(
        class_names=tuple(class_names),
        images=faces.images,
        labels=decided.labels,
        given_labels=faces.labels,
        splits=decided.splits,
        groups=duplicates.groups,
        sources=faces.sources,
        votes=faces.votes if with_votes else None,
    )


def _rows(
    faces: Faces, groups: NDArray[np.int64], decided: Decided, class_names: Sequence[str]
) -> list[Row]:
    """The rows of index.csv without their votes, with INDEX_COLUMNS as keys."""
    return [
        {
            "row": str(i),
            "source": picture.source,
            "path": picture.path,
            "sha256": picture.sha256,
            "group": str(groups[i]),
            "given_label": class_names[picture.label],
            "label": class_names[decided.labels[i]],
            "split": str(decided.splits[i]),
            "reason": str(decided.reasons[i]),
        }
        for i, picture in enumerate(faces.pictures)
    ]


def _write_index(path: Path, faces: Faces, rows: list[Row], *, with_votes: bool) -> None:
    unknown = [""] * len(VOTE_COLUMNS)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(INDEX_COLUMNS + VOTE_COLUMNS if with_votes else INDEX_COLUMNS)
        for picture, row in zip(faces.pictures, rows, strict=True):
            votes = (picture.votes or unknown) if with_votes else ()
            writer.writerow([*row.values(), *votes])


def _write_split(path: Path, faces: Faces, decided: Decided, choices: Choices) -> None:
    """The folder's split as a file, but for pictures that conflicts or a review dropped."""
    placed = [
        i
        for i, part in enumerate(decided.splits)
        if part != EXCLUDED or decided.reasons[i] == COPY_OF_TEST
    ]
    ids = [faces.pictures[i].id for i in placed]
    write_split(path, ids, {choices.split: decided.splits[placed]}, choices.seed)


def _counts(rows: list[Row], class_names: Sequence[str]) -> dict[str, Any]:
    counts: dict[str, Any] = {}
    for row in rows:
        by_split = counts.setdefault(row["source"], {})
        by_label = by_split.setdefault(row["split"], dict.fromkeys(class_names, 0))
        by_label[row["label"]] += 1
    return counts


def _duplicate_counts(duplicates: Duplicates) -> dict[str, Any]:
    """For dataset.json: how many groups there are, and of which copies."""
    sizes = np.bincount(duplicates.groups)
    exact_of_group = np.unique(np.stack([duplicates.groups, duplicates.exact]), axis=1)[0]
    near = int((np.bincount(exact_of_group) > 1).sum())
    return {
        "groups": len(sizes),
        "pictures_with_copies": int((sizes[duplicates.groups] > 1).sum()),
        "duplicates": {
            "exact_groups": int((sizes > 1).sum()) - near,
            "near_groups": near,
            "largest": int(sizes.max()),
        },
    }
