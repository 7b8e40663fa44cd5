"""Text of others on its way to a terminal, a page or a JSON line.

A label, a tensor's name, a message or a file name may hold escapes that colour, overwrite or rename
a terminal, letters that turn the reading direction, and halves of characters, which no UTF-8 holds.
"""

from typing import Any


def printable(text: str) -> str:
    """The text on one line of printable characters, the others as Python writes them: `\\x1b`,
    `\\n`, `\\u202e`; a byte of a file name that is no UTF-8 as `\\xe9`.
    """
    return text if text.isprintable() else "".join(map(_shown, text))


def without_halves(value: Any) -> Any:
    """JSON's values with every text one that UTF-8 can hold: halves of characters as `printable`
    shows them.
    """
    if isinstance(value, str):
        return "".join(_shown(c) if "\ud800" <= c <= "\udfff" else c for c in value)
    if isinstance(value, dict):
        return {without_halves(key): without_halves(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_halves(item) for item in value]
    return value


def _shown(character: str) -> str:
    if character.isprintable():
        return character
    if "\udc80" <= character <= "\udcff":  # how Python holds a byte that is no UTF-8 (PEP 383)
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def is_host(name: str) -> bool:
    """Whether a name or address can be looked up: Python raises UnicodeError, which is no OSError,
    where a part of it is empty or has more than 63 characters.
    """
    try:
        return bool(name.encode("idna"))
    except UnicodeError:
        return False
