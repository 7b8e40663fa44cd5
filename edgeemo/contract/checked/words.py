"""Words of a fixed list, as fields of our files have them."""

from enum import Enum


class Word(str, Enum):
    """A member equals its word, prints as it, and is written to JSON as it.

    enum.StrEnum does the same and needs Python 3.11.
    """

    def __str__(self) -> str:
        return str(self.value)
