"""Whether a set went in whole: a part that is left out for another reason than that its files are
broken is an error, not a count.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.checked.text import printable
from edgeemo.data.file_store import LINKED_FOLDER, NO_PICTURE
from edgeemo.data.labelled import NO_PLACE
from edgeemo.errors import ArchiveError
from training.data.hidden import INNER_ARCHIVE, PICTURE_SUFFIXES
from training.data.own.table_rows import NOT_NAMED
from training.data.own.words import LEFT_OUT
from training.data.sources import SECOND_COPY

MAX_SHARE = 0.005
"""Of a set's files; a real set holds a few strays."""
BROKEN = "not a usable picture: "
"""How the reasons of files begin that are pictures by their name alone."""
NO_FACE = "no face found"
_NO_PART = frozenset({"system file", SECOND_COPY, NO_PLACE, NO_FACE, LEFT_OUT, NOT_NAMED})


def check_whole(
    name: str,
    path: object,
    read: int,
    rejected: Iterable[Mapping[str, str]],
    *,
    way_out: str = "give the set as it was published",
) -> None:
    """Raise unless at most MAX_SHARE of a set's files were left out.

    Broken files, system files, second copies, classes that are none of the class names or are to be
    left out, photos without a face, files that are no pictures and pictures that a set's table does
    not name do not count; a folder that could not be read, a link to one, and an archive inside the
    set count whatever their share, since nobody knows what is in them.

    Args:
        name: of the set.
        path: its archive or folder, for the message.
        read: how many of its pictures were read.
        rejected: the others, with `path` and `reason`.
        way_out: what to do about it, for the message.

    Raises:
        ArchiveError: more was left out; the message gives the reasons.
    """
    rows = list(rejected)
    parts = Counter(row["reason"] for row in rows if _is_part(row))
    broken = sum(row["reason"].startswith(BROKEN) for row in rows)
    left, files = parts.total(), read + broken + parts.total()
    if left <= MAX_SHARE * files and not any(map(_hides_more, parts)):
        return
    reasons = ", ".join(f"{count:,} x {reason}" for reason, count in parts.most_common(5))
    first = next(row["path"] for row in rows if _is_part(row))
    raise ArchiveError(
        f"{path}: expected all of {name}, {left:,} of {count_of(files, 'file')} "
        f"({100 * left / files:.1f} %) would be left out: {reasons}; the first is "
        f"'{printable(first)[:120]}'; {way_out}, or add "
        "--allow-left-out to go on without them"
    )


def _hides_more(reason: str) -> bool:
    return "cannot be read" in reason or reason in (LINKED_FOLDER, INNER_ARCHIVE)


def _is_part(row: Mapping[str, str]) -> bool:
    reason = row["reason"]
    if reason == NO_PICTURE:
        return PurePosixPath(row["path"]).suffix.lower() in PICTURE_SUFFIXES
    return reason not in _NO_PART and not reason.startswith(BROKEN)
