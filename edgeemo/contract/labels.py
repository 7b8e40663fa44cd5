"""The seven labels, in the order that every artifact stores, and the words that data sets use for them."""

from collections.abc import Sequence

from edgeemo.errors import UnknownLabel

LABELS: tuple[str, ...] = ("angry", "neutral", "disgust", "fear", "happy", "sad", "surprise")

# What data sets call them (folder names, FER+ nouns, RAF-DB and AffectNet words). Compared in lower case.
_VOCABULARY: dict[str, tuple[str, ...]] = {
    "angry": ("angry", "anger", "annoyed"),
    "neutral": ("neutral", "neutrality", "calm"),
    "disgust": ("disgust", "disgusted"),
    "fear": ("fear", "fearful", "afraid", "scared"),
    "happy": ("happy", "happiness", "joy"),
    "sad": ("sad", "sadness"),
    "surprise": ("surprise", "surprised"),
}
_BY_WORD: dict[str, str] = {word: label for label, words in _VOCABULARY.items() for word in words}

# Words that data sets use for pictures that have no place among the seven.
DROPPED_WORDS: frozenset[str] = frozenset({"contempt", "unknown", "nf", "not a face"})

# fer2013.csv numbers its classes so (Kaggle challenge 2013); a bare number as a folder name means nothing elsewhere.
FER2013_CODES: tuple[str, ...] = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")

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


def known_label(word: str) -> str | None:
    """The label that `word` stands for in any known vocabulary, or None. Case and outer blanks do not count."""
    return _BY_WORD.get(word.strip().lower())


def parse_label(word: str) -> str:
    """The label that `word` stands for.

    Raises:
        UnknownLabel: `word` is in no vocabulary; the message lists the seven.
    """
    label = known_label(word)
    if label is None:
        raise UnknownLabel(f"expected one of {', '.join(LABELS)}; received {word!r}")
    return label


def label_index(word: str) -> int:
    """Position of `word`'s label in `LABELS`, 0 to 6. Raises UnknownLabel like `parse_label`."""
    return LABELS.index(parse_label(word))


def check_label_order(labels: Sequence[str], where: str, error: type[Exception]) -> None:
    """Raise `error` unless `labels` are the seven in their order; `where` names what carried them."""
    if tuple(labels) != LABELS:
        raise error(
            f"{where}: expected the labels {', '.join(LABELS)}, in this order; "
            f"received {', '.join(map(str, labels))[:200]!r}; it was made for another edgeemo, so make it again with this one"
        )
