"""Labels in the names of picture files: the patterns of published sets, and one's own with {label}.

A pattern of one's own is no regular expression, so that no name can make it run for ever: each of
its pieces is tried at each place of a name once.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from edgeemo.contract.checked.text import printable
from edgeemo.errors import InvalidInput

MAX_PATTERN = 200  # characters
_LABEL = "{label}"


@dataclass(frozen=True)
class NameSet:
    """A published set whose files' names hold the label."""

    name: str
    """Of the set."""
    form: re.Pattern[str]
    """Of a file's name without its ending, in capitals; the label is the group `label`."""
    codes: dict[str, str | None]
    """What its codes stand for, in small letters."""

    def label(self, path: str) -> str | None:
        """The code in a picture's path, in small letters; None where there is none."""
        match = self.form.fullmatch(PurePosixPath(path).stem.strip().upper())
        return match["label"].lower() if match else None


_CODES: dict[str, str | None] = {
    "an": "angry", "di": "disgust", "fe": "fear", "af": "fear", "ha": "happy", "ne": "neutral",
    "sa": "sad", "su": "surprise",
}  # fmt: skip

NAME_SETS = (
    # KA.AN1.39.tiff: person, expression and its number, number of the picture (Lyons et al. 1998).
    NameSet("JAFFE", re.compile(r"[A-Z]{2}\.(?P<label>AN|DI|FE|HA|NE|SA|SU)\d\.\d{1,3}"), _CODES),
    # AF01ANS.JPG: session, sex, person, expression, angle (Lundqvist et al. 1998).
    NameSet(
        "KDEF",
        re.compile(r"[AB][FM]\d\d(?P<label>AF|AN|DI|HA|NE|SA|SU)(?:S|HL|HR|FL|FR)"),
        _CODES,
    ),
    # Rafd090_01_Caucasian_female_angry_frontal.jpg (Langner et al. 2010).
    NameSet(
        "RaFD",
        re.compile(r"RAFD\d{3}_\d{2}_[A-Z]+_(?:FE)?MALE_(?P<label>[A-Z]+)_[A-Z]+"),
        {},
    ),
)


def name_set_of(paths: Sequence[str]) -> NameSet | None:
    """The published set that at least 95 of 100 paths look like."""
    for known in NAME_SETS:
        fits = sum(known.label(path) is not None for path in paths)
        if paths and fits >= 0.95 * len(paths):
            return known
    return None


class Pattern:
    """A pattern of names with one `{label}`, `*` for any characters and `?` for one.

    Without `/` it is that of a file's name; with `/` that of the last folders and the file. The
    name's ending counts where a `.` follows {label}. Case does not count.
    """

    def __init__(self, text: str) -> None:
        """Raises InvalidInput for a pattern without exactly one {label}, or of over 200
        characters.
        """
        if text.count(_LABEL) != 1 or len(text) > MAX_PATTERN:
            raise InvalidInput(
                f"expected a --pattern of up to {MAX_PATTERN} characters with one {_LABEL} in it, "
                f"such as '*_{_LABEL}.jpg'; received {printable(text)[:80]!r}"
            )
        self.text = text
        self.folders = text.count("/")
        self._with_ending = "." in text.rpartition(_LABEL)[2]
        before, _, after = text.casefold().partition(_LABEL)
        self._pieces = [*before, _LABEL, *after]

    def label(self, path: str) -> str | None:
        """The label in a picture's path, as it stands there; None where the pattern does not fit.

        Before {label} a `*` takes as much as it can, {label} and what follows as little.
        """
        parts = path.split("/")
        if len(parts) <= self.folders:
            return None
        name = "/".join(parts[-self.folders - 1 :])
        whole = name if self._with_ending else name.rpartition(".")[0]
        place = self._place(whole)
        return whole[slice(*place)] if place else None

    def _place(self, name: str) -> tuple[int, int] | None:
        """Start and end of the label in a name."""
        plain = name.casefold()
        if len(plain) != len(name):  # a letter that becomes two; then case counts
            plain = name
        label_at = self._pieces.index(_LABEL)
        dead: set[tuple[int, int]] = set()
        start = end = 0

        def fits(piece: int, at: int) -> bool:
            nonlocal start, end
            if piece == len(self._pieces):
                return at == len(plain)
            if (piece, at) in dead:
                return False
            kind = self._pieces[piece]
            if kind in ("*", _LABEL):
                stop = plain.find("/", at)
                last = len(plain) if stop < 0 else stop
                ends = range(at + (kind == _LABEL), last + 1)
                for to in reversed(ends) if kind == "*" and piece < label_at else ends:
                    if fits(piece + 1, to):
                        if kind == _LABEL:
                            start, end = at, to
                        return True
            elif (
                at < len(plain)
                and (plain[at] == kind or (kind == "?" and plain[at] != "/"))
                and fits(piece + 1, at + 1)
            ):
                return True
            dead.add((piece, at))
            return False

        return (start, end) if fits(0, 0) else None
