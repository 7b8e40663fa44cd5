"""What the words of own sets stand for: a map, words to drop, and the vocabulary of many languages;
words that none of them knows are written into a file to fill in.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgeemo.contract.checked import strict
from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.checked.reading import read_regular, why_no_file
from edgeemo.contract.checked.text import printable, without_halves
from edgeemo.contract.label_words import WORDS, plain_label
from edgeemo.contract.labels import (
    MAX_LABELS,
    check_labels,
    match_label_or_none,
    meaning,
)
from edgeemo.data.labelled import NO_PLACE
from edgeemo.errors import DataError, InvalidInput, MissingFile

LEFT_OUT = "left out by --drop or --labels"
"""Why pictures of a word that is not wanted are left out."""
MAX_MAP_BYTES = 1024 * 1024
_NUMBER = re.compile(r"\d{1,3}[ .)]+(?=\D)")
_LABELS_FILE = "labels"
_MOST_SHOWN = 8

NUMBERINGS: dict[str, dict[str, str | None]] = {
    # "0=Angry, 1=Disgust, ..." (Kaggle 2013); 7 is contempt in CK+ in the same form.
    "fer2013": {
        "0": "angry", "1": "disgust", "2": "fear", "3": "happy", "4": "sad", "5": "surprise",
        "6": "neutral", "7": "contempt",
    },
    # Li et al. 2017, the readme beside list_patition_label.txt.
    "raf-db": {
        "1": "surprise", "2": "fear", "3": "disgust", "4": "happy", "5": "sad", "6": "angry",
        "7": "neutral",
    },
    # Mollahosseini et al. 2017; 8 to 10 are none, uncertain and no face.
    "affectnet": {
        "0": "neutral", "1": "happy", "2": "sad", "3": "surprise", "4": "fear", "5": "disgust",
        "6": "angry", "7": "contempt", "8": None, "9": None, "10": None,
    },
    # Lucey et al. 2010, the readme of Emotion_labels.
    "ck+": {
        "0": "neutral", "1": "angry", "2": "contempt", "3": "disgust", "4": "fear", "5": "happy",
        "6": "sad", "7": "surprise",
    },
}  # fmt: skip
"""What published sets document for their numbers; None is left out."""


@dataclass(frozen=True)
class Rules:
    """How words become labels."""

    class_names: tuple[str, ...] | None = None
    """The classes that are asked for; None for those that are there."""
    mapped: Mapping[str, str | None] = field(default_factory=dict)
    """Plain word to class name, or None to leave it out; before the vocabulary."""
    dropped: frozenset[str] = frozenset()
    """Plain words to leave out."""

    def label(self, word: str, codes: Mapping[str, str | None]) -> "Meant":
        """What a word stands for; `codes` are those of the set itself, by plain word."""
        meant = self._label(word, codes)
        if meant.known:
            return meant
        # "0_happy", "01 sad": numbers before words put folders in an order.
        plain = plain_label(word)
        numbered = _NUMBER.match(plain)
        return self._label(plain[numbered.end() :], {}) if numbered else meant

    def _label(self, word: str, codes: Mapping[str, str | None]) -> "Meant":
        """The same for a word as it is."""
        plain = plain_label(word)
        if plain in self.dropped:
            return Meant(None, LEFT_OUT)
        if plain in self.mapped:
            return self._placed(self.mapped[plain])
        if self.class_names and (name := match_label_or_none(word, self.class_names)):
            return Meant(name, None)
        if plain in codes:
            return self._placed(codes[plain])
        if meant := meaning(word):
            return self._placed(meant)
        return Meant(None, None)

    def _placed(self, label: str | None) -> "Meant":
        if label is None or plain_label(label) in self.dropped:
            return Meant(None, LEFT_OUT)
        if self.class_names is None:
            return Meant(label, None)
        name = match_label_or_none(label, self.class_names)
        return Meant(name, None if name else NO_PLACE)


@dataclass(frozen=True)
class Meant:
    """What a word stands for; both None where nobody knows."""

    label: str | None
    """A class name."""
    reason: str | None
    """Why its pictures are left out."""

    @property
    def known(self) -> bool:
        """Whether it is anything."""
        return self.label is not None or self.reason is not None


def read_rules(class_names: Sequence[str] | None, labels: str | None, drop: Sequence[str]) -> Rules:
    """The rules of a command line: `labels` is a JSON file or one of NUMBERINGS.

    Raises:
        MissingFile, DataError: a map that is not there or none.
        InvalidInput: an empty word to drop.
    """
    if any(not plain_label(word) for word in drop):
        raise InvalidInput("expected a word after --drop, received an empty one")
    if labels == "":
        known = ", ".join(NUMBERINGS)
        raise InvalidInput(f"expected a file or one of {known} after --labels, received nothing")
    names = tuple(class_names) if class_names is not None else None
    mapped = {} if labels is None else NUMBERINGS.get(labels) or _read_map(Path(labels))
    for name in {label for label in mapped.values() if label} if names else ():
        named = labels in NUMBERINGS or match_label_or_none(name, names or ()) is not None
        if not named:
            raise DataError(
                f"{labels}: the label {printable(name)[:60]!r} is none of --classes "
                f"{', '.join(names or ())}; add it there, or write null to leave the word out"
            )
    return Rules(names, mapped, frozenset(map(plain_label, drop)))


def _read_map(path: Path) -> dict[str, str | None]:
    """A map of words to labels from a JSON file, by plain word."""
    if why := why_no_file(path):
        known = ", ".join(NUMBERINGS)
        raise MissingFile(f"{path}: {why}; expected a map as JSON for --labels, or one of {known}")
    try:
        value = strict.loads(read_regular(path, MAX_MAP_BYTES).decode("utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: expected a JSON object of words and labels, such as "
            f'{{"joie": "happy"}} ({printable(str(error))[:200]}); correct it'
        ) from None
    if not isinstance(value, dict) or not value:
        raise DataError(
            f'{path}: expected a JSON object of words and labels, such as {{"joie": "happy"}}, '
            f"received {printable(str(value))[:60]!r}; correct it"
        )
    _check_filled(path, value)
    result: dict[str, str | None] = {}
    first: dict[str, str] = {}
    for word, label in value.items():
        plain = plain_label(word)
        if plain in result:
            raise DataError(
                f"{path}: the words {printable(first[plain])[:60]!r} and "
                f"{printable(word)[:60]!r} are the same but for case, accents or blanks; keep one"
            )
        result[plain], first[plain] = label, word
    return result


def _check_filled(path: Path, value: dict[str, Any]) -> None:
    empty = [word for word, label in value.items() if label == ""]
    if empty:
        raise DataError(
            f"{path}: expected a label behind each word, {shown(empty)} have none; write one, or "
            "null to leave a word out"
        )
    for word, label in value.items():
        if label is not None:
            where = f"{path}: the label of {printable(word)[:60]!r}"
            check_labels((label, "another" if label != "another" else "other"), where, DataError)


def class_names_of(labels: Iterable[str], left_out: str = "") -> tuple[str, ...]:
    """Labels in their order: the seven, contempt, then others by name; `left_out` is what the sets
    hold beside them, for the message.

    Raises:
        InvalidInput: fewer than 2 or more than 64, or two that only case or accents tell apart.
    """
    usual = list(WORDS)
    names = sorted(
        set(labels), key=lambda name: (usual.index(name) if name in usual else len(usual), name)
    )
    plain: dict[str, str] = {}
    for name in names:
        other = plain.setdefault(plain_label(name), name)
        if other != name:
            raise InvalidInput(
                f"expected one way of writing each class, received {other!r} and {name!r}; "
                "write them alike in --labels"
            )
    if not 2 <= len(names) <= MAX_LABELS:
        raise InvalidInput(
            f"expected 2 to {MAX_LABELS} classes, the sets hold {len(names)}"
            f"{f' ({shown(names)})' if names else ''}{left_out}; give pictures of more classes, "
            "or other "
            "--labels"
        )
    return tuple(names)


def check_dropped(rules: Rules, words: Iterable[str], labels: Iterable[str]) -> None:
    """Raise InvalidInput where a word to drop is none of the sets' words, nor of their labels."""
    words = list(words)
    there = set(map(plain_label, (*words, *labels)))
    missing = sorted(rules.dropped - there)
    if missing:
        raise InvalidInput(
            f"--drop {missing[0]!r} is no word of the sets, which hold {shown(words)}; correct or "
            "remove it"
        )


