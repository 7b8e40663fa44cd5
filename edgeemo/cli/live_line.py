"""The line of `edgeemo watch` that tells people who looks how."""

import shutil
import sys
import time
from collections.abc import Iterator, Sequence

from edgeemo.cli.shell import say, say_in_place
from edgeemo.contract.label_words import WORDS
from edgeemo.contract.labels import meaning
from edgeemo.contract.languages import label_name, phrase
from edgeemo.results import Reading

_REDRAW = 0.1  # seconds between two live lines
_COLOURS = dict(
    zip(
        WORDS,
        ("red", "", "green", "magenta", "yellow", "blue", "cyan", "bright_red"),
        strict=True,
    )
)
"""A terminal's colour of each emotion that is known by its meaning."""


class LiveLine:
    """One line that changes in place on a terminal; elsewhere a line for each change.

    Args:
        language: of the words.
        length: seconds of a recording, whose share is told; None: not known, or live.
    """

    def __init__(self, language: str = "en", length: float | None = None) -> None:
        self._language, self._length = language, length
        self._in_place = sys.stdout is not None and sys.stdout.isatty()  # None: closed
        self._drawn = 0.0
        self._shown: object = None

    def show(self, readings: Sequence[Reading]) -> None:
        """Show the readings of a frame, where they tell something new."""
        now = time.monotonic()
        state = [(reading.face_id, reading.emotion, reading.camera_ok) for reading in readings]
        changed, self._shown = state != self._shown, state
        if not changed and (not self._in_place or now - self._drawn < _REDRAW):
            return
        self._drawn = now
        parts = list(self._parts(readings))
        if self._in_place:
            say_in_place(parts, shutil.get_terminal_size().columns - 1)
        else:
            say("".join(text for text, _ in parts))

    def close(self) -> None:
        """Leave the line as it is, and let what follows begin on another."""
        if self._in_place and self._drawn:
            say()

    def _parts(self, readings: Sequence[Reading]) -> Iterator[tuple[str, str]]:
        """Texts with the colour of each."""
        for number, reading in enumerate(readings):
            if number:
                yield " | ", ""
            colour = _COLOURS.get(meaning(reading.emotion) or "", "") if reading.emotion else ""
            yield self._words(reading), colour
        first = readings[0]
        if self._length:
            yield f"  {min(1.0, first.time / self._length):.0%}", ""
        dropped = phrase("dropped", self._language)
        yield f"  {first.latency_ms:.0f} ms  {first.fps:.0f} fps  {first.dropped} {dropped}", ""

    def _words(self, reading: Reading) -> str:
        if not reading.camera_ok:
            return phrase("camera gone, trying again", self._language)
        if reading.face_id is None:
            return phrase("no face", self._language)
        bar = "#" * round(10 * reading.confidence)
        emotion = phrase("unsure", self._language)
        if reading.emotion:
            emotion = label_name(reading.emotion, self._language, list(reading.scores))
        face = phrase("face", self._language)
        return f"{face} {reading.face_id}  {emotion:<8} {reading.confidence:>4.0%} {bar:<10}"
