"""File names that are no UTF-8, as cameras and old memory cards make them, are read too."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from edgeemo.contract.checked.files import for_c
from edgeemo.faces import DetectorOptions
from edgeemo.faces.haar import Haar
from edgeemo.faces.yunet import YuNet
from tests import support
from tests.edgeemo.cameras.camera_helpers import red_jpeg, red_video

# In a process of its own: what is kept here is that no process dies of a signal.
_READ = """
import sys
from edgeemo.cameras import open_camera
for path in sys.argv[1:]:
    camera = open_camera(path)
    print(camera.read().pixels.shape, end=" ")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder whose name is no UTF-8."""
    path = tmp_path / os.fsdecode(b"caf\xe9")
    try:
        path.mkdir()
    except OSError:
        pytest.skip("needs a file system that takes any bytes as a name")
    return path


def test_a_path_is_text_for_c_where_it_is_utf_8_and_else_its_bytes() -> None:
    assert for_c(Path("/tmp/é.mp4")) == "/tmp/é.mp4"
    assert for_c(os.fsdecode(b"/tmp/\xe9.mp4")) == b"/tmp/\xe9.mp4"


def test_videos_pictures_and_folders_of_such_names_are_read(folder: Path) -> None:
    made = red_video(folder.parent / "a.avi", frames=2)
    video = shutil.copy(made, folder / os.fsdecode(b"\xff\xe9.avi"))
    beside = shutil.copy(made, folder / "plain.avi")
    pictures = folder / os.fsdecode(b"p\xe9")
    pictures.mkdir()
    picture = pictures / os.fsdecode(b"\xe9.jpg")
    picture.write_bytes(red_jpeg())
    done = subprocess.run(
        [sys.executable, "-c", _READ, video, beside, pictures, picture],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (0, "(48, 64, 3) " * 4), done.stderr


def test_detectors_open_model_files_of_such_names(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    yunet = support.shared("models", "face_detection_yunet_2026may.onnx")
    model = Path(shutil.copy(yunet, folder / os.fsdecode(b"y\xe9.onnx")))
    assert YuNet(DetectorOptions(model)).name == "yunet"
    cascades = Path(cv2.data.haarcascades)
    shutil.copy(cascades / "haarcascade_frontalface_default.xml", folder)
    monkeypatch.setattr(cv2.data, "haarcascades", str(folder))
    assert Haar().name == "haar"
