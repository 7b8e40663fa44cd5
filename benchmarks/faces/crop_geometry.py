"""Where detectors put their boxes on faces framed as FER-2013 frames them, and what crops gain.

python -m benchmarks.faces.crop_geometry prepared/ [--yunet FILE] [--of face]

FER-2013 training faces are enlarged and set into a larger frame; each detector looks for the face,
and the median scale and shift that turn its box back into the original square are printed, in the
crop's Q10. Then the same with validation faces: where eyes and mouth land in the crops, and what
the shipped network makes of crops by several geometries. FER-2013 holds nothing around its faces,
so the frame repeats the pictures' edge pixels (BORDER_REPLICATE): crops that are larger than the
face show streaks there, where a camera would show hair and background.
"""

from dataclasses import dataclass
from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.faces.framed import ENLARGED, Answers, framed, network
from edgeemo.cli.shell import say
from edgeemo.contract.crop import Crop
from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.preprocess import face_to_input
from edgeemo.data.ferplus import ferplus_majority, group_votes
from edgeemo.data.prepared import Prepared, load_prepared
from edgeemo.errors import EdgeemoError
from edgeemo.faces import Detector, crop_of, open_detector
from edgeemo.faces.yunet import find_model
from edgeemo.results import Box

_MARGIN = 96  # pixels
_SIDE = ENLARGED + 2 * _MARGIN
_GUESSED = Crop(scale_q10=1229)  # 20 % more than the box, as people often take
_POINTS = ("right eye", "left eye", "mouth")

Picture = NDArray[np.uint8]


@dataclass(frozen=True)
class Sample:
    """Validation faces in frames."""

    originals: NDArray[np.uint8]
    """(N, H, W, C) pictures as they are."""
    labels: dict[str, NDArray[np.int64]]
    """(N,) positions of the labels by who gave them; -1 unknown."""
    points: NDArray[np.float64]
    """(N, 3, 2) x and y of YuNet's eyes and mouth in the frame; NaN where it finds no face."""
    spec: InputSpec
    """What the network sees of a face."""


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--yunet", type=click.Path(path_type=Path), help="YuNet's ONNX file.")
@click.option("--faces", default=1500, show_default=True, help="How many training faces.")
@click.option(
    "--model", default="small", show_default=True, help="The network that looks at the crops."
)
@click.option(
    "--of",
    multiple=True,
    default=("face", "haar", "yunet"),
    show_default=True,
    help="A detector, or the file of one of ours.",
)
def main(data: Path, yunet: Path | None, faces: int, model: str, of: tuple[str, ...]) -> None:
    """Measure the crop geometry of each detector that opens here, and what it gains."""
    prepared = load_prepared(data)
    rows = np.random.default_rng(0).choice(prepared.indices("train"), faces, replace=False)
    sample, answers = _sample(prepared, yunet), network(model)
    _print_original(sample, model, answers)
    for name in of:
        try:
            detector = (
                open_detector("face", name)
                if name.endswith(".edgeemo")
                else open_detector(name, yunet if name == "yunet" else None)
            )
        except EdgeemoError as error:
            say(f"{name}: left out, {error}")
            continue
        measured = _measure(detector, [prepared.images[row, :, :, 0] for row in rows])
        _gain(detector, measured, sample, answers)


def _measure(detector: Detector, pictures: list[Picture]) -> Crop:
    squares = []
    for picture in pictures:
        boxes = detector.detect(_framed(picture))
        if boxes:
            x, y, width, height = boxes[0].as_tuple()
            centre = _MARGIN + ENLARGED / 2
            shift = (centre - x - width / 2, centre - y - height / 2)
            scale = ENLARGED / max(width, height)
            squares.append((scale, shift[0] / ENLARGED, shift[1] / ENLARGED))
    low, middle, high = np.percentile(np.array(squares), [25, 50, 75], axis=0) * 1024
    say(
        f"{detector.name}: found {len(squares) / len(pictures):.1%} of {len(pictures)} training "
        "faces"
    )
    for what, *values in zip(
        ("scale_q10", "shift_x_q10", "shift_y_q10"), low, middle, high, strict=True
    ):
        say(f"  {what:<12} median {values[1]:7.0f}   quartiles {values[0]:7.0f} {values[2]:7.0f}")
    return Crop(*(round(value) for value in middle))


def _framed(picture: Picture) -> Picture:
    return framed(picture, _MARGIN, _MARGIN, _SIDE, _SIDE)


def _sample(prepared: Prepared, yunet: Path | None) -> Sample:
    rows = prepared.indices("validation")
    originals = np.asarray(prepared.images[rows])
    labels = {"FER-2013": prepared.given_labels[rows]}
    if prepared.votes is not None:
        labels["FER+"] = ferplus_majority(group_votes(prepared)[rows], prepared.class_names)[0]
    return Sample(originals, labels, _points(originals, yunet), prepared.spec)


