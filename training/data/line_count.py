"""How long a table is, before any of its rows is read."""

from typing import IO

MAX_LINE = 32 * 1024
"""Bytes; 2,304 numbers take 9,215 at most, AffectNet's landmarks 1,000."""
_CHUNK = 32 * MAX_LINE


def has_more_lines(stream: IO[bytes], most: int) -> bool:
    """Whether a table has more than `most` lines. Counting takes a small part of the time of
    reading, so that nobody waits for rows that are refused at the last one.

    Args:
        stream: seekable, at its start, where it is left.
        most: lines.

    Returns:
        False as well where a line is longer than MAX_LINE: who reads it says which, and no file is
        counted to its end that has no lines.
    """
    count, last = 0, b"\n"
    while chunk := stream.read(_CHUNK):
        ends = chunk.count(b"\n")
        count, last = count + ends, chunk[-1:]
        if count > most or (len(chunk) == _CHUNK and ends < _CHUNK // MAX_LINE):
            break
    else:
        count += last != b"\n"  # a last line without an end
    stream.seek(0)
    return count > most
