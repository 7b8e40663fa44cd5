"""Names of classes: what a bundle may call them, and the words that data sets use for the usual
seven.

Labels belong to the bundle, the prepared data and the run that carry them. `LABELS` is what
`python -m training prepare` and the shipped models use, and a default nowhere else.
"""

from collections.abc import Sequence

from edgeemo.contract.checked.text import printable
from edgeemo.contract.label_words import WORDS, plain_label
from edgeemo.errors import InvalidInput, UnknownLabel

LABELS: tuple[str, ...] = ("angry", "neutral", "disgust", "fear", "happy", "sad", "surprise")

MIN_LABELS, MAX_LABELS = 2, 64
MAX_LABEL_CHARACTERS = 48

_BY_WORD: dict[str, str] = {
    plain_label(word): label for label, words in WORDS.items() for word in words
}

# Words that data sets use for pictures that have no place among the seven.
DROPPED_WORDS: frozenset[str] = frozenset({"contempt", "unknown", "nf", "not a face"})

# fer2013.csv numbers its classes so (Kaggle challenge 2013); elsewhere a bare number means nothing.
FER2013_CODES: tuple[str, ...] = (
    "angry",
    "disgust",
    "fear",
    "happy",
    "sad",
    "surprise",
    "neutral",
)

# Columns of the FER+ votes, in the order of its file (Barsoum et al. 2016).
FERPLUS_COLUMNS: tuple[str, ...] = (
    "neutral",
    "happiness",
    "surprise",
    "sadness",
    "anger",
    "disgust",
    "fear",
    "contempt",
    "unknown",
    "NF",
)


def meaning(word: str) -> str | None:
    """Which of the seven, or "contempt", `word` stands for in any known vocabulary, or None.

    Case, accents and outer blanks do not count (contract/label_words.py).
    """
    return _BY_WORD.get(plain_label(word))


def known_label(word: str) -> str | None:
    """Which of the seven `word` stands for in any known vocabulary, or None.

    Case, accents and outer blanks do not count.
    """
    label = meaning(word)
    return label if label in LABELS else None


def match_label_or_none(word: str, labels: Sequence[str]) -> str | None:
    """What `match_label` gives, or None where it would raise."""
    if word in labels:
        return word
    plain = word.strip().casefold()
    matches = [label for label in labels if label.casefold() == plain]
    matches = matches or [label for label in labels if _same_meaning(label, word)]
    return matches[0] if len(matches) == 1 else None


def match_label(word: str, labels: Sequence[str]) -> str:
    """The one of `labels` that `word` stands for: by its name, else by its vocabulary.

    Case and outer blanks do not count, unless two labels differ by them alone:
    `match_label("Anger", LABELS)` is "angry".

    Raises:
        UnknownLabel: `word` is none of them; the message lists them.
    """
    label = match_label_or_none(str(word), labels)
    if label is None:
        raise UnknownLabel(f"expected one of {', '.join(labels)}; received {str(word)[:80]!r}")
    return label


def label_index(word: str, labels: Sequence[str]) -> int:
    """Position of the label of `word` in `labels`. Raises UnknownLabel like `match_label`."""
    return tuple(labels).index(match_label(word, labels))


def check_labels(labels: Sequence[str], where: str, error: type[Exception] = InvalidInput) -> None:
    """Raise `error`, naming `where`, unless `labels` are 2 to 64 distinct names.

    A name has 1 to 48 printable characters, without blanks at its ends.
    """
    if not MIN_LABELS <= len(labels) <= MAX_LABELS or len(set(labels)) != len(labels):
        raise error(
            f"{where}: expected {MIN_LABELS} to {MAX_LABELS} distinct labels, received "
            f"{len(labels)}: {_shown(labels)}"
        )
    for label in labels:
        if not _is_name(label):
            raise error(
                f"{where}: expected labels of 1 to {MAX_LABEL_CHARACTERS} printable characters "
                f"without outer blanks, received {str(label)[:60]!a}"
            )


def check_same_labels(
    labels: Sequence[str], expected: Sequence[str], where: str, error: type[Exception]
) -> None:
    """Raise `error`, naming `where`, unless `labels` are `expected`, in the same order."""
    if tuple(labels) != tuple(expected):
        raise error(
            f"{where}: expected the labels {_shown(expected)}, in this order; received "
            f"{_shown(labels)}; it was made for other labels, so make it again with these"
        )


def _same_meaning(label: str, word: str) -> bool:
    meant = meaning(word)
    return meant is not None and meaning(label) == meant


def _is_name(label: object) -> bool:
    return (
        isinstance(label, str)
        and 0 < len(label) <= MAX_LABEL_CHARACTERS
        and label.isprintable()
        and label == label.strip()
    )


def _shown(labels: Sequence[str]) -> str:
    return printable(", ".join(map(str, labels)))[:200]
