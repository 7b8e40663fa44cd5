"""Numbers of things in messages."""


def count_of(count: int, noun: str, plural: str = "") -> str:
    """A number and its noun: "1 file", "2 files", "1,234 copies".

    Args:
        count: of the things, from 0 on.
        noun: for one of them.
        plural: for the others [default: the noun with an s].
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