def _points(originals: NDArray[np.uint8], yunet: Path | None) -> NDArray[np.float64]:
    """(N, 3, 2) x and y of right eye, left eye and the mouth's middle in the frame, by YuNet."""
    points = np.full((len(originals), len(_POINTS), 2), np.nan)
    path, _ = find_model(yunet)
    if path is None:
        return points
    detector = cv2.FaceDetectorYN.create(str(path), "", (_SIDE, _SIDE), 0.7)
    for i, picture in enumerate(originals):
        _, faces = detector.detect(_framed(picture[..., 0]))
        if faces is not None:
            right_eye, left_eye, _nose, *mouth = faces[0][4:14].reshape(5, 2)
            points[i] = right_eye, left_eye, np.mean(mouth, axis=0)
    return points


def _print_original(sample: Sample, model: str, answers: Answers) -> None:
    right = answers(sample.originals)
    accuracy = ", ".join(
        f"{_accuracy(right, labels):.2%} by {name}" for name, labels in sample.labels.items()
    )
    say(
        f"{model} on {len(sample.originals):,} validation faces, original pictures: right "
        f"{accuracy}"
    )
    where = (sample.points - _MARGIN) * sample.spec.width / ENLARGED
    known = np.isfinite(where[:, 0, 0])
    say(
        f"YuNet's landmarks of {known.sum():,} of them, median x and y in pixels of the input: "
        f"{_places(where)}"
    )


def _gain(detector: Detector, measured: Crop, sample: Sample, answers: Answers) -> None:
    """What the network makes of crops by four geometries, on the faces that are found."""
    frames = [_framed(picture[..., 0]) for picture in sample.originals]
    boxes = [next(iter(detector.detect(frame)), None) for frame in frames]
    rows = np.array([i for i, box in enumerate(boxes) if box], np.int64)
    original = answers(sample.originals[rows])
    titles = "".join(f"{name:>10}" for name in sample.labels)
    say(
        f"  {len(rows):,} validation faces found; the network is right, and answers as to the "
        "original picture"
    )
    say(f"  {'crop':<34}{titles}{'as original':>13}   {_POINTS}")
    say(f"  {'original picture':<34}{_row(original, original, sample, rows)}")
    geometries = {
        "raw box": Crop(),
        "shipped": crop_of(detector),
        "measured": measured,
        "guessed, 20 % margin": _GUESSED,
    }
    kept = {}
    for name, crop in geometries.items():
        crops = np.stack(
            [face_to_input(frames[i], _known(boxes[i]), sample.spec, crop) for i in rows]
        )
        got = answers(crops)
        kept[name] = got == original
        regions = [
            crop.region(_known(boxes[i]), sample.spec.height, sample.spec.width) for i in rows
        ]
        squares = np.array([(r.left, r.top, r.width) for r in regions], np.float64)
        where = (
            (sample.points[rows] - squares[:, np.newaxis, :2])
            / squares[:, np.newaxis, 2:]
            * sample.spec.width
        )
        title = f"{name} {crop.scale_q10}, {crop.shift_x_q10}, {crop.shift_y_q10}"
        say(f"  {title:<34}{_row(got, original, sample, rows)}   {_places(where)}")
    for name in ("raw box", "measured", "guessed, 20 % margin"):
        gain, half = _paired(kept["shipped"], kept[name])
        say(f"  shipped agrees {gain:+.2%} (95 % interval +-{half:.2%}) more often than {name}")


def _known(box: Box | None) -> tuple[int, int, int, int]:
    assert box is not None
    return box.as_tuple()


def _row(
    got: NDArray[np.int64], original: NDArray[np.int64], sample: Sample, rows: NDArray[np.int64]
) -> str:
    right = "".join(f"{_accuracy(got, labels[rows]):10.2%}" for labels in sample.labels.values())
    return f"{right}{np.mean(got == original):13.2%}"


def _accuracy(got: NDArray[np.int64], labels: NDArray[np.int64]) -> float:
    known = labels >= 0
    return float(np.mean(got[known] == labels[known]))


def _places(where: NDArray[np.float64]) -> str:
    return "  ".join("{:4.1f} {:4.1f}".format(*point) for point in np.nanmedian(where, axis=0))


def _paired(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> tuple[float, float]:
    """Difference of two shares on the same pictures, and the half-width of its 95 % interval."""
    n, more, less = len(ours), int(np.sum(ours & ~theirs)), int(np.sum(theirs & ~ours))
    return (more - less) / n, 1.96 * float(np.sqrt(more + less - (more - less) ** 2 / n)) / n


if __name__ == "__main__":
    main()
