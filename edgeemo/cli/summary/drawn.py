"""What a page and a picture of emotion over time have in common: colours, names, columns, times."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgeemo.contract.label_words import WORDS
from edgeemo.contract.labels import meaning
from edgeemo.contract.languages import label_name, phrase
from edgeemo.live.summary import Emotion, Lasted, Seen, Summary

COLUMNS = 480
"""Most columns of a chart."""
MOST_CHARTS = 12
"""Faces that are drawn, those seen longest."""
# Of Okabe and Ito, which people of every colour vision tell apart; then others for other labels.
_BY_MEANING = dict(
    zip(
        WORDS,
        ("#d55e00", "#999999", "#009e73", "#cc79a7", "#e69f00", "#0072b2", "#56b4e9", "#8c564b"),
        strict=True,
    )
)
_OTHERS = ("#7b6fd0", "#b0a000", "#3c8f8f", "#c0507f", "#6b8e23", "#a0623a", "#5f7f9f", "#b04fb0")
_UNSURE = "#d0d4da"


@dataclass(frozen=True)
class Chart:
    """A face, or all of them, as it is drawn."""

    title: str
    """Whose it is."""
    seen: Seen
    """What was seen of it."""
    columns: Sequence[tuple[float, float, dict[Emotion, float]]]
    """Begin, end (seconds) and share 0..1 of each emotion."""


def charts(summary: Summary, language: str) -> list[Chart]:
    """All faces together where there are several, and those that were seen longest, in the order
    in which they came.
    """
    longest = sorted(summary.faces, key=lambda face: -summary.faces[face].seconds)[:MOST_CHARTS]
    drawn = [
        Chart(f"{phrase('face', language)} {face}", seen, _columns(summary, seen))
        for face, seen in summary.faces.items()
        if face in longest
    ]
    if len(summary.faces) > 1:
        title = phrase("all faces", language)
        drawn.insert(0, Chart(title, summary.everyone, _columns(summary, summary.everyone)))
    return drawn


def used(summary: Summary) -> list[Emotion]:
    """The emotions that occur, in the bundle's order."""
    return [e for e in summary.emotions if summary.everyone.lasted.get(e, Lasted()).seconds > 0]


def name_of(emotion: Emotion, summary: Summary, language: str) -> str:
    """What people call it."""
    if emotion is None:
        return phrase("unsure", language)
    return label_name(emotion, language, summary.labels)


def colours(summary: Summary) -> dict[Emotion, str]:
    """A colour of each emotion, #rrggbb; of the usual ones the usual."""
    found: dict[Emotion, str] = {None: _UNSURE}
    free = iter(_OTHERS * (1 + len(summary.labels) // len(_OTHERS)))
    for label in summary.labels:
        usual = _BY_MEANING.get(meaning(label) or "")
        found[label] = usual if usual and usual not in found.values() else next(free)
    return found


def clock(seconds: float) -> str:
    """1:05, or 1:00:05."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"


def ticks(seconds: float) -> list[float]:
    """Times for an axis: at most nine, round ones."""
    steps = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 43200)
    step = next((s for s in steps if seconds / s <= 8), math.ceil(seconds / 8 / 86400) * 86400)
    return [float(i * step) for i in range(int(seconds / step + 1e-6) + 1)]


def _columns(summary: Summary, seen: Seen) -> list[tuple[float, float, dict[Emotion, float]]]:
    """The steps of a face, so many together that there are no more than COLUMNS."""
    together = max(1, math.ceil(summary.seconds / summary.step / COLUMNS))
    groups: dict[int, dict[Emotion, float]] = {}
    for number, emotions in seen.steps.items():
        group = groups.setdefault(number // together, dict.fromkeys(summary.emotions, 0.0))
        for emotion, seconds in emotions.items():
            group[emotion] += seconds
    width = together * summary.step
    return [
        (
            number * width,
            min((number + 1) * width, summary.seconds),
            {emotion: seconds / sum(group.values()) for emotion, seconds in group.items()},
        )
        for number, group in sorted(groups.items())
        if sum(group.values()) > 0
    ]
