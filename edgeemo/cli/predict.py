"""edgeemo predict"""

import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import click

from edgeemo.cli.options import (
    PlainPath,
    artifact_option,
    detector_options,
    isolated_option,
    language_option,
    model_option,
    prior_option,
    view_options,
)
from edgeemo.cli.shell import NumberRange, say
from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.operating_point import Prior
from edgeemo.data.view import View
from edgeemo.errors import MissingFile, PictureError
from edgeemo.results import Box, Face

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgeemo.cli.face_lines import Lines
    from edgeemo.cli.given import Given
    from edgeemo.cli.marked import Outputs
    from edgeemo.cli.progress import Bar
    from edgeemo.recognizer import Recognizer

_CROP = 256  # pixels of a side; a picture up to that may be a face that was cut out
_MANY = 10  # pictures from which on a last line says how many a second it were


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="PICTURE...")
@model_option()
@artifact_option()
@isolated_option()
@prior_option()
@detector_options()
@view_options()
@click.option(
    "--faces", "which", type=click.Choice(["all", "largest"]), default="all", help="Which faces."
)
@click.option(
    "--min-confidence",
    type=NumberRange(0, 1),
    default=0.0,
    show_default=False,
    metavar="SHARE",
    help="Leave out faces whose emotion is less sure than this, such as 0.5.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a picture on stdout.")
@click.option("--csv", "as_csv", is_flag=True, help="One CSV line a face on stdout.")
@click.option(
    "--annotate",
    type=PlainPath(),
    metavar="OUT.png|DIR",
    help="Also write the picture with its faces marked; into a folder where several come.",
)
@click.option(
    "--crops",
    type=PlainPath(),
    metavar="DIR",
    help="Also write what the network saw of each face, in colour, NAME_1.png and on.",
)
@click.option(
    "--workers",
    type=click.IntRange(1, 64),
    default=1,
    help="Pictures at a time, each with a detector and a model of its own.",
)
@language_option()
def predict(
    images: tuple[str, ...],
    model: str,
    artifact: str | None,
    isolated: bool,
    prior: Prior,
    detector: str,
    detector_model: str | None,
    which: str,
    min_confidence: float,
    as_json: bool,
    as_csv: bool,
    annotate: Path | None,
    crops: Path | None,
    workers: int,
    language: str,
    view: View,
) -> None:
    """Find the faces in pictures and name each one's emotion.

    PICTURE is a file, a folder (with all below it), a pattern in quotes, or - for standard input.
    A line's time is that of one face's crop and network, without finding it.

    A picture without a face is no error. A file that is no picture is named on stderr; the others
    are still done, and the exit code is 1. One picture may have 50 million pixels, each of several
    25 million; EDGEEMO_MAX_PIXELS sets another number.

    \b
    edgeemo predict queue.jpg
    edgeemo predict *.jpg --model nano --json
    edgeemo predict visitors/ "day/**/*.png" --csv > faces.csv
    edgeemo predict queue.jpg --annotate marked.png
    edgeemo predict visitors/ --annotate marked/ --crops faces/ --workers 4
    curl -fL https://camera.example/now.jpg | edgeemo predict -
    edgeemo predict face.png --detector whole
    """
    from edgeemo.cli.face_lines import Lines
    from edgeemo.cli.given import pictures_of
    from edgeemo.cli.marked import planned
    from edgeemo.cli.progress import progress
    from edgeemo.cli.workers import in_order
    from edgeemo.data.pictures import MAX_PIXELS, MAX_PIXELS_OF_MANY, pixel_bound

    if as_json and as_csv:
        raise click.UsageError("name either --json or --csv, not both")
    pictures = pictures_of(images, (annotate, crops))
    outputs = planned(pictures, annotate, crops, (model, detector_model), language)
    most = pixel_bound(MAX_PIXELS if pictures.one else MAX_PIXELS_OF_MANY)
    opened = _Model(model, artifact, isolated, prior, detector, detector_model)
    total, form = len(pictures.all), "json" if as_json else "csv" if as_csv else "text"
    with ExitStack() as stack:
        look = _Look(view, most, which == "largest", min_confidence, outputs, SimpleQueue())
        for _ in range(min(workers, total)):
            look.readers.put(reader := stack.enter_context(opened.open()))
        lines = Lines(form, reader.labels, language)
        # Lines on a terminal show by themselves how far it is.
        shown = total > 1 and not (sys.stdout and sys.stdout.isatty())
        bar = stack.enter_context(progress("pictures", total, shown=shown))
        tally = _Tally(lines, bar, crop_hint=detector != "whole")
        lines.begin()
        for looked in in_order(look, pictures.all, workers):
            tally.add(looked)
    for video in pictures.videos:
        say(f"edgeemo: passed over {video}; run: edgeemo watch {shlex.quote(video)}", err=True)
    if total >= _MANY:
        say(f"edgeemo: {tally}", err=True)
    if tally.failed:
        if total > 1:
            say(f"edgeemo: {tally.failed} of {total} pictures could not be read", err=True)
        sys.exit(1)


