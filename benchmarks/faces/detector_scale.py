"""How small a face may be in a detector's input, and what the input's size costs.

The rule of edgeemo/faces/scaling.py.

python -m benchmarks.faces.detector_scale prepared/ --yunet FILE
--video ../shared/media/test.mp4 --photo ../shared/media/solvay_conference.jpg

FER-2013 validation faces are set 192 pixels wide at drawn places of 576x576 frames, and the frames
scaled down until the face has the given side, which is about that of the detector's box. Around a
face lie its edge pixels, repeated, and then, as FER-2013 cuts so tightly that there is no head
around a face, the heads of two photos. Then the video and the photo at several scales, the time by
size of the input, and the rule at work. Times hold for the machine that is printed.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click
import cv2
import numpy as np
import skimage
from numpy.typing import NDArray

from benchmarks.faces.framed import (
    ENLARGED,
    Answers,
    as_square,
    framed,
    in_head,
    network,
    overlap,
)
from edgeemo.cli.bench import machine
from edgeemo.cli.shell import say
from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.preprocess import face_to_input, to_grey
from edgeemo.data.pictures import read_picture
from edgeemo.data.prepared import load_prepared
from edgeemo.errors import EdgeemoError
from edgeemo.faces import Detector, crop_of, open_detector
from edgeemo.faces.scaling import shrink_fast
from edgeemo.results import Box

SIDES = (10, 16, 20, 24, 28, 32, 36, 40, 48, 56, 64, 80, 96, 128, 160)  # pixels of a face
INPUTS = (96, 128, 160, 213, 240, 320, 427, 480, 640)  # widths of inputs of 4:3, in pixels
SHARES = (None, 1 / 12, 1 / 10, 1 / 8, 1 / 7, 1 / 6, 1 / 5, 1 / 4, 1 / 3)
_FRAME = 3 * ENLARGED
_FOUND = 0.4  # intersection over union from which a box is the face's
_OF_BEST = 0.95

Frame = NDArray[np.uint8]


Heads = list[tuple[Frame, Box]]
"""Grey photos, and where the head is in them."""


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--yunet", type=click.Path(path_type=Path), help="YuNet's ONNX file.")
@click.option("--video", type=click.Path(path_type=Path, exists=True), help="A video of one face.")
@click.option(
    "--photo", type=click.Path(path_type=Path, exists=True), help="A photo of many faces."
)
@click.option(
    "--head",
    "heads",
    type=click.Path(path_type=Path, exists=True),
    multiple=True,
    help="A photo of one head, beside scikit-image's astronaut.",
)
@click.option(
    "--model", default="small", show_default=True, help="The network whose answers are compared."
)
@click.option("--faces", default=300, show_default=True, help="How many validation faces.")
def main(
    data: Path,
    yunet: Path | None,
    video: Path | None,
    photo: Path | None,
    heads: tuple[Path, ...],
    model: str,
    faces: int,
) -> None:
    """Measure the detectors that open here."""
    say(f"{machine()}; OpenCV {cv2.__version__}, {cv2.getNumThreads()} threads")
    prepared = load_prepared(data)
    rng = np.random.default_rng(0)
    rows = rng.choice(prepared.indices("validation"), faces, replace=False)
    places = rng.integers(0, _FRAME - ENLARGED + 1, (faces, 2))
    pictures = [prepared.images[row, :, :, 0] for row in rows]
    bodies = [
        read_picture(path)
        for path in (Path(skimage.__file__).parent / "data" / "astronaut.png", *heads)
    ]
    frames = _video_frames(video) if video else []
    answers = network(model)
    for name in ("yunet", "haar"):
        try:
            detector = open_detector(name, yunet)
        except EdgeemoError as error:
            say(f"{name}: left out, {error}")
            continue
        where = [as_square(detector.detect(body)[0], crop_of(detector)) for body in bodies]
        greys = [to_grey(body) for body in bodies]

        around = list(zip(greys, where, strict=True))

        def with_head(i: int, left: int, top: int, around: Heads = around) -> Frame:
            grey, face = around[i % len(around)]
            return in_head(pictures[i], grey, face, left, top, _FRAME, _FRAME)

        def alone(i: int, left: int, top: int) -> Frame:
            return framed(pictures[i], left, top, _FRAME, _FRAME)

        faces_in = Faces(pictures, places, prepared.spec, answers)
        _faces_by_side(detector, "edge pixels repeated", alone, faces_in)
        _faces_by_side(detector, f"in {len(bodies)} heads", with_head, faces_in)
        if photo:
            _photo_by_scale(detector, read_picture(photo))
        if frames:
            _video_by_scale(detector, frames)
            _time_by_input(detector, frames[0])
            _rule(name, yunet, frames)


@dataclass(frozen=True)
class Faces:
    """Validation faces, and where they are put into frames."""

    pictures: list[Frame]
    """uint8 (48, 48) each."""
    places: NDArray[np.int64]
    """(N, 2): left and top in the frame, pixels."""
    spec: InputSpec
    """What the network sees of a face."""
    answers: Answers
    """The network."""


def _faces_by_side(
    detector: Detector,
    around: str,
    frame_of: Callable[[int, int, int], Frame],
    faces: Faces,
) -> None:
    """Recall on FER-2013's faces, where the crop lies, and what the network answers to it.

    By the face's side in the input.
    """
    pictures, places, spec, answers = faces.pictures, faces.places, faces.spec, faces.answers
    originals = answers(np.stack(pictures)[..., np.newaxis])
    say(
        f"\n{detector.name}, {len(pictures)} FER-2013 validation faces, {around}, by the face's "
        "side in the input"
    )
    say("side px  found   overlap of crop and face   answer of the original kept")
    recalls = {}
    for side in SIDES:
        overlaps, kept = [], []
        for i, (left, top) in enumerate(places):
            frame = frame_of(i, int(left), int(top))
            best, box = _best(
                _detect_scaled(detector, frame, side / ENLARGED),
                Box(int(left), int(top), ENLARGED, ENLARGED),
                detector,
            )
            if best >= _FOUND and box:
                overlaps.append(best)
                crop = face_to_input(frame, box.as_tuple(), spec, crop_of(detector))
                kept.append(answers(crop[np.newaxis])[0] == originals[i])
        recalls[side] = len(overlaps) / len(pictures)
        if overlaps:
            say(
                f"{side:7} {recalls[side]:6.1%} {statistics.median(overlaps):25.2f} "
                f"{np.mean(kept):28.1%}"
            )
        else:
            say(f"{side:7} {0:6.1%}")
    say(_enough(recalls))


def _enough(recalls: dict[int, float]) -> str:
    """The side from which on the recall stays at 95 % of the best or above."""
    best = max(recalls.values())
    short = [side for side, recall in recalls.items() if recall < _OF_BEST * best]
    enough = min(side for side in recalls if side > max(short, default=0))
    return f"{_OF_BEST:.0%} of the best recall ({best:.1%}) from {enough} pixels on"


def _best(boxes: Sequence[Box], truth: Box, detector: Detector) -> tuple[float, Box | None]:
    """The box whose crop overlaps the face best, and how much."""
    crops = [(overlap(as_square(box, crop_of(detector)), truth), box) for box in boxes]
    return max(crops, key=lambda pair: pair[0], default=(0.0, None))


def _detect_scaled(detector: Detector, frame: Frame, scale: float) -> list[Box]:
    """Boxes, in the frame's pixels, of the detector on the frame scaled down."""
    height, width = frame.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = shrink_fast(cv2, frame, size)
    across, down = width / size[0], height / size[1]
    return [
        Box(
            round(b.x * across),
            round(b.y * down),
            max(1, round(b.width * across)),
            max(1, round(b.height * down)),
        )
        for b in detector.detect(small)
    ]


