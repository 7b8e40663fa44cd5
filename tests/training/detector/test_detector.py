"""Training a face detector: frames and targets fit, a stopped run goes on, and a network that finds
too little is refused by export."""

import csv
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.support import REPOSITORY
from training.detector.fit import KINDS
from training.detector.made import Maker
from training.detector.targets import FACE, IGNORED, targets
from workstation.frames.canvas import Canvas
from workstation.frames.known import Known


def drawn(number: int, side: int = 64) -> tuple[np.ndarray, str]:
    """A drawn head that fills its picture, and its faces as an index has them."""
    rng = np.random.default_rng(number)
    picture = np.full((side, side, 3), rng.integers(0, 80), np.uint8)
    cv2.ellipse(picture, (32, 32), (24, 30), 0, 0, 360, (200, 180, 170), -1)
    for x in (22, 42):
        cv2.circle(picture, (x, 24), 4, (20, 20, 20), -1)
    cv2.ellipse(picture, (32, 46), (10, 4), 0, 0, 180, (60, 20, 20), 2)
    return picture, "8,2,48,60,0.9"


def archive(path: Path, count: int, *, empty: bool) -> Path:
    text = io.StringIO()
    writer = csv.DictWriter(text, ["file", "person", "faces"])
    writer.writeheader()
    with zipfile.ZipFile(path, "w") as out:
        for i in range(count):
            picture, faces = drawn(i)
            if empty:
                picture, faces = np.random.default_rng(i).integers(0, 255, (48, 64, 3)), ""
            out.writestr(f"{i}.png", cv2.imencode(".png", picture)[1].tobytes())
            writer.writerow({"file": f"{i}.png", "person": f"p{i}", "faces": faces})
        out.writestr("index.csv", text.getvalue())
    return path


def known(count: int, *, empty: bool) -> list[Known]:
    if empty:
        noise = [np.random.default_rng(i).integers(0, 255, (48, 64)) for i in range(count)]
        return [
            Known("n", n.astype(np.uint8), np.zeros((0, 4), np.float32), np.zeros(0)) for n in noise
        ]
    greys = [np.ascontiguousarray(drawn(i)[0][..., 0]) for i in range(count)]
    box, score = np.array([[8, 2, 48, 60]], np.float32), np.array([0.9], np.float32)
    return [Known("d", grey, box, score) for grey in greys]


def test_a_frame_is_the_same_each_time_and_its_faces_lie_in_it() -> None:
    maker = Maker(known(5, empty=False), known(5, empty=True), (128, 96), 18)
    faces = 0
    for number in range(40):
        one, two = maker.make(7, number), maker.make(7, number)
        assert np.array_equal(one.grey, two.grey)
        assert one.boxes == two.boxes
        assert one.grey.shape == (96, 128)
        middles = [(x + w / 2, y + h / 2) for x, y, w, h in one.boxes]
        faces += sum(0 <= x < 128 and 0 <= y < 96 for x, y in middles)
    assert faces > 20


def test_a_cell_inside_says_where_the_edges_are() -> None:
    kind = KINDS["face-nano"]
    canvas = Canvas(np.zeros((96, 128), np.uint8), [(40, 30, 32, 36)], [True])
    grids = [(g.stride, g.rows, g.columns) for g in kind.grids]
    rows = targets(canvas, grids, list(kind.reach), 15)
    fine = rows[: 12 * 16].reshape(12, 16, 5)
    states = {tuple(map(int, place)) for place in np.argwhere(fine[..., 0] == FACE)}
    assert (5, 6) in states  # its middle is at 52, 44; the box's at 56, 48
    assert fine[5, 6, 1:].tolist() == [
        (52 - 40) / 8, (44 - 30) / 8, (72 - 52) / 8, (66 - 44) / 8
    ]  # fmt: skip
    assert fine[4, 8, 0] in (IGNORED, FACE)
    assert fine[0, 0, 0] == 0


def run(words: list[str]) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {"KERAS_BACKEND": "tensorflow", "PYTHONPATH": str(REPOSITORY)}
    return subprocess.run(
        [sys.executable, "-m", *words], capture_output=True, text=True, env=environment, check=False
    )


@pytest.mark.slow
def test_a_stopped_run_goes_on_and_export_refuses_what_finds_little(tmp_path: Path) -> None:
    photos = archive(tmp_path / "photos.zip", 60, empty=False)
    scenes = archive(tmp_path / "scenes.zip", 30, empty=True)
    given = ["--photos", str(photos), "--scenes", str(scenes)]
    out = tmp_path / "run"
    train = ["training", "detector", "face-nano", *given, "--out", str(out), "--steps", "2"]
    done = run([*train, "--epochs", "2"])
    assert done.returncode == 0, done.stderr
    record = json.loads((out / "detector.json").read_text())
    assert record["name"] == "face-nano"
    assert record["recipe"]["seed"] == 1
    done = run(["export", "detector", str(out), *given, "--out", str(tmp_path / "x.edgeemo")])
    assert done.returncode == 1
    assert "are asked for" in done.stderr
    assert not (tmp_path / "x.edgeemo").exists()
