"""What spoiled pictures cost: each model, and a peer, on the same faces as a camera may give them.

python -m benchmarks.models.robustness prepared/ mini_xception_int8.tflite [BUNDLE...]

Faces of the test split on which more than half of FER+'s taggers agree (all of them, where no votes
are known), each spoiled alike for every model, drawn from --seed. Corruptions follow ImageNet-C
(Hendrycks and Dietterich 2019) where it has them, at one strength that still lets a person name the
expression; glasses, masks, roll and boxes that are off are what a kiosk's camera and detector add.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.faces.framed import ENLARGED, framed
from benchmarks.models.beside_peer import open_peer
from edgeemo.cli.shell import say
from edgeemo.contract.checked import strict
from edgeemo.contract.checked.files import written_beside
from edgeemo.contract.checked.outputs import check_output
from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.preprocess import face_to_input
from edgeemo.data.ferplus import ferplus_majority, group_votes
from edgeemo.data.prepared import load_prepared, prepared_files
from edgeemo.faces import Detector, crop_of, open_detector
from edgeemo.models import shipped_models
from edgeemo.proof.evaluation import confusion_matrix, recalls
from edgeemo.recognizer import Recognizer, load_bundle
from workstation.progress import counted

Picture = NDArray[np.uint8]
Corruption = Callable[[Picture, np.random.Generator], Picture]
SHEET = 12  # faces that --sheet shows
_FRAME = 320  # pixels; the side of a frame that a detector looks for a face in


def _warped(picture: Picture, matrix: NDArray[np.float64]) -> Picture:
    height, width = picture.shape
    return np.asarray(
        cv2.warpAffine(picture, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE),
        np.uint8,
    )


def _lit(gain: float, lift: float) -> Corruption:
    def change(picture: Picture, _: np.random.Generator) -> Picture:
        changed = (picture.astype(np.float32) - 128) * gain + 128 + lift
        return np.asarray(np.clip(changed, 0, 255), np.uint8)

    return change


def _noise(picture: Picture, rng: np.random.Generator) -> Picture:
    return np.clip(picture + rng.normal(0, 20, picture.shape), 0, 255).astype(np.uint8)


def _jpeg(picture: Picture, _: np.random.Generator) -> Picture:
    data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 15])[1]
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_GRAYSCALE), np.uint8)


def _blur(picture: Picture, _: np.random.Generator) -> Picture:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), 1.5), np.uint8)


def _small(side: int) -> Corruption:
    def change(picture: Picture, _: np.random.Generator) -> Picture:
        reduced = cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA)
        full = cv2.resize(reduced, picture.shape[::-1], interpolation=cv2.INTER_LINEAR)
        return np.asarray(full, np.uint8)

    return change


def _roll(picture: Picture, rng: np.random.Generator) -> Picture:
    height, width = picture.shape
    centre = ((width - 1) / 2, (height - 1) / 2)
    return _warped(picture, cv2.getRotationMatrix2D(centre, 20 * rng.choice((-1, 1)), 1.0))


def _jitter(picture: Picture, rng: np.random.Generator) -> Picture:
    """A box moved by up to a tenth of its side and larger or smaller by as much."""
    side = np.array(picture.shape[::-1], np.float64)
    zoom, shift = 1 + rng.uniform(-0.1, 0.1), rng.uniform(-0.1, 0.1, 2) * side
    centre = (side - 1) / 2
    matrix = np.hstack([zoom * np.eye(2), (centre * (1 - zoom) + shift)[:, np.newaxis]])
    return _warped(picture, matrix)


@cache
def _detector() -> Detector:
    return open_detector("face")


def _found(picture: Picture, rng: np.random.Generator) -> Picture:
    """What the default detector's box cuts out of a frame around the face.

    FER-2013 holds nothing around its faces, so about a quarter is not found: those get `_jitter`.
    """
    left, top = (int(place) for place in rng.integers(0, _FRAME - ENLARGED, 2))
    frame = framed(picture, left, top, _FRAME, _FRAME)
    boxes = _detector().detect(frame)
    if not boxes:
        return _jitter(picture, rng)
    height, width = picture.shape
    spec = replace(DEFAULT_SPEC, height=height, width=width)
    return face_to_input(frame, boxes[0].as_tuple(), spec, crop_of(_detector()))[..., 0]


def _glasses(fill: bool) -> Corruption:
    """Frames around where the eyes of an upright face are, or dark lenses."""

    def change(picture: Picture, _: np.random.Generator) -> Picture:
        out, (height, width) = picture.copy(), picture.shape
        y, line = round(0.38 * height), -1 if fill else max(1, height // 32)
        for x in (0.3, 0.7):
            centre, axes = (round(x * width), y), (round(0.15 * width), round(0.1 * height))
            cv2.ellipse(out, centre, axes, 0, 0, 360, 25, line, cv2.LINE_AA)
        bridge = (round(0.45 * width), y), (round(0.55 * width), y)
        cv2.line(out, *bridge, 25, max(1, height // 32), cv2.LINE_AA)
        return out

    return change


def _mask(picture: Picture, _: np.random.Generator) -> Picture:
    """A light surgical mask from the middle of the nose to under the chin."""
    out, (height, width) = picture.copy(), picture.shape
    corners = [(0.12, 0.58), (0.5, 0.5), (0.88, 0.58), (0.8, 0.9), (0.5, 0.99), (0.2, 0.9)]
    points = np.array([(round(x * width), round(y * height)) for x, y in corners], np.int32)
    cv2.fillConvexPoly(out, points, 205, cv2.LINE_AA)
    return out


CORRUPTIONS: dict[str, Corruption] = {
    "as it is": lambda picture, _: picture,
    "dark (-80)": _lit(1, -80),
    "bright (+80)": _lit(1, 80),
    "contrast x 0.4": _lit(0.4, 0),
    "noise, sigma 20": _noise,
    "JPEG, quality 15": _jpeg,
    "blur, sigma 1.5": _blur,
    "32 pixels": _small(32),
    "24 pixels": _small(24),
    "roll of 20 degrees": _roll,
    "box off by a tenth": _jitter,
    "box of the detector": _found,
    "glasses": _glasses(False),
    "dark glasses": _glasses(True),
    "mask": _mask,
}


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.argument("peer", type=click.Path(path_type=Path))
@click.argument("bundles", nargs=-1)
@click.option("--seed", default=1, show_default=True, help="Of what is drawn.")
@click.option("--split", default="test", show_default=True, help="Which pictures.")
@click.option(
    "--sheet", type=click.Path(path_type=Path), help="Draw some spoiled faces here (PNG)."
)
@click.option("--json", "json_path", type=click.Path(path_type=Path), help="Also write it here.")
def main(
    data: Path,
    peer: Path,
    bundles: tuple[str, ...],
    seed: int,
    split: str,
    sheet: Path | None,
    json_path: Path | None,
) -> None:
    """Measure BUNDLES, by default all that ship, and PEER."""
    for out in filter(None, (sheet, json_path)):
        check_output(out, (*prepared_files(data), peer, *bundles))
    names = bundles or tuple(shipped_models())
    first = load_bundle(names[0])
    prepared = load_prepared(data, first.spec, first.labels)
    rows, labels = prepared.indices(split), prepared.labels[prepared.indices(split)]
    if prepared.votes is not None:
        labels, known = ferplus_majority(group_votes(prepared)[rows], prepared.class_names)
        rows, labels = rows[known], labels[known]
    faces = np.asarray(prepared.images[rows])[..., 0]
    if sheet:
        cv2.imwrite(str(sheet), _sheet(faces[:SHEET], seed))
    table: dict[str, dict[str, tuple[float, float]]] = {}
    for what, spoil in CORRUPTIONS.items():
        spoiled = _spoiled(faces, spoil, what, seed)[..., np.newaxis]
        table[what] = {name: _shares(_answers(name, spoiled), labels) for name in names}
        answers = open_peer(peer, spoiled, prepared.class_names)[1]
        table[what][peer.name] = _shares(answers, labels)
    say(*_lines(table, len(labels)))
    if json_path:
        with written_beside(json_path) as part:
            part.write_text(strict.dumps({"n": len(labels), "seed": seed, "table": table}))


def _spoiled(faces: Picture, spoil: Corruption, what: str, seed: int) -> Picture:
    rng = np.random.default_rng(seed)
    return np.stack([spoil(face, rng) for face in counted(faces, what, "faces")])


def _answers(name: str, pictures: Picture) -> NDArray[np.int64]:
    with Recognizer(name, detector="whole") as recognizer:
        return np.asarray(recognizer.infer(pictures).argmax(axis=1))


def _shares(answers: NDArray[np.int64], labels: NDArray[np.int64]) -> tuple[float, float]:
    """Top-1 and mean recall, 0..1."""
    confusion = confusion_matrix(labels, answers, int(max(labels.max(), answers.max())) + 1)
    return float(np.trace(confusion) / confusion.sum()), float(np.nanmean(recalls(confusion)))


def _lines(table: dict[str, dict[str, tuple[float, float]]], n: int) -> Iterator[str]:
    """Markdown: top-1 / mean recall in per cent, and at the end the mean over all corruptions."""
    names = list(table["as it is"])
    yield (
        f"| n = {n:,}, top-1 / mean recall, % | " + " | ".join(f"`{name}`" for name in names) + " |"
    )
    yield "|---|" + "---|" * len(names)
    spoiled = [row for what, row in table.items() if what != "as it is"]
    mean = {name: tuple(np.mean([row[name] for row in spoiled], axis=0).tolist()) for name in names}
    for what, row in [*table.items(), ("mean of the spoiled", mean)]:
        cells = (f"{100 * row[name][0]:.1f} / {100 * row[name][1]:.1f}" for name in names)
        yield f"| {what} | {' | '.join(cells)} |"


def _sheet(faces: Picture, seed: int) -> Picture:
    """A row a corruption."""
    rows = [
        np.hstack(list(_spoiled(faces, spoil, what, seed))) for what, spoil in CORRUPTIONS.items()
    ]
    return np.vstack(rows)


if __name__ == "__main__":
    main()