def _photo_by_scale(detector: Detector, photo: Frame) -> None:
    """How many of the faces that are found at full scale are found in smaller inputs."""
    reference = detector.detect(photo)
    side = statistics.median(max(box.width, box.height) for box in reference)
    say(
        f"\n{detector.name}, photo {photo.shape[1]}x{photo.shape[0]}: {len(reference)} faces, "
        f"median side {side:g} pixels"
    )
    for scaled in (s for s in SIDES if s < side):
        boxes = _detect_scaled(detector, photo, scaled / side)
        again = sum(any(overlap(box, truth) >= _FOUND for box in boxes) for truth in reference)
        say(f"{scaled:7} {again:3} of them, {len(boxes) - again} others")


def _video_by_scale(detector: Detector, frames: list[Frame]) -> None:
    """In how many frames the face is found in smaller inputs.

    And how much its box then overlaps that of the full frame.
    """
    reference = [detector.detect(frame) for frame in frames]
    side = statistics.median(max(boxes[0].width, boxes[0].height) for boxes in reference if boxes)
    say(
        f"\n{detector.name}, video {frames[0].shape[1]}x{frames[0].shape[0]}: face in "
        f"{sum(map(bool, reference))} of {len(frames)} frames, "
        f"median side {side:g} pixels"
    )
    recalls = {}
    for scaled in (s for s in SIDES if s < side):
        boxes_of = [_detect_scaled(detector, frame, scaled / side) for frame in frames]
        recalls[scaled] = sum(map(bool, boxes_of)) / len(frames)
        say(f"{scaled:7} {_agreement(boxes_of, reference)}")
    say(_enough(recalls))


