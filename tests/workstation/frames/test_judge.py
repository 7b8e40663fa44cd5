"""Frames with known faces: boxes go where their pictures go, and counting is fair."""

import csv
import io
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeemo.contract.face_rows import FaceRows, Grid
from edgeemo.contract.input_spec import InputSpec
from edgeemo.errors import InvalidInput
from workstation.frames.canvas import Canvas, moved, similarity, warp
from workstation.frames.finder import Finder, with_limits
from workstation.frames.judge import count, iou
from workstation.frames.known import SPLITS, Known, read_known, split_of

SIDE = 48


def disc(size: int = 120, radius: int = 30, at: tuple[int, int] = (60, 60)) -> Known:
    grey = np.zeros((size, size), np.uint8)
    cv2.circle(grey, at, radius, 255, -1)
    side = 2 * radius + 1  # pixels that OpenCV's disc covers, its middle one among them
    left, top = (middle - side / 2 for middle in at)  # where a pixel's number is its middle
    box = np.array([[left, top, side, side]], np.float32)
    return Known("disc", grey, box, np.array([0.9], np.float32))


@given(
    st.floats(-180, 180),
    st.floats(0.4, 2.0),
    st.booleans(),
    st.floats(100, 200),
    st.floats(90, 150),
)
def test_a_box_goes_where_its_disc_goes(
    turn: float, scale: float, flip: bool, x: float, y: float
) -> None:
    """A disc's hull is the same whichever way it is turned: the picture itself is the oracle."""
    known = disc()
    matrix = similarity((60, 60), scale, turn, (x, y), flip)
    drawn = warp(known.grey, matrix, (320, 240))
    box = tuple(float(v) for v in known.boxes[0])
    left, top, width, height = moved((box[0], box[1], box[2], box[3]), matrix)
    rows, columns = np.nonzero(drawn > 127)
    corner = (columns.min() - 0.5, rows.min() - 0.5)
    seen = (*corner, np.ptp(columns) + 1, np.ptp(rows) + 1)
    assert np.allclose(seen, (left, top, width, height), atol=2.5)


def test_counting_is_greedy_and_spares_what_is_unsure() -> None:
    boxes = [(10.0, 10.0, 20.0, 20.0), (60.0, 10.0, 20.0, 20.0), (10.0, 60.0, 20.0, 20.0)]
    frame = Canvas(np.zeros((100, 100), np.uint8), boxes, [True, True, False])
    found = [(11, 11, 20, 20), (10, 60, 20, 20), (80, 80, 10, 10)]
    counted = count(lambda grey: found, [frame])
    assert (counted.hits, counted.false, counted.frames) == ((True, False), 1, 1)
    assert counted.recall == 0.5


def test_iou_of_a_quarter() -> None:
    assert iou((0, 0, 10, 10), (0, 0, 5, 5)) == 0.25
    assert iou((0, 0, 10, 10), (20, 0, 5, 5)) == 0


def archive(path: Path, rows: list[dict[str, str]]) -> Path:
    ok, data = cv2.imencode(".png", np.zeros((30, 30, 3), np.uint8))
    assert ok
    text = io.StringIO()
    writer = csv.DictWriter(text, ["file", "person", "faces"])
    writer.writeheader()
    writer.writerows(rows)
    with zipfile.ZipFile(path, "w") as out:
        for row in rows:
            out.writestr(row["file"], data.tobytes())
        out.writestr("index.csv", text.getvalue())
    return path


def test_a_person_is_in_one_split_and_all_rows_in_one(tmp_path: Path) -> None:
    rows = [
        {"file": f"{i}.png", "person": f"p{i % 40}", "faces": "1,2,10,12,0.8"} for i in range(120)
    ]
    made = archive(tmp_path / "photos.zip", rows)
    splits = {split: {k.name for k in read_known(made, split)} for split in SPLITS}
    assert sum(map(len, splits.values())) == 120
    assert len(set.union(*splits.values())) == 120
    assert len({split_of("photos", row) for row in rows if row["person"] == "p7"}) == 1
    known = read_known(made, "train")[0]
    assert known.boxes.tolist() == [[1, 2, 10, 12]]
    assert known.scores.tolist() == [pytest.approx(0.8)]


@pytest.mark.parametrize("faces", ["1,2,3", "1,2,3,x,0.5", "1,2,nan,4,0.5"])
def test_faces_that_are_none_are_refused(faces: str, tmp_path: Path) -> None:
    made = archive(tmp_path / "photos.zip", [{"file": "a.png", "person": "p", "faces": faces}])
    with pytest.raises(InvalidInput, match=r"photos.zip/a.png: expected"):
        for split in SPLITS:
            read_known(made, split)


def test_limits_are_the_least_that_keep_scenes_clean() -> None:
    """A network that answers the brightness of the frame as its one cell's logit."""
    spec, grids = InputSpec(height=SIDE, width=SIDE), (Grid(SIDE, 1, 1),)

    def rows(pixels: np.ndarray) -> np.ndarray:
        return np.array([[pixels.mean() / 100, 0.4, 0.4, 0.4, 0.4]], np.float32)

    scenes = [
        Known("s", np.full((60, 60), 100, np.uint8), np.zeros((0, 4), np.float32), np.zeros(0))
        for _ in range(3)
    ]
    finder = with_limits(Finder(rows, spec, FaceRows(grids, 0.0, closer_q10=1024), 1.0, 0), scenes)
    assert finder.reading.threshold == pytest.approx(-1.5)  # one candidate a frame is allowed
    assert finder.reading.sure == pytest.approx(1.05)  # 1.0 is what the scenes reach
    assert finder.reading.certain == pytest.approx(1.05)
    assert finder.find(np.full((60, 60), 100, np.uint8)) == []
    assert len(finder.find(np.full((60, 60), 200, np.uint8))) == 1
