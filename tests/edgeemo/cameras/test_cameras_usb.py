"""USB cameras.

The kernel's facts, what is said about them, and the reader, which here reads a video; no device was
at hand.
"""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgeemo.cameras.common.v4l2 import Node, holders, is_camera, look_at, video_devices, why_not
from edgeemo.cameras.usb import UsbCamera
from edgeemo.errors import CameraError
from tests.edgeemo.cameras.camera_helpers import assert_red, nothing_is_left, red_video

CAPTURE, CODEC, METADATA, OUTPUT = 0x05200001, 0x05208000, 0x05A00000, 0x04200002
THERE = ["/dev/video0", "/dev/video2"]


class VideoAsDevice(UsbCamera):
    """The class itself, pointed at a video file.

    Another backend of the same OpenCV, and no questions to the kernel.
    """

    _backend = "CAP_FFMPEG"

    def _refusal(self) -> str:
        return ""


def test_red_arrives_as_red_and_a_camera_that_ends_is_gone(tmp_path: Path) -> None:
    camera = VideoAsDevice(str(red_video(tmp_path / "red.avi", frames=3)), size=(64, 48))
    assert camera.live
    for _ in range(2):
        camera.open()
        times = [assert_red(camera.read()).time for _ in range(3)]
        assert times == sorted(times)
        with pytest.raises(
            CameraError, match=r"red\.avi: gives no frame any more; is it still plugged in"
        ):
            camera.read()
        camera.close()
        camera.close()
    with pytest.raises(CameraError, match="is not open"):
        camera.read()


def test_opening_and_closing_leaves_nothing(tmp_path: Path) -> None:
    camera = VideoAsDevice(str(red_video(tmp_path / "red.avi")))
    camera.open()
    camera.close()
    with nothing_is_left():
        for _ in range(50):
            camera.open()
            camera.close()


def test_a_device_that_another_program_holds_names_that_program(tmp_path: Path) -> None:
    path = tmp_path / "video0"
    path.write_bytes(b"nothing that can be opened")
    code = f"file = open({str(path)!r}); print('open', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout
        assert child.stdin
        child.stdout.readline()
        (holder,) = holders(str(path))
        assert holder.endswith(f"(process {child.pid})")
        with pytest.raises(CameraError) as caught:
            VideoAsDevice(str(path)).open()
        assert (
            str(caught.value)
            == f"{path} is held by {holder}; end that program, or use another camera"
        )
        child.stdin.close()
    assert holders(str(path)) == []


def test_our_own_hold_on_a_device_is_called_ours(tmp_path: Path) -> None:
    path = tmp_path / "video0"
    with path.open("w"):
        (holder,) = holders(str(path))
        assert holder.endswith(f"(process {os.getpid()}) (this program)")


def test_a_device_that_nobody_seems_to_hold_says_what_to_try(tmp_path: Path) -> None:
    path = tmp_path / "video0"
    path.write_bytes(b"nothing that can be opened")
    with pytest.raises(
        CameraError,
        match=r"video0: OpenCV .* cannot open it, though it is there .*sudo fuser -v .*/video0",
    ):
        VideoAsDevice(str(path)).open()
    with pytest.raises(CameraError, match="gives no frame any more"):
        VideoAsDevice(str(red_video(tmp_path / "empty.avi", frames=0))).open()


def test_a_missing_device_is_named_with_those_there_are() -> None:
    there = (
        f"there is {', '.join(video_devices())}"
        if video_devices()
        else r"there is no /dev/video\* at all: plug a camera in"
    )
    with pytest.raises(CameraError, match=f"/dev/video250: no such device; {there}"):
        UsbCamera(250).open()


def test_what_is_no_video_device_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="/dev/null is no V4L2 device"):
        UsbCamera("/dev/null").open()
    (tmp_path / "file").touch()
    with pytest.raises(CameraError, match="file: cannot be opened as a camera"):
        UsbCamera(str(tmp_path / "file")).open()