def _agreement(boxes_of: list[list[Box]], reference: list[list[Box]]) -> str:
    pairs = [overlap(a[0], b[0]) for a, b in zip(boxes_of, reference, strict=True) if a and b]
    return (
        f"found in {sum(map(bool, boxes_of)):3}, more than one in "
        f"{sum(len(boxes) > 1 for boxes in boxes_of)}, "
        + (f"overlap with full scale {statistics.median(pairs):.2f}" if pairs else "none")
    )


def _time_by_input(detector: Detector, frame: Frame) -> None:
    say(
        f"\n{detector.name}, processor time of one thread by size of the input (a frame of the "
        "video in it)"
    )
    for width in INPUTS:
        small = np.asarray(
            cv2.resize(frame, (width, width * 3 // 4), interpolation=cv2.INTER_AREA), np.uint8
        )
        p50, p95 = _milliseconds(lambda small=small: detector.detect(small))  # type: ignore[misc]
        say(f"{width:4}x{width * 3 // 4:<4} p50 {p50:6.2f} ms  p95 {p95:6.2f} ms")


def _rule(name: str, yunet: Path | None, frames: list[Frame]) -> None:
    """The rule at work: the video, and the time of a 640x480 frame."""
    full = open_detector(name, yunet)
    reference = [full.detect(frame) for frame in frames]
    vga = np.asarray(cv2.resize(frames[0], (640, 480), interpolation=cv2.INTER_AREA), np.uint8)
    say(
        f"\n{full.name}, smallest_face: processor time of one thread for a 640x480 frame; the video"
    )
    for share in SHARES:
        detector = open_detector(name, yunet, smallest_face=share)
        size = detector.scaling.size(640, 480)  # type: ignore[attr-defined]
        p50, p95 = _milliseconds(partial(detector.detect, vga))
        boxes = [detector.detect(frame) for frame in frames]
        title = "None" if share is None else f"1/{1 / share:g}"
        say(
            f"{title:>5} {size[0]:4}x{size[1]:<4} p50 {p50:6.2f} ms  p95 {p95:6.2f} ms   "
            f"{_agreement(boxes, reference)}"
        )


def _milliseconds(call: Callable[[], object], seconds: float = 1.5) -> tuple[float, float]:
    """Median and 95th percentile of the call's processor time on one thread.

    A busy machine disturbs that least.
    """
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 20:
        start = time.process_time()
        call()
        times.append(1000 * (time.process_time() - start))
    cv2.setNumThreads(threads)
    median, late = np.percentile(times, [50, 95])
    return float(median), float(late)


def _video_frames(path: Path) -> list[Frame]:
    def read() -> Iterator[Frame]:
        capture = cv2.VideoCapture(str(path))
        while True:
            there, bgr = capture.read()
            if not there:
                capture.release()
                return
            yield np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)

    return list(read())


if __name__ == "__main__":
    main()
