"""What runs on a device without OpenCV: predict, watch and annotate, with the same answers."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgeemo.cameras.gstreamer import PROGRAM
from tests import support
from tests.edgeemo.cameras.camera_helpers import red_video

# A face that wanders: the detector looks at every other frame, and between two looks it is
# followed.
PROGRAM_OF_ALL = """
import json, sys
import numpy as np
import edgeemo
from edgeemo.cameras.files import Pictures
from edgeemo.cameras.rpicam import i420_to_rgb
from edgeemo.live.tracking import Tracker

bundle, folder = sys.argv[1:]


class Still:
    name = "still"

    def detect(self, frame_rgb):
        return [edgeemo.Box(40, 30, 60, 60), edgeemo.Box(10, 5, 20, 20)]


with edgeemo.Recognizer(bundle, detector=Still()) as recognizer:
    faces = recognizer.predict(f"{folder}/0.jpg")
camera, tracker = Pictures(folder, fps=10), Tracker()
camera.open()
boxes = []
while (frame := camera.read()) is not None:
    found = Still().detect(frame.pixels)
    tracks = tracker.carried(frame.pixels) if boxes else tracker.detected(found, 0, frame.pixels)
    boxes += [track.box.as_tuple() for track in tracks]
raw = np.random.default_rng(0).integers(0, 256, 128 * 96 * 3 // 2, np.uint8)
print(json.dumps([
    [face.scores for face in faces], boxes, i420_to_rgb(raw, (128, 96)).astype(int).sum(axis=0).tolist(),
    sys.modules.get("cv2") is not None,
]))
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of a scene in which a patch moves by three pixels a picture."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(6)
    scene = np.kron(rng.integers(0, 90, (12, 16, 3), np.uint8), np.ones((10, 10, 1), np.uint8))
    patch = np.kron(rng.integers(90, 255, (6, 6, 3), np.uint8), np.ones((10, 10, 1), np.uint8))
    for number, kind in enumerate(("jpg", "png", "webp", "tiff")):
        frame = scene.copy()
        frame[30 + 2 * number :, 40 + 3 * number :][:60, :60] = patch
        Image.fromarray(frame).save(folder / f"{number}.{kind}", quality=95)
    return folder


def done(*words: object, env: dict[str, str]) -> str:
    ran = subprocess.run(
        [sys.executable, *map(str, words)], capture_output=True, text=True, timeout=120, env=env
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def answers(lines: str) -> list[Any]:
    """What JSON lines say, but for times."""
    timed = {"latency_ms", "time", "monotonic", "fps"}

    def untimed(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: untimed(one) for key, one in value.items() if key not in timed}
        return [untimed(one) for one in value] if isinstance(value, list) else value

    return [untimed(json.loads(line)) for line in lines.splitlines() if line.startswith("{")]


def test_predict_watch_and_annotate_answer_the_same_without_opencv(
    pictures: Path, tmp_path: Path
) -> None:
    with_it = support.without((), tmp_path)
    outputs, marked = [], []
    for env in (with_it, support.without(("cv2",), tmp_path)):
        out = tmp_path / "marked.png"
        common = ("--model", "nano", "--detector", "whole", "--json")
        said = [
            done(
                "-m", "edgeemo", "predict", pictures / "1.png", *common, "--annotate", out, env=env
            )
        ]
        said += [done("-m", "edgeemo", "watch", pictures, "--fps", 10, *common, env=env)]
        outputs.append([answers(one) for one in said])
        marked.append(np.asarray(Image.open(out)))
        out.unlink()
    assert outputs[0] == outputs[1]
    assert [len(one) for one in outputs[0]] == [1, 4]
    assert np.array_equal(*marked)
    assert (marked[0] == (255, 214, 10)).all(axis=2).sum() > 200


def test_faces_are_scored_followed_and_frames_converted_the_same_without_opencv(
    pictures: Path, tmp_path: Path
) -> None:
    program = tmp_path / "all.py"
    program.write_text(PROGRAM_OF_ALL)
    with_it = done("-c", "import cv2\n" + PROGRAM_OF_ALL, "nano", pictures,
                   env=support.without((), tmp_path))  # fmt: skip
    alone = done(program, "nano", pictures, env=support.without(("cv2",), tmp_path))
    *expected, there = json.loads(with_it)
    *got, hidden = json.loads(alone)
    assert (there, hidden) == (True, False)
    assert got == expected
    # The followed face has moved with its patch.
    x, y, width, height = got[1][-2]
    assert abs(x - 49) <= 3
    assert abs(y - 36) <= 3
    assert (width, height) == (60, 60)


@pytest.mark.skipif(shutil.which(PROGRAM) is None, reason=f"needs {PROGRAM}")
def test_a_video_is_watched_without_opencv(tmp_path: Path) -> None:
    video = red_video(tmp_path / "red.avi")
    said = done("-m", "edgeemo", "watch", video, "--json", "--model", "nano",
                "--detector", "whole", env=support.without(("cv2",), tmp_path))  # fmt: skip
    readings = answers(said)
    assert len(readings) == 5
    assert readings[0]["box"] is not None
