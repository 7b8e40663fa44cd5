"""A camera and a detector of another package, installed beside edgeemo, on the command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edgeemo import Recognizer
from tests.support import REPOSITORY

CODE = '''
import os

import numpy as np
from edgeemo.cameras import CameraOptions, Frame
from edgeemo.contract.crop import Crop
from edgeemo.faces import DetectorOptions
from edgeemo.results import Box


def picture(number):
    return np.random.default_rng(number).integers(0, 255, (96, 96, 3), dtype=np.uint8)


class Noise:
    """As many noisy frames as the word says; live or not, nothing of edgeemo's is inherited."""

    live = False

    def __init__(self, argument: str, options: CameraOptions) -> None:
        self.name, self.count, self.fps = f"noise:{argument}", int(argument), options.fps

    def open(self):
        self.next = 0

    def read(self):
        if self.next == self.count:
            return None
        self.next += 1
        return Frame(picture(self.next - 1), (self.next - 1) / self.fps)

    def close(self):
        pass


class Centre:
    """The whole frame is the box; its own crop, half as large, is the face."""

    name = "centre"
    crop = Crop(scale_q10=512)

    def __init__(self, options: DetectorOptions) -> None:
        assert 0 < options.smallest_face < 1  # what --smallest-face says reaches it

    def detect(self, frame_rgb):
        height, width = frame_rgb.shape[:2]
        return [Box(0, 0, width, height)]


class Confused(Centre):
    """Fails in the second look of three, and where it is told to in each."""

    name, looks = "confused", 0

    def detect(self, frame_rgb):
        self.looks += 1
        if self.looks == 2 or "ALL_FAIL" in os.environ:
            raise ZeroDivisionError("nothing to divide")
        return super().detect(frame_rgb)


class Deaf:
    def __init__(self, argument, options):
        self.name, self.live = "deaf", True
'''
ENTRY_POINTS = """
[edgeemo.cameras]
noise = outside_package:Noise
deaf = outside_package:Deaf
broken = outside_package:NothingThere
gst = outside_package:Noise

[edgeemo.detectors]
centre = outside_package:Centre
confused = outside_package:Confused
"""


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder on the path with an installed distribution of one module and its entry points."""
    (tmp_path / "outside_package.py").write_text(CODE)
    about = tmp_path / "outside_package-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: outside-package\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
    return tmp_path


def watch(outside: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(outside), str(REPOSITORY)])
    return subprocess.run(
        [sys.executable, "-m", "edgeemo", "watch", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200", **environment},
    )


def test_camera_and_detector_of_another_package_work_with_a_shipped_bundle(outside: Path) -> None:
    done = watch(
        outside, "--camera", "noise:3", "--detector", "centre", "--json", "--smoothing", "off"
    )
    assert done.returncode == 0, done.stderr
    readings = [json.loads(line) for line in done.stdout.splitlines()]
    assert [reading["time"] for reading in readings] == pytest.approx([0, 1 / 30, 2 / 30], abs=1e-4)
    assert [reading["box"] for reading in readings] == [[0, 0, 96, 96]] * 3
    with Recognizer("small", detector="whole") as recognizer:
        for number, reading in enumerate(readings):
            frame = np.random.default_rng(number).integers(0, 255, (96, 96, 3), dtype=np.uint8)
            # What the detector's own crop cuts out of its box: the inner half, pixel by pixel.
            (face,) = recognizer.predict(np.ascontiguousarray(frame[24:72, 24:72]))
            assert reading["scores"] == pytest.approx(face.scores, abs=2e-6)
            (other,) = recognizer.predict(frame)
            assert reading["scores"] != pytest.approx(other.scores, abs=2e-6)


def test_frames_of_a_file_that_fail_are_skipped_counted_and_exit_code_1(outside: Path) -> None:
    arguments = ("--camera", "noise:3", "--detector", "confused", "--json")
    done = watch(outside, *arguments)
    assert done.returncode == 1
    assert [json.loads(line)["frame"] for line in done.stdout.splitlines()] == [0, 2]
    warning, summary, last = done.stderr.splitlines()
    assert warning == (
        "edgeemo: frame 1 fails, it is skipped (ZeroDivisionError: nothing to divide)"
    )
    assert summary.startswith("edgeemo: looked at 3 of 3 frames")
    assert summary.endswith("2 faces, 1 failed")
    assert last.startswith("edgeemo: 1 of 3 frames could not be read")
    done = watch(outside, *arguments, ALL_FAIL="1")
    assert (done.returncode, done.stdout) == (1, "")
    assert "nothing to divide" in done.stderr.splitlines()[-1]


def test_help_lists_cameras_and_detectors_of_other_packages(outside: Path) -> None:
    help_text = " ".join(watch(outside, "--help").stdout.split())
    assert "noise or noise:…, or the path of a video" in help_text
    assert "centre|confused]" in help_text


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("broken:1", "the camera broken of the package outside-package cannot be imported"),
        ("deaf", "the camera deaf: expected an object with name, live, open, read and close"),
        ("gst:", "gst:: expected a pipeline"),  # nobody takes our names
    ],
)
def test_camera_that_does_not_work_is_one_line(outside: Path, word: str, message: str) -> None:
    done = watch(outside, "--camera", word, "--detector", "whole")
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert message in line
