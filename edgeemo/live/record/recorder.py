"""Readings on the disk, a line each: appended, locked, synced, rotated; and never in the way of who
watches.
"""

import contextlib
import logging
import os
import queue
import re
import threading
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from edgeemo.contract.checked.files import sync_folder
from edgeemo.errors import InvalidInput
from edgeemo.live.record.file import RecordFile, move_to_free, numbered, open_record

SYNC_EVERY = 0.5
"""Seconds after which a line that was written is asked to be on the disk."""
RETRY_EVERY = 1.0
"""Seconds after a failed write until the next line is tried."""
_WAITING = 4096  # lines that may wait for a slow disk; later ones are lost
_PATIENCE = 5.0  # seconds that closing waits for them

log = logging.getLogger("edgeemo.live.record.recorder")


@dataclass(frozen=True)
class Rotation:
    """When a recording goes on in a new file; NAME.jsonl becomes NAME.000001.jsonl, and so on.

    Raises:
        InvalidInput: no rule, two, or impossible numbers.
    """

    max_bytes: int | None = None
    """A file grows no larger than this, at least 1,024, while its folder lets it be numbered."""
    daily: bool = False
    """A file holds lines of one day, by the local clock."""
    keep: int | None = None
    """So many full files stay, at least 1; older ones are removed, and never what holds something
    else than readings. None: all stay."""

    def __post_init__(self) -> None:
        if (self.max_bytes is None) == (not self.daily):
            raise InvalidInput("expected a rotation by size or daily, received none or both")
        if self.max_bytes is not None and self.max_bytes < 1024:
            raise InvalidInput(f"expected files of 1,024 bytes or more, received {self.max_bytes}")
        if self.keep is not None and self.keep < 1:
            raise InvalidInput(f"expected to keep 1 file or more, received {self.keep}")


@dataclass(frozen=True)
class Recorded:
    """What became of the lines."""

    lines: int = 0
    """Lines that were written."""
    lost: int = 0
    """Lines that could not be: a full disk, no reader of a pipe, a disk that hangs, a folder that
    is gone."""
    rotations: int = 0
    """Files that were closed and numbered."""