def write_missing(out: Path, meant: Mapping[str, Meant], sets: Sequence[str]) -> DataError:
    """Write the sets' words into a new file beside `out`, what is known filled in; the error that
    says so.

    A file that is there is never touched: the next free name is taken.
    """
    unknown = [word for word, what in meant.items() if not what.known]
    words = count_of(len(unknown), "word")
    text = f"{' and '.join(sets)}: {words} that no vocabulary knows ({shown(unknown)})"
    if len(set(map(plain_label, meant))) < 2 or len(unknown) > MAX_LABELS:
        return DataError(
            f"{text}, expected 2 to {MAX_LABELS} classes; is the label elsewhere? See --layout, "
            "--pattern and --columns"
        )
    # A plain word once; of two spellings the first.
    rows: dict[str, tuple[str, str | None]] = {}
    for word in (*unknown, *(word for word in meant if meant[word].known)):
        label = meant[word].label if meant[word].known else ""
        rows.setdefault(plain_label(word), (word, label))
    content = without_halves(dict(rows.values()))
    written = _write_new(out.absolute().parent, json.dumps(content, ensure_ascii=False, indent=2))
    if written is None:
        return DataError(
            f"{text}; name each in a JSON map for --labels, such as "
            f'{{"{printable(unknown[0])[:40]}": "happy"}}, or give --classes'
        )
    return DataError(
        f"{text}; fill in {written} (a label behind each, null to leave it out) and add --labels "
        f"{written}, or name your own classes with --classes, or leave words out with --drop"
    )


def _write_new(folder: Path, text: str) -> Path | None:
    """A new file in the folder; None where none can be written."""
    for number in range(1, 100):
        path = folder / f"{_LABELS_FILE}{f'-{number}' if number > 1 else ''}.json"
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text + "\n")
        except FileExistsError:
            if _is_same(path, text + "\n"):
                return path
        except OSError:
            return None
        else:
            return path
    return None


def _is_same(path: Path, text: str) -> bool:
    """Whether an earlier call has written this very file, and nobody has filled it in."""
    try:
        return read_regular(path, MAX_MAP_BYTES) == text.encode()
    except (OSError, ValueError):
        return False


def shown(words: Sequence[str]) -> str:
    """The first words of a list, for a message."""
    texts = [f"'{printable(word)[:40]}'" for word in words[:_MOST_SHOWN]]
    more = len(words) - len(texts)
    return ", ".join(texts) + (f" and {more:,} more" if more > 0 else "")
