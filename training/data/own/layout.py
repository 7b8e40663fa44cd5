"""Which layout a set has, and the pictures and words that it holds."""

import io
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO

from edgeemo.contract.checked.reading import open_regular
from edgeemo.contract.checked.text import printable
from edgeemo.contract.label_words import plain_label
from edgeemo.data.file_store import FileStore, name_fault
from edgeemo.data.labelled import SPLIT_WORDS, plain_word
from edgeemo.errors import ArchiveError, DataError, InvalidInput
from training.data.competition import SIDE, parse_pixels
from training.data.own.folders import Entry, by_folders
from training.data.own.pattern import Pattern, name_set_of
from training.data.own.places import Listed, LooseFiles, checked_path
from training.data.own.tables import (
    LIST_SUFFIXES,
    MAX_LINE,
    TABLE_SUFFIXES,
    Columns,
    Row,
    columns_of,
    rows,
)
from training.data.own.words import NUMBERINGS, Rules

LAYOUTS = ("auto", "folders", "csv", "list", "names")
NOT_NAMED = "not named in the table"
"""Why pictures beside a table are left out; the table says what the set is."""
NO_FOLDER = "in no class folder"
NO_LABEL = "a name without a label"
NOT_THERE = "named in the table and not there"
_RAF = re.compile(r"(?:train|test)_\d{4,5}(?:_aligned)?")
_PREFIX = re.compile(r"(train|test|valid|val|validation)[_-]", re.IGNORECASE)
_MAX_TABLES = 16


@dataclass(frozen=True)
class Asked:
    """What a command line says of the layout."""

    layout: str = "auto"
    """One of LAYOUTS."""
    columns: tuple[str, ...] = ()
    """Names of a table's columns of paths, labels and, perhaps, parts."""
    pattern: Pattern | None = None
    """Of names with the label in them."""


@dataclass(frozen=True)
class Contents:
    """What a set holds, before its words are understood."""

    layout: str
    """One of LAYOUTS but auto."""
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


def read_contents(store: FileStore, table: Path | None, asked: Asked, rules: Rules) -> Contents:
    """Find a set's layout, unless it is asked for, and its pictures; the others are noted as
    rejected.

    Args:
        store: its files.
        table: the table or list, where that is what was given.
        asked: the layout and its details.
        rules: what tells words that are known from others.

    Raises:
        ArchiveError, DataError, InvalidInput: a layout or a table that does not fit.
    """
    pictures: list[str] = []
    for name in store.names:
        fault = name_fault(name)
        if fault is None:
            pictures.append(name)
        elif not _is_table(name):
            store.reject(name, fault)
    reading = _Reading(store, table, asked, rules, pictures)
    contents = reading.auto() if asked.layout == "auto" else reading.asked_layout()
    for name in store.names:
        if _is_table(name) and name not in contents.tables:
            store.reject(name, "not a picture file")
    if not contents.entries:
        raise ArchiveError(
            f"{table or store.path}: expected pictures with labels, received "
            f"{left_out(store) or 'none'}; give the folder that holds class folders, or see "
            "--layout and --pattern"
        )
    return contents


def left_out(store: FileStore) -> str:
    """How many files are left out, and why, in words; "" for none."""
    counts = list(store.rejected_counts().items())
    return ", ".join(f"{count:,} x {reason}" for reason, count in counts[:3])


def _is_table(name: str) -> bool:
    suffix = PurePosixPath(name).suffix.lower()
    return suffix in TABLE_SUFFIXES | LIST_SUFFIXES and name_fault(name) == "not a picture file"


