"""TensorBoard's event files of a run, written without TensorFlow: RUN/tensorboard."""

import os
import socket
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeemo.errors import StorageError
from edgeemo.optional import need

FOLDER = "tensorboard"
# TensorBoard's name of each figure of an epoch. The rate is the one that the next step would take.
TAGS = {
    "loss": "loss/training",
    "validation_loss": "loss/validation",
    "validation_top1": "validation/top1",
    "validation_macro_f1": "validation/macro_f1",
    "learning_rate": "learning_rate",
    "seconds": "seconds_per_epoch",
}


class Events:
    """Appends a run's figures to event files. A resumed run goes on in a file of its own, which
    TensorBoard joins.

    Raises:
        MissingDependency: tensorboard is not installed.
        StorageError: (by each method) the file system refuses.
    """

    def __init__(self, run: Path) -> None:
        need("tensorboard", "train", "to write event files")
        # Not its EventFileWriter, which imports TensorFlow wherever that is installed.
        self._records = need(
            "tensorboard.summary.writer.record_writer", "train", "to write event files"
        )
        self._event = need("tensorboard.compat.proto.event_pb2", "train", "to write event files")
        self._summary = need(
            "tensorboard.compat.proto.summary_pb2", "train", "to write event files"
        ).Summary
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}.{os.getpid()}"
        self._file = run / FOLDER / name

    def begin(self, history: Sequence[dict[str, Any]]) -> None:
        """Start after the epochs of `history`, which are written too where no event file is
        there.
        """
        known = any(self._file.parent.glob("*tfevents*"))
        self._write(file_version="brain.Event:2")
        if known:  # what an interrupted epoch may have left behind counts no more
            started = self._event.SessionLog(status=self._event.SessionLog.START)
            self._write(step=len(history) + 1, session_log=started)
        for row in history if not known else ():
            self.epoch(row)

    def epoch(self, row: dict[str, Any]) -> None:
        """Write a row of history.csv, with or without its `learning_rate`, at the step that is the
        epoch's number.
        """
        figures = [
            self._summary.Value(tag=tag, simple_value=row[name])
            for name, tag in TAGS.items()
            if name in row
        ]
        self._write(step=row["epoch"], summary=self._summary(value=figures))

    def picture(self, tag: str, path: Path, step: int) -> None:
        """Write a PNG file."""
        data = path.read_bytes()
        width, height = struct.unpack(">II", data[16:24])  # of its IHDR, which comes first
        image = self._summary.Image(
            width=width, height=height, colorspace=4, encoded_image_string=data
        )
        self._write(
            step=step, summary=self._summary(value=[self._summary.Value(tag=tag, image=image)])
        )

    def _write(self, **what: Any) -> None:
        event = self._event.Event(wall_time=time.time(), **what)
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("ab") as file:
                self._records.RecordWriter(file).write(event.SerializeToString())
        except OSError as error:
            raise StorageError(
                f"{self._file}: cannot be written ({error.strerror}); free some space, or resume "
                "without --tensorboard"
            ) from error
