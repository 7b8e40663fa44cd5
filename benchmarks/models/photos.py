"""A second test set that nothing was chosen on: photos of people in the news and in films.

python -m benchmarks.models.photos photos.zip mini_xception_int8.tflite [BUNDLE...]

The archive holds JPEGs and index.csv with a person (a hash), one worker's word and YuNet's boxes.
People whose SHA-256 is divisible by 3 are kept apart; the others' faces, without their words, may
be learned from. The largest face is cropped as `detector="yunet"` crops it. The words for disgust
are wrong too often to count, and mean recall over the others hangs on the rarest: 18 frightened
faces in all.
"""

import csv
import hashlib
import io
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.models.beside_peer import open_peer
from edgeemo.cli.shell import say
from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import LABELS
from edgeemo.contract.preprocess import face_to_input, is_in_frame
from edgeemo.faces.yunet import YuNet
from edgeemo.models import shipped_models
from edgeemo.proof.evaluation import confusion_matrix, recalls
from edgeemo.recognizer import Recognizer
from workstation.progress import counted

_LEFT_OUT = "disgust"


def is_apart(person: str) -> bool:
    """Whether a person's photos judge, and nothing learns from them."""
    return int(hashlib.sha256(person.encode()).hexdigest(), 16) % 3 == 0


def read_faces(archive: Path, *, apart: bool) -> tuple[NDArray[np.uint8], list[str]]:
    """uint8 (N, 48, 48, 1) faces of the people kept apart, or of the others, and their words."""
    crop = YuNet.crop
    faces, words = [], []
    with zipfile.ZipFile(archive) as photos:
        rows = list(csv.DictReader(io.TextIOWrapper(photos.open("index.csv"), "utf-8")))
        for row in counted(rows, archive.name, "photos"):
            if is_apart(row["person"]) != apart or not row["faces"].strip():
                continue
            boxes: list[list[float]] = [
                [float(side) for side in face.split(",")[:4]] for face in row["faces"].split()
            ]
            largest = max(boxes, key=lambda box: box[2] * box[3])
            x, y, width, height = (round(side) for side in largest)
            data = np.frombuffer(photos.read(row["file"]), np.uint8)
            frame = cv2.cvtColor(
                np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8), cv2.COLOR_BGR2RGB
            )
            frame = np.asarray(frame, np.uint8)
            box = (x, y, width, height)
            if is_in_frame(frame, box, DEFAULT_SPEC, crop):
                faces.append(face_to_input(frame, box, DEFAULT_SPEC, crop))
                words.append(row["emotion"])
    return np.stack(faces), words


@click.command()
@click.argument("archive", type=click.Path(path_type=Path))
@click.argument("peer", type=click.Path(path_type=Path))
@click.argument("bundles", nargs=-1)
def main(archive: Path, peer: Path, bundles: tuple[str, ...]) -> None:
    """Measure BUNDLES, by default all that ship, and PEER on the people kept apart."""
    faces, words = read_faces(archive, apart=True)
    judged = [word in LABELS and word != _LEFT_OUT for word in words]
    faces = faces[judged]
    labels = np.array([LABELS.index(w) for w, j in zip(words, judged, strict=True) if j])
    counts = Counter(LABELS[i] for i in labels)
    say(", ".join(f"{count:,} {word}" for word, count in counts.most_common()))
    say(*_heading())
    for name in bundles or shipped_models():
        with Recognizer(name, detector="whole") as recognizer:
            say(_line(name, recognizer.infer(faces).argmax(axis=1), labels))
    say(_line(peer.name, open_peer(peer, faces, LABELS)[1], labels))


def _heading() -> Iterator[str]:
    shown = [label for label in LABELS if label != _LEFT_OUT]
    yield f"| int8 | top-1 | mean recall | {' | '.join(shown)} |"
    yield "|---|---|---|" + "---|" * len(shown)


def _line(name: str, answers: NDArray[np.int64], labels: NDArray[np.int64]) -> str:
    confusion = confusion_matrix(labels, answers, len(LABELS))
    shares = [r for label, r in zip(LABELS, recalls(confusion), strict=True) if label != _LEFT_OUT]
    cells = [np.trace(confusion) / confusion.sum(), np.nanmean(shares), *shares]
    return f"| `{name}` | {' | '.join(f'{100 * cell:.1f}' for cell in cells)} |"


if __name__ == "__main__":
    main()
