"""Splits as files: which picture, by its pixels, is in which part.

A split file is JSON: `ids` are those of all pictures, ascending, ID_DIGITS hex digits each without
anything between, and `parts` holds by the split's name a digit for each of them, its position in
PARTS. Nothing of a picture can be seen in it. `prepare` writes one beside the pictures, and the
split that the shipped models were trained and tested with is fer2013_split.json here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.answers import (
    ID_DIGITS,
    decode_ids,
    decode_labels,
    encode_labels,
    picture_ids,
)
from edgeemo.contract.bundle import Bundle
from edgeemo.contract.checked import strict
from edgeemo.contract.checked.reading import read_regular, why_no_file
from edgeemo.contract.input_spec import DEFAULT_SPEC, InputSpec
from edgeemo.contract.preprocess import face_to_input
from edgeemo.data.prepared import EXCLUDED, SPLITS
from edgeemo.errors import BundleError, DataError, MissingFile, SpecMismatch
from edgeemo.trust import read_bundle

SPLIT_FILE = "split.json"
PARTS = (*SPLITS, EXCLUDED)
OFFICIAL_SEED = 1
_OFFICIAL = Path(__file__).parent / "fer2013_split.json"
_FORMAT = 1


@dataclass(frozen=True)
class KnownSplit:
    """Parts of pictures that are known from elsewhere."""

    origin: str
    """Where they are from, in words."""
    parts: Mapping[str, str]
    """One of PARTS by a picture's id."""
    spec: InputSpec | None = None
    """What the bundle sees whose test pictures these are, by ids of its input; None for a file,
    whose ids are `picture_id`."""

    def of(self, ids: Sequence[str]) -> NDArray[np.str_]:
        """(N,) the parts of pictures of these ids, "" for pictures that are not known."""
        return np.array([self.parts.get(name, "") for name in ids], "U10")


def picture_id(frame: NDArray[np.uint8]) -> str:
    """The id of a whole picture uint8 (H, W) or (H, W, 3): ID_DIGITS of the sha256 of its pixels at
    48x48 grey, whatever input it is prepared for.

    Integer arithmetic makes them the same everywhere. It is the id that a report gives to a
    picture that was prepared for 48x48 grey.
    """
    box = (0, 0, frame.shape[1], frame.shape[0])
    return picture_ids(face_to_input(frame, box, DEFAULT_SPEC)[np.newaxis])[0]


def official_fer2013(split: str, seed: int) -> KnownSplit | None:
    """The parts of FER-2013 that the shipped models know, of `grouped` or `official` and seed 1;
    None for other choices.
    """
    if seed != OFFICIAL_SEED or split not in ("grouped", "official"):
        return None
    return KnownSplit("the official split of FER-2013", _read_parts(_OFFICIAL, split))


def read_known_split(path: Path, split: str) -> KnownSplit:
    """The parts in a split file, in that of a prepared folder, or of a bundle's test pictures.

    Of a file with several splits it is the one called `split`.

    Raises:
        MissingFile: nothing there.
        DataError: no split file.
        BundleError: a damaged bundle, or a report without pictures.
    """
    if path.suffix == ".edgeemo":
        return _of_bundle(read_bundle(path))
    file = path / SPLIT_FILE if path.is_dir() else path
    return KnownSplit(path.name, _read_parts(file, split))


def check_spec(known: KnownSplit, spec: InputSpec) -> None:
    """Raise SpecMismatch where the ids are those of another input than `spec`."""
    if known.spec is not None and known.spec.pixels != spec.pixels:
        raise SpecMismatch(
            f"{known.origin}: lists its test pictures at {known.spec.size}, received --input "
            f"{spec.size}; prepare for {known.spec.size}, or give the {SPLIT_FILE} of the folder "
            "that it was trained on"
        )


def write_split(
    path: Path, ids: Sequence[str], parts: Mapping[str, NDArray[np.str_]], seed: int
) -> None:
    """Write a split file of N pictures of these ids, whose parts (N,) stand by the split's name.

    Equal pixels are listed once, in the part that keeps them furthest from training.
    """
    columns = {}
    for split, names in parts.items():
        numbers = [PARTS.index(name) for name in names]
        strictest: dict[str, int] = {}
        for name, number in sorted(zip(ids, numbers, strict=True), key=_strictness):
            strictest[name] = number
        columns[split] = strictest
    every = sorted(set(ids))
    value = {
        "format": _FORMAT,
        "seed": seed,
        "parts": {
            split: encode_labels(of_id[name] for name in every) for split, of_id in columns.items()
        },
        "ids": "".join(every),
    }
    path.write_text(strict.dumps(value) + "\n", encoding="utf-8")


def _strictness(row: tuple[str, int]) -> int:
    """From train to test: excluded pictures are copies of test pictures."""
    return ("train", "validation", EXCLUDED, "test").index(PARTS[row[1]])


def _of_bundle(bundle: Bundle) -> KnownSplit:
    report, where = bundle.report(), f"{bundle.path.name}: its report's pictures.ids"
    pictures, count = report.get("pictures"), report.get("n")
    if not isinstance(pictures, dict) or type(count) is not int:
        raise BundleError(
            f"{bundle.path}: its report lists no test pictures; give a bundle of `export build`, "
            f"or the {SPLIT_FILE} of a prepared folder"
        )
    ids = decode_ids(pictures.get("ids"), count, where)
    return KnownSplit(bundle.path.name, dict.fromkeys(ids, "test"), bundle.spec)


def _read_parts(path: Path, split: str) -> dict[str, str]:
    """One of PARTS by id.

    Raises:
        MissingFile, DataError: no such file, or no split file.
    """
    if why := why_no_file(path):
        raise MissingFile(
            f"{path}: {why}; expected a split file, as `prepare` writes one ({SPLIT_FILE}), or a "
            "bundle"
        )
    try:
        value = strict.loads(read_regular(path, strict.MAX_BYTES))
        if not isinstance(value, dict) or value.get("format") != _FORMAT:
            raise ValueError(f"no object of format {_FORMAT}")
        text, columns = value["ids"], value["parts"]
        if not isinstance(text, str) or not isinstance(columns, dict) or not columns:
            raise ValueError("ids are no text, or parts no object")
        count = len(text) // ID_DIGITS
        ids = decode_ids(text, count, "ids")
        if split not in columns and len(columns) > 1:
            raise ValueError(f"parts of {', '.join(sorted(columns))[:80]}, none of {split}")
        digits = columns.get(split, next(iter(columns.values())))
        numbers = decode_labels(digits, count, len(PARTS), "parts")
    except (ValueError, KeyError, OSError, BundleError) as error:
        reason = str(error).partition(";")[0][:160]
        raise DataError(
            f"{path}: not a split file ({reason}); give the {SPLIT_FILE} of a prepared folder, or "
            "a bundle"
        ) from None
    return {name: PARTS[number] for name, number in zip(ids, numbers.tolist(), strict=True)}
