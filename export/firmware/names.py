"""Text of a bundle as it may stand in C, whatever it holds, and what the C itself is called."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from edgeemo.errors import InvalidInput

# What a C string literal holds as it is; no question mark, because two begin a trigraph.
_AS_IT_IS = frozenset(range(0x20, 0x7F)) - frozenset(b'"\\?')
_PREFIX = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_LONGEST_PREFIX = 24


@dataclass(frozen=True)
class Prefix:
    """What the names of generated C begin with, so that several models link into one program.

    Raises:
        InvalidInput: not a word of a-z, 0-9 and single underscores in between.
    """

    word: str = "edgeemo"
    """The prefix without its underscore; macros have it in capitals."""

    def __post_init__(self) -> None:
        if not _PREFIX.fullmatch(self.word) or len(self.word) > _LONGEST_PREFIX:
            raise InvalidInput(
                f"expected a prefix of a-z, 0-9 and _ of at most {_LONGEST_PREFIX} letters that "
                f"begins with a letter, received {self.word!r}; choose one such as door"
            )

    @property
    def macro(self) -> str:
        """The prefix of macros."""
        return self.word.upper()

    def named(self, text: str) -> str:
        """Our own C, make or CMake, or a file's name, with this prefix for edgeemo's."""
        if self == EDGEEMO:
            return text
        text = re.sub(r"(?<!\w)(-D|CONFIG_)?EDGEEMO_", rf"\g<1>{self.macro}_", text)
        text = re.sub(r"\bCONFIG_EDGEEMO\b", f"CONFIG_{self.macro}", text)
        text = re.sub(r"\bedgeemo_", f"{self.word}_", text)
        text = re.sub(r"\b(lib|components/)edgeemo\b", rf"\g<1>{self.word}", text)
        return re.sub(r"\bmodel_settings\.h", f"{self.word}_model_settings.h", text)


EDGEEMO = Prefix()
"""The usual one."""


def c_string(text: str) -> str:
    """`text` as a C string literal of its UTF-8 bytes.

    Other bytes are octal escapes of three digits: unlike hexadecimal ones they cannot swallow a
    digit that follows.
    """
    return '"' + "".join(chr(b) if b in _AS_IT_IS else f"\\{b:03o}" for b in text.encode()) + '"'


def c_text(text: str) -> str:
    """`text` as it may stand in a comment or a table's cell."""
    return re.sub(r"[^A-Za-z0-9_/.:;() -]", "_", text)


def macro_names(words: Sequence[str], taken: Iterable[str] = ()) -> list[str]:
    """A distinct name of A-Z, 0-9 and _ for each word, to stand behind a prefix.

    Accents are dropped and every other character is an underscore; a name that is `taken` by
    something else, or by a word before it, gets the word's number.
    """
    names = dict.fromkeys(range(len(words)), "")
    used = set(taken)
    # A word that is its own name has it, whatever an earlier word would become.
    for i in sorted(names, key=lambda i: not re.fullmatch(r"[A-Z0-9_]+", words[i].upper())):
        word = words[i]
        plain = unicodedata.normalize("NFKD", word.upper()).encode("ascii", "ignore").decode()
        base = re.sub(r"[^A-Z0-9]+", "_", plain.upper()).strip("_")
        name = base or str(i)
        while name in used:
            base = f"{base}_{i}".strip("_")
            name = base
        used.add(name)
        names[i] = name
    return list(names.values())
