"""What `predict` says of each picture: a line a face, JSON or CSV."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from edgeemo.cli.shell import say
from edgeemo.contract.checked import strict
from edgeemo.contract.languages import label_name, phrase
from edgeemo.results import Face, prediction

FORMS = ("text", "json", "csv")


class Lines:
    """Says faces in one form on stdout.

    Args:
        form: one of FORMS.
        labels: the bundle's, for the columns of CSV.
        language: of the text; JSON and CSV have the bundle's labels.
    """

    def __init__(self, form: str, labels: Sequence[str], language: str) -> None:
        self._form, self._labels, self._language = form, labels, language
        names = {label: label_name(label, language, labels) for label in labels}
        self._names = names
        self._width = max(8, *map(len, names.values()))

    def begin(self) -> None:
        """What comes before the first picture: the names of CSV's columns."""
        if self._form == "csv":
            columns = ("image", "face", "x", "y", "width", "height", "emotion", "confidence")
            say(_csv_line([*columns, *(f"score_{label}" for label in self._labels)]))

    def picture(self, image: str, faces: Sequence[Face], *, crop: bool = False) -> None:
        """The faces of one picture; `crop`: it is as small as one that shows a cropped face."""
        if self._form == "json":
            say(strict.dumps_line(prediction(image, faces)))
        elif self._form == "csv":
            self._csv(image, faces)
        else:
            self._text(image, faces, crop)

    def written(self, paths: Sequence[Path]) -> None:
        """What was written of a picture, on stderr where stdout is for machines."""
        for path in paths:
            say(f"wrote {path}", err=self._form != "text")

    def _csv(self, image: str, faces: Sequence[Face]) -> None:
        if not faces:  # the picture has its line, so that none is missed
            say(_csv_line([image, *[""] * (7 + len(self._labels))]))
        for number, face in enumerate(faces, 1):
            numbers = face.to_dict()
            scores = [numbers["scores"][label] for label in self._labels]
            say(
                _csv_line(
                    [image, number, *numbers["box"], face.emotion, numbers["confidence"], *scores]
                )
            )

    def _text(self, image: str, faces: Sequence[Face], crop: bool) -> None:
        if not faces:
            more = (
                "; "
                + phrase("is it a cropped face? Take it whole", self._language)
                + ": --detector whole"
                if crop
                else ""
            )
            say(f"{image}: {phrase('no face found', self._language)}{more}")
        for face in faces:
            x, y, width, height = face.box.as_tuple()
            say(
                f"{image}: {self._names[face.emotion]:<{self._width}} {face.confidence:>4.0%}  "
                f"{phrase('box', self._language)} x {x} y {y} {width}x{height}  "
                f"{phrase('crop and network', self._language)} {face.latency_ms:.2f} ms"
            )


def _csv_line(values: Sequence[object]) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow(values)
    return line.getvalue()