def test_the_kernel_is_asked_about_a_node() -> None:
    assert look_at("/dev/video250").trouble == errno.ENOENT
    assert look_at("/dev/null") == Node("/dev/null", 0, "root", "", None)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        (Node("/dev/video0", label="HD Webcam C525"), ""),
        (Node("/dev/video0", caps=CAPTURE), ""),
        (Node("/dev/video0", caps=0x1000), ""),
        (Node("/dev/video0", errno.EBUSY, caps=None), ""),
        (
            Node("/dev/video1", errno.ENOENT, caps=None),
            "/dev/video1: no such device; there is /dev/video0, /dev/video2",
        ),
        (
            Node("/dev/video0", errno.EACCES, "video", caps=None),
            (
                "/dev/video0: permission denied, it belongs to the group video; run: sudo usermod"
                " -aG video $USER, then log in again (in a container: pass the device in, and"
                " --group-add)"
            ),
        ),
        (
            Node("/dev/video0", errno.EPERM, "plugdev", caps=None),
            (
                "/dev/video0: permission denied, it belongs to the group plugdev; run: sudo usermod"
                " -aG plugdev $USER, then log in again (in a container: pass the device in, and"
                " --group-add)"
            ),
        ),
        (
            Node("/dev/video0", label="unicam-image", caps=CAPTURE),
            '/dev/video0 (unicam-image) is a CSI sensor\'s raw data, not pictures; use "csi"',
        ),
        (
            Node("/dev/video4", label="rp1-cfe-csi2_ch0", caps=CAPTURE),
            ('/dev/video4 (rp1-cfe-csi2_ch0) is a CSI sensor\'s raw data, not pictures; use "csi"'),
        ),
        (
            Node("/dev/video0", label="vi-output, imx219 9-0010", caps=CAPTURE),
            (
                "/dev/video0 (vi-output, imx219 9-0010) is a CSI sensor's raw data, not pictures;"
                ' use "csi"'
            ),
        ),
        *(
            (
                Node("/dev/video19", label=label, caps=CODEC),
                (
                    f"/dev/video19 ({label}) is a codec or image processor, no camera; use another "
                    'number, "csi", or auto'
                ),
            )
            for label in (
                "bcm2835-codec-decode",
                "bcm2835-isp-output0",
                "rpivid",
                "pispbe-input",
                "rpi-hevc-dec",
            )
        ),
        (
            Node("/dev/video1", label="HD Webcam C525", caps=METADATA),
            (
                "/dev/video1 (HD Webcam C525) is a camera's metadata; its pictures come from the "
                "number before it"
            ),
        ),
        (
            Node("/dev/video9", label="some codec", caps=CODEC),
            "/dev/video9 (some codec) does not capture; use another number, or auto",
        ),
        (
            Node("/dev/video9", label="loopback", caps=OUTPUT),
            "/dev/video9 (loopback) does not capture; use another number, or auto",
        ),
        (Node("/dev/video9", caps=None), "/dev/video9 is no V4L2 device; name a /dev/videoN"),
        (
            Node("/dev/video0", errno.ENODEV, caps=None),
            "/dev/video0: the device behind it has gone; unplug the camera and plug it in again",
        ),
        (
            Node("/dev/video0", errno.EIO, caps=None),
            "/dev/video0: cannot be opened as a camera (Input/output error); name a video device",
        ),
    ],
)
def test_what_speaks_against_a_node_is_said_with_the_way_out(node: Node, message: str) -> None:
    assert why_not(node, THERE) == message


def test_without_any_node_the_message_says_so() -> None:
    node = Node("/dev/video0", errno.ENOENT, caps=None)
    assert (
        why_not(node, [])
        == "/dev/video0: no such device; there is no /dev/video* at all: plug a camera in"
    )


@pytest.mark.parametrize(
    ("node", "answer"),
    [
        (Node("/dev/video0", label="HD Webcam", caps=CAPTURE), True),
        (Node("/dev/video1", label="HD Webcam", caps=METADATA), False),
        (Node("/dev/video0", label="unicam-image", caps=CAPTURE), False),
        (Node("/dev/video0", errno.EACCES, label="pispbe-input", caps=None), False),
        (Node("/dev/video0", errno.EACCES, label="HD Webcam", caps=None), None),
        (Node("/dev/video0", label="m2m", caps=CODEC), False),
        (Node("/dev/video0", caps=None), False),
    ],
)
def test_auto_takes_cameras_and_what_it_may_not_ask(node: Node, answer: bool | None) -> None:
    assert is_camera(node) is answer