@dataclass(frozen=True)
class _Model:
    """The recognizer that the command line asks for."""

    model: str
    """Name or path of the bundle."""
    artifact: str | None
    """Model file in it."""
    isolated: bool
    """Whether the network has a process of its own."""
    prior: Prior
    """How frequent each emotion is."""
    detector: str
    """One of DETECTORS."""
    detector_model: str | None
    """The detector's model file."""

    def open(self) -> "Recognizer":
        from edgeemo.faces import open_detector
        from edgeemo.recognizer import Recognizer

        finder = open_detector(self.detector, self.detector_model)
        return Recognizer(
            self.model,
            detector=finder,
            artifact=self.artifact,
            prior=self.prior,
            isolated=self.isolated,
        )


@dataclass(frozen=True)
class _Looked:
    """A picture that was looked at."""

    given: "Given"
    """Which one."""
    faces: Sequence[Face] = ()
    """Its faces that are wanted, largest first."""
    fault: str = ""
    """Why it could not be read; empty where it could."""
    small: bool = False
    """Whether it is as small as one that shows a cropped face."""
    written: Sequence[Path] = ()
    """What was written of it."""


@dataclass(frozen=True)
class _Look:
    """What is done with each picture, on whichever thread."""

    view: View
    """How pictures stand."""
    most: int
    """Pixels that a picture may have."""
    largest: bool
    """Whether the largest face alone counts."""
    min_confidence: float
    """Faces of less are left out."""
    outputs: "Outputs"
    """What is written."""
    readers: "SimpleQueue[Recognizer]"
    """Those that nobody uses now, one a thread."""

    def __call__(self, given: "Given") -> _Looked:
        if given.fault:
            return _Looked(given, fault=given.fault)
        reader = self.readers.get()
        try:
            frame = self.view.turned(_pixels(given.name, self.most))
            faces = reader.classify(frame, self._boxes(reader, frame))
            faces = [face for face in faces if face.confidence >= self.min_confidence]
            small = max(frame.shape) <= _CROP
        except (PictureError, MissingFile) as error:
            return _Looked(given, fault=str(error))
        else:
            written = self.outputs.write(given, frame, faces, reader)
            return _Looked(given, faces, small=small, written=written)
        finally:
            self.readers.put(reader)

    def _boxes(self, reader: "Recognizer", frame: "NDArray[np.uint8]") -> list[Box]:
        boxes = reader.detect(frame, self.view)
        return boxes[:1] if self.largest else boxes


class _Tally:
    """Says what was seen, and counts it."""

    def __init__(self, lines: "Lines", bar: "Bar", *, crop_hint: bool) -> None:
        self._lines, self._bar, self._crop_hint = lines, bar, crop_hint
        self._begin = time.perf_counter()
        self._pictures = self._faces = 0
        self.failed = 0
        """Pictures that could not be read."""

    def add(self, looked: _Looked) -> None:
        self._pictures += 1
        self._faces += len(looked.faces)
        if looked.fault:
            self.failed += 1
            self._bar.say_above(f"edgeemo: {looked.fault}")
        else:
            crop = self._crop_hint and looked.small
            self._lines.picture(looked.given.name, looked.faces, crop=crop)
            self._lines.written(looked.written)
        self._bar.advance()

    def __str__(self) -> str:
        seconds = time.perf_counter() - self._begin
        return (
            f"{count_of(self._pictures, 'picture')} in {seconds:.1f} s "
            f"({self._pictures / seconds:.1f} a second), {count_of(self._faces, 'face')}"
        )


def _pixels(name: str, most: int) -> "NDArray[np.uint8]":
    """uint8 (H, W, 3) RGB of a file, or of what standard input brings."""
    from edgeemo.cli.given import STANDARD_INPUT
    from edgeemo.data.pictures import MAX_BYTES, decode_picture, read_picture

    if name != STANDARD_INPUT:
        return read_picture(name, most)
    if sys.stdin is None or sys.stdin.isatty():
        raise PictureError("standard input: expected a picture, received a terminal; pipe one in")
    data = sys.stdin.buffer.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise PictureError(f"standard input: expected at most {MAX_BYTES:,} bytes; received more")
    return decode_picture(data, "standard input", most)
