"""What people read, by language: the names of the usual labels, and the words around them.

Machines read the bundle's labels, whatever the language: JSON, CSV, handlers and reports.
"""

from collections.abc import Sequence

from edgeemo.contract.labels import meaning
from edgeemo.errors import InvalidInput

LANGUAGES: tuple[str, ...] = ("en", "es")
"""ISO 639-1 codes; the first is the one that labels and messages are written in."""

NAMES: dict[str, dict[str, str]] = {
    "es": {
        "angry": "enfado",
        "neutral": "neutral",
        "disgust": "asco",
        "fear": "miedo",
        "happy": "alegría",
        "sad": "tristeza",
        "surprise": "sorpresa",
        "contempt": "desprecio",
    },
}
"""The usual seven and contempt, in each language but English."""

PHRASES: dict[str, dict[str, str]] = {
    "es": {
        "Emotion over time": "Emociones a lo largo del tiempo",
        "all faces": "todas las caras",
        "box": "recuadro",
        "camera gone, trying again": "sin cámara, reintentando",
        "crop and network": "recorte y red",
        "dropped": "descartados",
        "emotion": "emoción",
        "face": "cara",
        "faces": "caras",
        "frames": "fotogramas",
        "is it a cropped face? Take it whole": "¿es una cara recortada? Tómela entera",
        "longest": "más larga",
        "no face": "ninguna cara",
        "no face found": "no se encontró ninguna cara",
        "seconds": "segundos",
        "share": "proporción",
        "share of each emotion over time": "proporción de cada emoción a lo largo del tiempo",
        "times": "veces",
        "unsure": "dudoso",
    },
}
"""Words and phrases that stand beside labels, by their English ones, in each other language."""


def label_name(label: str, language: str = "en", labels: Sequence[str] = ()) -> str:
    """What people call a bundle's `label` in a language; a label of no known meaning is its own
    name, and so is every label in English.

    Args:
        label: as the bundle has it, in whatever language.
        language: one of LANGUAGES.
        labels: all of the bundle. Where two of them mean the same, each keeps its own name.

    Raises:
        InvalidInput: another language.
    """
    names = _of(NAMES, language)
    meant = meaning(label)
    if meant is None or sum(meaning(other) == meant for other in labels) > 1:
        return label
    return names.get(meant, label)


def phrase(english: str, language: str = "en") -> str:
    """A word or phrase of PHRASES in a language.

    Raises:
        InvalidInput: another language.
    """
    return _of(PHRASES, language).get(english, english)


def _of(table: dict[str, dict[str, str]], language: str) -> dict[str, str]:
    if language not in LANGUAGES:
        raise InvalidInput(
            f"expected a language of {', '.join(LANGUAGES)}; received {str(language)[:20]!r}"
        )
    return table.get(language, {})
