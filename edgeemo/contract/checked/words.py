"""Words of a fixed list, as fields of our files have them."""

from enum import Enum


class Word(str, Enum):  # noqa: UP042  enum.StrEnum needs Python 3.11
    """A member equals its word, prints as it, and is written to JSON as it."""

    def __str__(self) -> str:
        return str(self.value)
