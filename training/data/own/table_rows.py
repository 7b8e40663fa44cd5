"""What a set's tables hold: each row's picture, found or read, and what no row names."""

import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import IO

from edgeemo.contract.checked.reading import open_regular
from edgeemo.contract.checked.text import printable
from edgeemo.contract.label_words import plain_label
from edgeemo.data.file_store import NO_PICTURE, FileStore, name_fault
from edgeemo.data.labelled import SPLIT_WORDS, plain_word
from edgeemo.errors import ArchiveError, DataError
from training.data.competition import SIDE, parse_pixels
from training.data.own.folders import Entry
from training.data.own.places import Listed, LooseFiles, checked_path
from training.data.own.tables import Columns, Row, rows
from training.data.own.words import NUMBERINGS

NOT_NAMED = "not named in the table"
"""Why pictures beside a table are left out; the table says what the set is."""
NOT_THERE = "named in the table and not there"
NAMED_AND_NONE = "named in the table and not a picture file"
_RAF = re.compile(r"(?:train|test)_\d{4,5}(?:_aligned)?")
_PREFIX = re.compile(r"(train|test|valid|val|validation)[_-]", re.IGNORECASE)


@dataclass(frozen=True)
class Contents:
    """What a set holds, before its words are understood."""

    layout: str
    """"folders", "csv", "list" or "names"."""
    shown: str
    """The same in words, for what is printed."""
    entries: list[Entry]
    """Its pictures."""
    codes: Mapping[str, str | None] = field(default_factory=dict)
    """What the words of a published set stand for, by plain word."""
    pixels: Mapping[str, bytes] = field(default_factory=dict)
    """Pictures that the table itself holds, by path: 48x48 grey as PGM files."""
    tables: tuple[str, ...] = ()
    """Files that are no pictures and were read for their labels."""


class TableRows:
    """The rows of a set's tables, with each picture once."""

    def __init__(self, store: FileStore, pictures: Sequence[str], *, several: bool) -> None:
        """`pictures` are those of the store; `several` tables may be named after their parts."""
        self._store, self._pictures, self._several = store, pictures, several
        self._listed = Listed(pictures)
        self._entries: dict[str, Entry] = {}
        self._pixels: dict[str, bytes] = {}
        self._names: list[str] = []
        self._columns: Columns | None = None

    def add(self, name: str, columns: Columns) -> None:
        """Take a table's rows in."""
        self._names.append(name)
        self._columns = columns
        where = where_of(self._store, name)
        stem = re.split(r"[_\W]", PurePosixPath(name).stem, maxsplit=1)[0]
        part = SPLIT_WORDS.get(plain_word(stem)) if self._several else None
        with open_table(self._store, name) as stream:
            for row in rows(stream, where, columns):
                self._add_row(row, name, part, where)

    def _add_row(self, row: Row, table: str, part: str | None, where: str) -> None:
        at = f"{where}: line {row.number}"
        part = row.part or part
        if row.pixels:
            path = f"{table}#{row.number}"
            header = f"P5 {SIDE} {SIDE} 255\n".encode()
            self._pixels[path] = header + parse_pixels(row.pixels, at).tobytes()
        else:
            given = checked_path(row.path, at)
            found = self._place(given, str(PurePosixPath(table).parent), at)
            fault = NOT_THERE if found is None else name_fault(found)
            if found is None or fault:
                # The set's own table says that it is a picture of the set.
                reason = NAMED_AND_NONE if fault == NO_PICTURE else str(fault)
                self._store.reject(given, reason)
                return
            path = found
            part = part or folder_part(path)
        before = self._entries.get(path)
        if before is None:
            self._entries[path] = Entry(path, row.word, part)
        elif plain_label(before.word) != plain_label(row.word) or before.part != part:
            differ = (before.word, row.word) if before.word != row.word else (before.part, part)
            raise DataError(
                f"{at}: expected each picture once, {printable(path)[:120]} is there as "
                f"{printable(str(differ[0]))[:40]!r} and as {printable(str(differ[1]))[:40]!r}; "
                "remove one"
            )

    def _place(self, path: str, folder: str, at: str) -> str | None:
        if isinstance(self._store, LooseFiles):
            return self._store.place(path)
        try:
            return self._listed.place(path, folder)
        except DataError as error:
            raise DataError(f"{at}: {error}") from None

    def contents(self) -> Contents:
        """All of them; pictures that no row names are rejected."""
        columns = self._columns
        assert columns is not None
        entries = self._with_prefix(list(self._entries.values()))
        for name in self._pictures:
            if name not in self._entries:
                self._store.reject(name, NOT_NAMED)
        names = " and ".join(map(printable, self._names[:3]))
        if columns.delimiter is None:
            layout, shown = "list", f"the list {names}"
        else:
            layout = "csv"
            used = f", columns {', '.join(map(printable, columns.names))}" if columns.names else ""
            shown = f"the table {names}{used}"
        tables = tuple(self._names)
        return Contents(layout, shown, entries, self._codes(entries), self._pixels, tables)

    def _with_prefix(self, entries: list[Entry]) -> list[Entry]:
        """Entries of a list with the parts that all of their names begin with, as in RAF-DB."""
        matches = [_PREFIX.match(PurePosixPath(entry.path).name) for entry in entries]
        if any(entry.part for entry in entries) or not all(matches):
            return entries
        return [
            Entry(entry.path, entry.word, SPLIT_WORDS[match[1].lower()])
            for entry, match in zip(entries, matches, strict=True)
            if match
        ]

    def _codes(self, entries: Sequence[Entry]) -> Mapping[str, str | None]:
        """The numbers of FER-2013's table, and of RAF-DB's list."""
        if self._pixels:
            return NUMBERINGS["fer2013"]
        return raf_codes([entry.path for entry in entries])


def raf_codes(paths: Sequence[str]) -> Mapping[str, str | None]:
    """RAF-DB's numbers, where all pictures have its names; else none."""
    fits = paths and all(_RAF.fullmatch(PurePosixPath(path).stem) for path in paths)
    return NUMBERINGS["raf-db"] if fits else {}


@contextmanager
def open_table(store: FileStore, name: str) -> Iterator[IO[bytes]]:
    """A table's bytes; inside an archive they are at most as many as a picture's may be.

    Raises:
        ArchiveError, PictureError: it cannot be read.
    """
    if not store.path.is_dir():
        yield io.BytesIO(store.read(name))
        return
    place = store.path / name
    try:
        with open_regular(place) as file:
            yield file
    except OSError as error:
        raise ArchiveError(
            f"{place}: cannot be read ({error.strerror or error}); check its permissions"
        ) from None


def where_of(store: FileStore, name: str) -> str:
    """A table's path for messages."""
    return os.path.join(store.path, name)


def folder_part(path: str) -> str | None:
    """The part that a folder of a path names."""
    words = map(plain_word, PurePosixPath(path).parts[:-1])
    parts = [SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS]
    return parts[-1] if parts else None
