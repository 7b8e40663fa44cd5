"""Which layout a set has, and the pictures and words that it holds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edgeemo.contract.checked.text import printable
from edgeemo.data.file_store import NO_PICTURE, FileStore, name_fault
from edgeemo.errors import ArchiveError, DataError, EdgeemoError, InvalidInput
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
    TABLE_SUFFIXES,
    Columns,
    columns_of,
    first_line,
)
from training.data.own.words import Rules, shown

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

    def __post_init__(self) -> None:
        """Raises InvalidInput where one of them is of another layout than is asked for."""
        if self.columns and (self.pattern or self.layout not in ("auto", "csv")):
            other = "--pattern" if self.pattern else f"--layout {self.layout}"
            raise InvalidInput(f"--columns is for tables, {other} is not; leave one of the two out")
        if self.pattern and self.layout not in ("auto", "names"):
            raise InvalidInput(
                f"--pattern is for names, --layout {self.layout} is not; leave one of the two out"
            )


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
        first = (
            f" (the first is '{printable(store.rejected[0]['path'])[:120]}')"
            if store.rejected
            else ""
        )
        raise ArchiveError(
            f"{table or store.path}: expected pictures with labels, received "
            f"{left_out(store) or 'none'}{first}; give the folder that holds class folders, or see "
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


class _NoTable(DataError):
    """A first line that is none of a table of pictures; there may be another one."""


class _Reading:
    """One set on its way to its contents."""

    def __init__(
        self, store: FileStore, table: Path | None, asked: Asked, rules: Rules, pictures: list[str]
    ) -> None:
        self.store, self.table, self.asked, self.rules = store, table, asked, rules
        self.pictures = pictures
        self.faults: list[str] = []

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
        contents = self.names() or self.tables()
        if contents is None and len(words) < 2 and self.faults:
            raise ArchiveError(
                f"{self.store.path}: expected class folders or a table of labels, received "
                f"{f'one folder ({shown(list(words))})' if words else 'no folders'} and a table "
                f"that cannot be read: {self.faults[0]}"
            )
        return contents or self.folders()

    def _raise(self, layout: str) -> Contents:
        raise self._no_layout(layout)

    def _no_layout(self, layout: str) -> EdgeemoError:
        if self.faults:
            return DataError(self.faults[0])
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
            told, label = f"names like {printable(pattern.text)}", pattern.label
        else:
            known = name_set_of(self.pictures)
            if known is None:
                return None
            told, codes, label = f"names as in {known.name}", known.codes, known.label
        entries = []
        for name in self.pictures:
            if word := label(name):
                entries.append(Entry(name, word, folder_part(name)))
            else:
                self.store.reject(name, NO_LABEL)
        return Contents("names", told, entries, codes) if entries else None

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
            columns = self._columns(name)
            if columns is not None:
                tables.append((name, columns))
        return tables

    def _columns(self, name: str) -> Columns | None:
        """Of a table; None where it is none, and nobody says that it is one."""
        with open_table(self.store, name) as stream:
            number, line = first_line(stream)
        where = where_of(self.store, name)
        try:
            columns = columns_of(line, where, self.asked.columns, number=number)
            if columns is None and line:
                text = printable(line.decode("utf-8-sig", errors="replace").strip())[:200]
                raise _NoTable(
                    f"{where}: expected columns of a path (or pixels) and of a label, or lines of "
                    f"a path and a label, received '{text}'; name them with --columns"
                )
        except (DataError, InvalidInput) as error:
            is_asked = self.asked.layout != "auto" or bool(self.asked.columns)
            if self.table is not None or (is_asked and not isinstance(error, _NoTable)):
                raise
            if is_asked or PurePosixPath(name).suffix.lower() != ".txt":  # often a note
                self.faults.append(str(error))
            return None
        return columns
