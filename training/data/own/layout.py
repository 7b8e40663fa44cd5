"""Which layout a set has, and the pictures and words that it holds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edgeemo.contract.checked.text import printable
from edgeemo.data.file_store import NO_PICTURE, FileStore, name_fault
from edgeemo.errors import ArchiveError, DataError, InvalidInput
from training.data.hidden import look_closer
from training.data.own.folders import Entry, by_folders
from training.data.own.pattern import Pattern, name_set_of
from training.data.own.table_rows import (
    Contents,
    TableRows,
    folder_part,
    open_table,
    raf_codes,
    where_of,
)
from training.data.own.tables import (
    LIST_SUFFIXES,
    MAX_LINE,
    TABLE_SUFFIXES,
    Columns,
    columns_of,
)
from training.data.own.words import Rules

LAYOUTS = ("auto", "folders", "csv", "list", "names")
NO_FOLDER = "in no class folder"
NO_LABEL = "a name without a label"
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
            store.reject(name, NO_PICTURE)
    if not contents.entries:
        look_closer(store)
        raise ArchiveError(
            f"{table or store.path}: expected pictures with labels, received "
            f"{left_out(store) or 'none'}; give the folder that holds class folders, or see "
            "--layout and --pattern"
        )
    # A packed archive is read forwards: in a table's order it would be unpacked for each picture.
    places = {name: place for place, name in enumerate(store.names)}
    contents.entries.sort(key=lambda entry: places.get(entry.path, -1))
    return contents


def left_out(store: FileStore) -> str:
    """How many files are left out, and why, in words; "" for none."""
    counts = list(store.rejected_counts().items())
    return ", ".join(f"{count:,} x {reason}" for reason, count in counts[:3])


def _is_table(name: str) -> bool:
    suffix = PurePosixPath(name).suffix.lower()
    return suffix in TABLE_SUFFIXES | LIST_SUFFIXES and name_fault(name) == NO_PICTURE


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
        return raf_codes(self.pictures)

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
                entries.append(Entry(name, word, folder_part(name)))
            else:
                self.store.reject(name, NO_LABEL)
        return Contents("names", shown, entries, codes) if entries else None

    # --- tables and lists

    def tables(self) -> Contents | None:
        tables = self._tables()
        if not tables:
            return None
        rows = TableRows(self.store, self.pictures, several=len(tables) > 1)
        for name, columns in tables:
            rows.add(name, columns)
        return rows.contents()

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
            with open_table(self.store, name) as stream:
                line = stream.readline(MAX_LINE)
            try:
                columns = columns_of(line, where_of(self.store, name), self.asked.columns)
            except (DataError, InvalidInput):
                if self.table is not None or self.asked.layout != "auto" or self.asked.columns:
                    raise
                continue
            if columns is not None:
                tables.append((name, columns))
        return tables
