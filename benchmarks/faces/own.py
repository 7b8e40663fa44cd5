"""Our face detector beside YuNet and Haar: what they find, what a look takes, and what it does to
emotions.

    python -m benchmarks.faces.own --photos photos.zip --scenes scenes.zip --yunet FILE

Pictures are those of the test split, which no detector of ours learned from or was chosen on.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edgeemo.cli.processor import processor_name
from edgeemo.cli.shell import say
from edgeemo.data.pictures import decode_picture
from edgeemo.faces import Detector, crop_of, open_detector
from edgeemo.recognizer import Recognizer
from edgeemo.results import Box
from workstation.frames.canvas import Canvas
from workstation.frames.judge import frames_to_judge, judge
from workstation.frames.known import read_known, rows_of_split
from workstation.frames.table import recall_table

_SIZES = ((320, 240), (640, 480), (1280, 720))
_ROUNDS = 25  # frames of a kind
_TIMED = (
    "photos as they are",
    "1/6 of the side",
    "1/4 of the side",
    "1/2 of the side",
    "scenes without a face",
)
_LEFT_OUT = ("disgust", "?", "contempt")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=Path, required=True)
    parser.add_argument("--scenes", type=Path, required=True)
    parser.add_argument("--yunet", type=Path, required=True)
    parser.add_argument("--model", default="small")
    parser.add_argument("--most", type=int, default=300, help="frames of a kind")
    given = parser.parse_args()
    cv2.setNumThreads(1)
    detectors = {
        "face": open_detector("face"),
        "yunet": open_detector("yunet", given.yunet),
        "haar": open_detector("haar"),
    }
    frames = frames_to_judge(
        read_known(given.photos, "test"), read_known(given.scenes, "test"), 1 / 10, given.most
    )
    _times(detectors, frames)
    _emotions(detectors, given.photos, given.model)
    for name, detector in detectors.items():
        say(name)
        for line in recall_table(judge(_find(detector), frames)):
            say(line)


def _find(detector: Detector) -> Callable[[NDArray[np.uint8]], list[tuple[int, int, int, int]]]:
    def find(grey: NDArray[np.uint8]) -> list[tuple[int, int, int, int]]:
        rgb = np.ascontiguousarray(np.repeat(grey[..., np.newaxis], 3, axis=2))
        return [box.as_tuple() for box in detector.detect(rgb)]

    return find


def _times(detectors: dict[str, Detector], frames: dict[str, list[Canvas]]) -> None:
    """Processor time of a frame, one thread, in turns; and the median of its ratios to YuNet's."""
    say(f"{processor_name()}; ms of processor time a frame, one thread, median (of YuNet's time)")
    for width, height in _SIZES:
        every: dict[str, list[float]] = {name: [] for name in detectors}
        for kind in _TIMED:
            taken: dict[str, list[float]] = {name: [] for name in detectors}
            for canvas in frames[kind][:_ROUNDS]:
                shown = cv2.resize(canvas.grey, (width, height), interpolation=cv2.INTER_AREA)
                frame = cv2.cvtColor(shown, cv2.COLOR_GRAY2RGB)
                for name, detector in detectors.items():
                    start = time.process_time()
                    detector.detect(np.asarray(frame, np.uint8))
                    taken[name].append(1000 * (time.process_time() - start))
            say(f"{width}x{height} {kind:24} {_in_words(taken)}")
            for name, times in taken.items():
                every[name] += times
        say(f"{width}x{height} {'all':24} {_in_words(every)}")


def _in_words(taken: dict[str, list[float]]) -> str:
    return ", ".join(
        f"{name} {statistics.median(times):.2f} "
        f"({statistics.median(a / b for a, b in zip(times, taken['yunet'], strict=True)):.2f})"
        for name, times in taken.items()
    )


def _emotions(detectors: dict[str, Detector], photos: Path, model: str) -> None:
    """Answers on the photos' words by the boxes of each detector, the largest box of each photo."""
    rows = [row for row in rows_of_split(photos, "test") if row[0]["emotion"] not in _LEFT_OUT]
    say(f"{model} on {len(rows)} photos, mean recall and share right by the boxes of")
    with Recognizer(model, detector="whole") as recognizer:
        for name in ("index", *detectors):
            right: dict[str, list[bool]] = {}
            missed = 0
            for row, data in rows:
                frame = decode_picture(data, row["file"])
                box = _index_box(row) if name == "index" else _largest(detectors[name], frame)
                missed += box is None
                recognizer.crop = crop_of(detectors.get(name, detectors["yunet"]))
                said = recognizer.classify(frame, [box])[0].emotion if box else ""
                right.setdefault(row["emotion"], []).append(said == row["emotion"])
            every = [hit for hits in right.values() for hit in hits]
            recall = np.mean([np.mean(hits) for hits in right.values()])
            say(f"{name:10} {recall:.1%}  {np.mean(every):.1%}  {missed} without a face")


def _index_box(row: dict[str, Any]) -> Box | None:
    faces = row["faces"].split()
    if not faces:
        return None
    x, y, width, height = (round(float(v)) for v in faces[0].split(",")[:4])
    return Box(x, y, width, height)


def _largest(detector: Detector, frame: NDArray[np.uint8]) -> Box | None:
    return next(iter(detector.detect(frame)), None)


if __name__ == "__main__":
    main()