class _Reading:
    """One set on its way to its contents."""

    def __init__(
        self, store: FileStore, table: Path | None, asked: Asked, rules: Rules, pictures: list[str]
    ) -> None:
        self.store, self.table, self.asked, self.rules = store, table, asked, rules
        self.pictures = pictures

    def asked_layout(self) -> Contents:
        """What is asked for."""
        layout = self.asked.layout
        if self.table is not None and layout in ("folders", "names"):
            raise InvalidInput(
                f"{self.table}: expected a folder or archive for --layout {layout}, received a "
                "table; leave --layout out"
            )
        ways: dict[str, Callable[[], Contents | None]] = {
            "folders": self.folders,
            "names": self.names,
            "csv": self.tables,
            "list": self.tables,
        }
        contents = ways[layout]()
        if contents is None:
            raise self._no_layout(layout)
        return contents

    def auto(self) -> Contents:
        """A published list; class folders whose words are known; names; a table; class folders."""
        if self.table is not None or self.asked.columns:
            return self.tables() or self._raise("csv")
        if self.asked.pattern:
            return self.names() or self._raise("names")
        if any(PurePosixPath(name).name == "list_patition_label.txt" for name in self.store.names):
            return self.tables() or self._raise("list")
        codes = self._codes()
        words = {entry.word for entry in self._by_folders(codes)}
        if words and all(self.rules.label(word, codes).known for word in words):
            return self.folders()
        return self.names() or self.tables() or self.folders()

    def _raise(self, layout: str) -> Contents:
        raise self._no_layout(layout)

    def _no_layout(self, layout: str) -> ArchiveError:
        expected = {
            "names": "names of files with the label in them, as JAFFE, KDEF and RaFD have them or "
            "as --pattern says",
            "csv": "a table (.csv, .tsv) with a column of paths (or pixels) and one of labels, "
            "which --columns can name",
            "list": "a list (.txt) with a path and a label in each line",
            "folders": "class folders",
        }[layout]
        return ArchiveError(
            f"{self.table or self.store.path}: expected {expected}, received none; correct that "
            "or choose another --layout"
        )

    # --- folders

    def folders(self) -> Contents:
        codes = self._codes()
        entries = self._by_folders(codes)
        inside = {entry.path for entry in entries}
        for name in self.pictures:
            if name not in inside:
                self.store.reject(name, NO_FOLDER)
        return Contents("folders", "class folders", entries, codes)

    def _by_folders(self, codes: Mapping[str, str | None]) -> list[Entry]:
        return by_folders(self.pictures, lambda word: self.rules.label(word, codes).known)

    def _codes(self) -> Mapping[str, str | None]:
        """RAF-DB's numbers, where all pictures have its names."""
        stems = (PurePosixPath(name).stem for name in self.pictures)
        fits = self.pictures and all(map(_RAF.fullmatch, stems))
        return NUMBERINGS["raf-db"] if fits else {}

    # --- names

    def names(self) -> Contents | None:
        pattern = self.asked.pattern
        codes: Mapping[str, str | None] = {}
        if pattern is not None:
            shown, label = f"names like {printable(pattern.text)}", pattern.label
        else:
            known = name_set_of(self.pictures)
            if known is None:
                return None
            shown, codes, label = f"names as in {known.name}", known.codes, known.label
        entries = []
        for name in self.pictures:
            if word := label(name):
                entries.append(Entry(name, word, _folder_part(name)))
            else:
                self.store.reject(name, NO_LABEL)
        return Contents("names", shown, entries, codes) if entries else None

    # --- tables and lists

    def tables(self) -> Contents | None:
        tables = self._tables()
        if not tables:
            return None
        result = _Rows(self, several=len(tables) > 1)
        for name, columns in tables:
            result.add(name, columns)
        return result.contents()

    def _tables(self) -> list[tuple[str, Columns]]:
        """Tables that can be read as one, of the folder nearest to the top."""
        if self.table is not None:
            names = [self.table.name]
        else:
            wanted = TABLE_SUFFIXES if self.asked.layout == "csv" else LIST_SUFFIXES
            if self.asked.layout == "auto":
                wanted = TABLE_SUFFIXES | LIST_SUFFIXES
            names = [n for n in self.store.names if PurePosixPath(n).suffix.lower() in wanted]
            lists = [n for n in names if PurePosixPath(n).name == "list_patition_label.txt"]
            names = sorted(lists or names, key=lambda name: (name.count("/"), name))
        tables: list[tuple[str, Columns]] = []
        for name in names[:_MAX_TABLES]:
            if tables and name.count("/") > tables[0][0].count("/"):
                break
            with self.open(name) as stream:
                line = stream.readline(MAX_LINE)
            try:
                columns = columns_of(line, self.where(name), self.asked.columns)
            except (DataError, InvalidInput):
                if self.table is not None or self.asked.layout != "auto" or self.asked.columns:
                    raise
                continue
            if columns is not None:
                tables.append((name, columns))
        return tables

    @contextmanager
    def open(self, name: str) -> Iterator[IO[bytes]]:
        """A table's bytes; those of an archive are at most as many as a picture's may be."""
        place = self.store.path / name
        if self.store.path.is_dir():
            try:
                with open_regular(place) as file:
                    yield file
            except OSError as error:
                raise ArchiveError(
                    f"{place}: cannot be read ({error.strerror or error}); check its permissions"
                ) from None
        else:
            yield io.BytesIO(self.store.read(name))

    def where(self, name: str) -> str:
        """A table's path for messages."""
        return os.path.join(self.store.path, name)


class _Rows:
    """The rows of a set's tables, with each picture once."""

    def __init__(self, reading: _Reading, *, several: bool) -> None:
        self._reading, self._several = reading, several
        self._listed = Listed(reading.pictures)
        self._entries: dict[str, Entry] = {}
        self._pixels: dict[str, bytes] = {}
        self._names: list[str] = []
        self._columns: Columns | None = None

    def add(self, name: str, columns: Columns) -> None:
        """Take a table's rows in."""
        self._names.append(name)
        self._columns = columns
        where = self._reading.where(name)
        stem = re.split(r"[_\W]", PurePosixPath(name).stem, maxsplit=1)[0]
        part = SPLIT_WORDS.get(plain_word(stem)) if self._several else None
        with self._reading.open(name) as stream:
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
            if found is None:
                self._reading.store.reject(given, NOT_THERE)
                return
            path = found
            part = part or _folder_part(path)
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
        store = self._reading.store
        if isinstance(store, LooseFiles):
            return store.place(path)
        try:
            return self._listed.place(path, folder)
        except DataError as error:
            raise DataError(f"{at}: {error}") from None

    def contents(self) -> Contents:
        """All of them; pictures that no row names are rejected."""
        columns = self._columns
        assert columns is not None
        entries = self._with_prefix(list(self._entries.values()))
        for name in self._reading.pictures:
            if name not in self._entries:
                self._reading.store.reject(name, NOT_NAMED)
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
        stems = (PurePosixPath(entry.path).stem for entry in entries)
        return NUMBERINGS["raf-db"] if all(map(_RAF.fullmatch, stems)) else {}


def _folder_part(path: str) -> str | None:
    words = map(plain_word, PurePosixPath(path).parts[:-1])
    parts = [SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS]
    return parts[-1] if parts else None
