"""Where a command writes without --out."""

from pathlib import Path


def beside(prepared: Path, what: str) -> Path:
    """The folder PREPARED-what beside a prepared one: what is in that is checked, and replaced when
    it is made again.
    """
    absolute = prepared.absolute()
    return absolute.with_name(f"{absolute.name}-{what}")
