"""USB cameras, streams and videos where OpenCV is not installed: GStreamer reads them."""

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeemo.cameras import CameraOptions, camera_for, open_camera
from edgeemo.cameras.gst_sources import GstUsbCamera, GstVideo, takes_over, usb_pipeline
from edgeemo.cameras.gstreamer import PROGRAM, GStreamer
from edgeemo.errors import CameraError, MissingDependency, MissingFile
from edgeemo.optional import is_installed
from tests.edgeemo.cameras.camera_helpers import nothing_is_left, red_video, rest

gstreamer = pytest.mark.skipif(shutil.which(PROGRAM) is None, reason=f"needs {PROGRAM}")


@pytest.fixture(autouse=True)
def no_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody finds OpenCV any more, but what has it works."""
    monkeypatch.setattr(cv2, "__spec__", None)
    assert not is_installed("cv2")


def video_of_steps(path: Path) -> Path:
    """A Motion JPEG of 12 frames, each brighter than the one before, its left half red."""
    writer = cv2.VideoWriter(
        str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*"MJPG"), 12.5, (98, 64)
    )
    for number in range(12):
        frame = np.full((64, 98, 3), 18 * number + 20, np.uint8)
        frame[:, :49] = (10, 10, 240)
        writer.write(frame)
    writer.release()
    return path


@gstreamer
def test_a_video_has_the_frames_and_times_that_opencv_sees(tmp_path: Path) -> None:
    path = video_of_steps(tmp_path / "steps.avi")
    with nothing_is_left():
        camera = open_camera(str(path))
        assert isinstance(camera, GstVideo)
        frames = rest(camera)
        assert camera.read() is None
        camera.close()
        camera.open()
        again = camera.read()
        camera.close()
    expected = frames_by_opencv(path)
    assert len(frames) == len(expected) == 12
    for number, (frame, other) in enumerate(zip(frames, expected, strict=True)):
        assert frame.time == pytest.approx(number / 12.5, abs=1e-3)
        assert frame.pixels.shape == other.shape
        # Two decoders of JPEG and two conversions; the edge between the halves is smoothed.
        inner = np.r_[0:44, 54:98]
        assert np.abs(frame.pixels[:, inner].astype(int) - other[:, inner]).max() <= 6
    assert again is not None
    assert np.array_equal(again.pixels, frames[0].pixels)


def frames_by_opencv(path: Path) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    frames = []
    while (taken := capture.read())[0]:
        frames.append(taken[1][..., ::-1])
    return frames


@gstreamer
def test_any_name_of_a_video_is_only_a_name(tmp_path: Path) -> None:
    path = tmp_path / "a b'c\"d\\e v4l2src ! fakesink.avi"
    red_video(tmp_path / "red.avi").rename(path)
    camera = open_camera(str(path))
    assert not camera.live
    assert len(rest(camera)) == 5
    camera.close()


@gstreamer
def test_what_is_no_video_or_cut_or_gone_says_so(tmp_path: Path) -> None:
    text, cut = tmp_path / "text.avi", tmp_path / "cut.avi"
    text.write_text("#EXTM3U\nhttp://example.invalid/x.ts\n")
    whole = video_of_steps(tmp_path / "steps.avi").read_bytes()
    cut.write_bytes(whole[: whole.rindex(b"idx1") - 700])
    noise = tmp_path / "noise.mkv"
    noise.write_bytes(np.random.default_rng(0).bytes(3000))
    with pytest.raises(CameraError, match="a text, not a video"):
        open_camera(str(text))
    with pytest.raises(MissingFile, match="no such file"):
        GstVideo(str(tmp_path / "none.avi")).open()
    with pytest.raises(CameraError, match=r"noise\.mkv: GStreamer cannot decode it"):
        open_camera(str(noise))
    with nothing_is_left():
        camera = GstVideo(str(cut))
        with pytest.raises(CameraError, match=r"cut\.avi: .*(missing at the end|cannot decode)"):
            camera.open()
            rest(camera)
        camera.close()


def test_a_usb_camera_is_asked_for_what_it_can_send_30_times_a_second(tmp_path: Path) -> None:
    assert usb_pipeline("/dev/video0", (640, 480), 30) == (
        "v4l2src 'device=\"/dev/video0\"' ! capsfilter 'caps="
        "video/x-raw,width=640,height=480,framerate=[1/1,30/1];"
        "image/jpeg,width=640,height=480,framerate=[1/1,30/1]' ! decodebin"
    )
    assert usb_pipeline("/dev/video0", (1280, 720), 15).index("image/jpeg") < 60
    camera = GstUsbCamera(3, CameraOptions())
    assert (camera.name, camera.live) == ("/dev/video3", True)


@gstreamer
def test_a_usb_camera_that_is_not_there_says_which_are() -> None:
    camera = camera_for("97")
    assert isinstance(camera, GstUsbCamera)
    with pytest.raises(CameraError, match=r"^/dev/video97: no such device; there is"):
        camera.open()


@gstreamer
def test_an_rtsp_stream_is_read_over_tcp_and_its_password_is_in_no_message() -> None:
    camera = camera_for("rtsp://bob:secret@127.0.0.1:9/live")
    assert isinstance(camera, GStreamer)
    assert camera.live
    command = camera._program.command
    assert 'location="rtsp://bob:secret@127.0.0.1:9/live"' in command
    assert "protocols=tcp" in command
    with pytest.raises(CameraError, match=r"^rtsp://\*\*\*@127") as caught:
        camera.open()
    assert "secret" not in str(caught.value)


def test_without_opencv_and_gstreamer_both_ways_out_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    path = red_video(tmp_path / "red.avi")
    for word in (str(path), "0", "rtsp://127.0.0.1/x"):
        with pytest.raises(MissingDependency) as caught:
            open_camera(word)
        assert "[opencv]', or sudo apt install gstreamer1.0-tools" in str(caught.value)
    monkeypatch.undo()
    assert not takes_over("videos")
