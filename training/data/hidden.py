"""Parts of a set that hide behind names that are no pictures': archives inside it, and pictures of
another ending.
"""

from pathlib import PurePosixPath
from typing import Protocol

from edgeemo.data.file_store import NO_PICTURE

PICTURE_SUFFIXES = frozenset(
    {".gif", ".heic", ".heif", ".avif", ".jfif", ".jpe", ".jp2", ".svg", ".raw"}
)
"""Of pictures that are not read."""
_ARCHIVES = frozenset({".zip", ".tar", ".tgz", ".tbz2", ".txz", ".rar", ".7z"})
_PACKED = frozenset({".gz", ".bz2", ".xz", ".zst"})
INNER_ARCHIVE = "an archive inside the set, which is not unpacked"
ANOTHER_NAME = "a picture whose name does not end as one (.jpg, .png)"
# No picture of any format that begins so is a note, a table or a model.
_BEGINNINGS = (b"\xff\xd8\xff", b"\x89PNG\r\n", b"GIF8", b"II*\0", b"MM\0*")
_NO_NEED_TO_LOOK = frozenset({".txt", ".csv", ".tsv", ".json", ".xml", ".npy", ".md", ".html"})


class Opened(Protocol):
    """A set whose files can be looked at."""

    @property
    def rejected(self) -> list[dict[str, str]]:
        """Its files that are left out, with `path` and `reason`."""

    def start(self, path: str, count: int) -> bytes:
        """The first bytes of one of its files."""


def look_closer(opened: Opened) -> None:
    """Say of the files that are no pictures by their names which of them hide a part of the set:
    archives, and pictures of another ending.
    """
    for row in opened.rejected:
        if row["reason"] != NO_PICTURE:
            continue
        path = PurePosixPath(row["path"])
        suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
        last = suffixes[-1] if suffixes else ""
        if last in _ARCHIVES or (last in _PACKED and ".tar" in suffixes):
            row["reason"] = INNER_ARCHIVE
        elif last not in _NO_NEED_TO_LOOK | PICTURE_SUFFIXES:
            start = opened.start(row["path"], 12)
            webp = start[:4] == b"RIFF" and start[8:12] == b"WEBP"
            if webp or start.startswith(_BEGINNINGS):
                row["reason"] = ANOTHER_NAME