class Recorder:
    """Appends lines to a file, a pipe or a device, on a thread of its own.

    A line is one write, so that a killed process leaves whole lines. A regular file is locked while
    it is recorded, asked onto the disk within a second, and followed when another program has moved
    it away, or its folder; what was last written to a file that nothing leads to counts as lost. A
    last line that a crash has torn is completed or removed at the next start, and that is logged.
    `write` neither raises nor waits: what the file system refuses is counted and logged
    once, and tried again a second later. Links lead to what is written, and stay.

    Raises:
        StorageError: a folder, a socket or a disk; a file that is recorded already, or that holds
            something else than readings; a parent folder that is not there; no permission.
        InvalidInput: a rotation of what is no regular file.
    """

    def __init__(self, path: str | os.PathLike[str], rotation: Rotation | None = None) -> None:
        self.path = Path(path)
        self._rotation = rotation
        self._recorded, self._counting = Recorded(), threading.Lock()
        self._lines: queue.Queue[bytes | None] = queue.Queue(_WAITING)
        self._closed = False
        self._failing = False
        self._retry_at = self._sync_at = 0.0
        self._dirty = False
        self._unsettled = 0  # lines since the file was last seen in its place
        self._rotate_at = 0.0
        self._overdue = False  # a rotation was refused
        self._file: RecordFile | None = self._open()
        self._thread = threading.Thread(target=self._run, name="edgeemo-recorder", daemon=True)
        self._thread.start()

    @property
    def recorded(self) -> Recorded:
        """What became of the lines so far."""
        return self._recorded

    def write(self, line: str) -> None:
        """Record `line`, the JSON of a reading without a line break. Never waits for the disk.

        A file with other lines would be refused when it is opened again.

        Raises InvalidInput for a line break or after `close`.
        """
        if self._closed or "\n" in line:
            raise InvalidInput(
                "expected one line for an open recording, received "
                + ("one for a closed one" if self._closed else "a line break")
            )
        try:
            self._lines.put_nowait(line.encode() + b"\n")
        except queue.Full:
            self._fail("the disk or the reader is too slow")

    def close(self) -> None:
        """Write and sync what is left; a disk that hangs is waited for five seconds. Again: nothing
        happens.
        """
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=_PATIENCE)
        self._thread.join(_PATIENCE)
        if self._thread.is_alive():
            self._count(lost=self._lines.qsize())
            log.warning("%s: does not take its last lines; they are lost", self.path)

    def __enter__(self) -> "Recorder":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self) -> RecordFile:
        file = open_record(self.path)
        if self._rotation and not file.regular:
            file.close()
            raise InvalidInput(
                f"{self.path}: only a regular file can be rotated; leave the rotation out"
            )
        return file

    def _run(self) -> None:
        while (line := self._next()) is not None:
            if line:
                self._record(line)
            if self._dirty and time.monotonic() >= self._sync_at:
                self._settle()
        self._settle()
        if self._file:
            self._file.close()

    def _next(self) -> bytes | None:
        """The next line; b"" when it is time to sync; None at the end."""
        wait = max(0.0, self._sync_at - time.monotonic()) if self._dirty else None
        try:
            return self._lines.get(timeout=wait)
        except queue.Empty:
            return b""

    def _record(self, line: bytes) -> None:
        if self._failing and time.monotonic() < self._retry_at:
            self._count(lost=1)
            return
        try:
            self._file = self._file or self._open()
            if self._rotation and self._is_due(self._rotation, self._file, len(line)):
                self._file = self._rotated(self._rotation, self._file)
            self._file.append(line)
        except (OSError, InvalidInput) as error:
            self._fail(_reason(error))
            return
        self._count(lines=1)
        self._unsettled += 1
        self._retry_at = 0.0
        if not self._dirty:
            self._dirty, self._sync_at = True, time.monotonic() + SYNC_EVERY

    def _settle(self) -> None:
        """Have what was written on the disk, and follow a file that was moved away."""
        self._dirty = False
        if not self._file:
            return
        try:
            self._file.sync()
            if self._file.was_moved():
                self._leave(self._file)
                self._file = self._open()
        except (OSError, InvalidInput) as error:
            self._fail(_reason(error), lost=0)
            return
        if self._failing and self._unsettled:
            self._failing = False
            log.warning("%s: recording again; %d lines lost", self.path, self._recorded.lost)
        self._unsettled = 0

    def _leave(self, moved: RecordFile) -> None:
        """Close a file that does not lie in its place any more."""
        if moved.is_lost():
            self._count(lines=-self._unsettled, lost=self._unsettled)
        self._unsettled = 0
        self._file = None
        moved.close()

    def _is_due(self, rotation: Rotation, file: RecordFile, more: int) -> bool:
        """Whether a line of `more` bytes belongs into a new file, which may be tried now."""
        size = file.size()
        if not size or time.monotonic() < self._rotate_at:
            return False
        if rotation.max_bytes is not None:
            return size + more > rotation.max_bytes
        return self._overdue or date.today() > file.day

    def _rotated(self, rotation: Rotation, full: RecordFile) -> RecordFile:
        """The file in which the recording goes on: a new one, or `full` where the folder refuses
        that.
        """
        full.sync()
        if full.was_moved():
            self._leave(full)
            return self._open()
        try:
            new = _renewed(full)
        except OSError as error:
            self._rotate_at = time.monotonic() + RETRY_EVERY
            if not self._overdue:
                self._overdue = True
                log.warning(
                    "%s: cannot be rotated (%s); it grows meanwhile", self.path, _reason(error)
                )
            return full
        self._overdue = False
        full.close()
        self._count(rotations=1)
        _remove_old(rotation, full.path)
        return new

    def _fail(self, reason: str, lost: int = 1) -> None:
        self._count(lost=lost)
        self._retry_at = time.monotonic() + RETRY_EVERY
        if not self._failing:
            self._failing = True
            log.warning("%s: cannot be recorded (%s); watching goes on", self.path, reason)

    def _count(self, lines: int = 0, lost: int = 0, rotations: int = 0) -> None:
        with self._counting:
            now = self._recorded
            self._recorded = Recorded(now.lines + lines, now.lost + lost, now.rotations + rotations)


def _renewed(full: RecordFile) -> RecordFile:
    """A new file in the place of `full`, which gets a number. Raises OSError, and all is as it was
    unless somebody else has taken the place.
    """
    target = full.number()
    try:
        return open_record(full.path)
    except OSError:
        move_to_free(target, full.path)
        raise


def _remove_old(rotation: Rotation, path: Path) -> None:
    try:
        for old in numbered(path)[: -rotation.keep] if rotation.keep else []:
            old.unlink(missing_ok=True)
        sync_folder(path.parent)
    except OSError as error:
        log.warning("%s: its old files cannot be removed (%s)", path, _reason(error))


def _reason(error: Exception) -> str:
    """Why, without the path and what to do, which a command line would need."""
    refused = re.search(r"cannot be [a-z ]+\((.*)\); ", str(error))
    return refused[1] if refused else getattr(error, "strerror", None) or str(error)
