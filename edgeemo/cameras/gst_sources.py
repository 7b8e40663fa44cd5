"""USB cameras, RTSP streams and videos through GStreamer, where OpenCV is not installed."""

import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from fractions import Fraction

from edgeemo.cameras import FPS, STALL, CameraOptions, Frame
from edgeemo.cameras.common.container import container_of
from edgeemo.cameras.common.opencv import pixel_aspect, square_size
from edgeemo.cameras.common.v4l2 import look_at, video_devices, why_not
from edgeemo.cameras.files import expect_video
from edgeemo.cameras.gstreamer import PROGRAM, GStreamer
from edgeemo.data.pictures import MAX_SIDE
from edgeemo.errors import CameraError, MissingDependency
from edgeemo.optional import install_line, is_installed

_INSTALL = (
    "sudo apt install gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good"
    " gstreamer1.0-libav"
)
_LOOKING = 10.0  # seconds that looking at a video's first frame may take
_SEEN = re.compile(r"seen\.GstPad:sink: caps = (video/x-raw.*)")
# Upright: as the file of a telephone says.
_DECODED = "decodebin ! videoconvert ! videoflip video-direction=auto"


def takes_over(what: str) -> bool:
    """Whether GStreamer reads `what` ("USB cameras") here: where OpenCV is not installed.

    Raises:
        MissingDependency: neither is.
    """
    if is_installed("cv2"):
        return False
    if shutil.which(PROGRAM) is None:
        raise MissingDependency(
            f"OpenCV or GStreamer is needed to read {what}, and neither is installed; run:"
            f" {install_line('opencv')}, or {_INSTALL}"
        )
    return True


class GstUsbCamera(GStreamer):
    """A camera behind a V4L2 device node; live. It gives the size that is asked for, or none.

    Args:
        device: the number N of /dev/videoN, or a path.
        options: size, rate and stall.
    """

    def __init__(self, device: int | str, options: CameraOptions) -> None:
        path = f"/dev/video{device}" if isinstance(device, int) else device
        super().__init__(
            usb_pipeline(path, options.size, options.fps), size=options.size, stall=options.stall
        )
        self.name = path

    def _start(self):  # type: ignore[no-untyped-def]
        if reason := why_not(look_at(self.name), video_devices()):
            raise CameraError(reason)
        return super()._start()


def usb_pipeline(path: str, size: tuple[int, int], fps: float) -> str:
    """Frames of a V4L2 device, as they are or as JPEG; no more than `fps` a second."""
    most = Fraction(fps).limit_denominator(1001)
    wanted = f"width={size[0]},height={size[1]},framerate=[1/1,{most.numerator}/{most.denominator}]"
    kinds = ("image/jpeg", "video/x-raw") if max(size) > 640 else ("video/x-raw", "image/jpeg")
    caps = shlex.quote("caps=" + ";".join(f"{kind},{wanted}" for kind in kinds))
    return f"v4l2src {_property('device', path)} ! capsfilter {caps} ! decodebin"


def rtsp_camera(url: str, name: str, options: CameraOptions) -> GStreamer:
    """An RTSP stream over TCP, whose frames are scaled to the size that is asked for."""
    source = f"rtspsrc {_property('location', url)} protocols=tcp latency=100"
    camera = GStreamer(f"{source} ! decodebin", size=options.size, stall=options.stall)
    camera.name = name
    return camera


@dataclass(frozen=True)
class _Look:
    size: tuple[int, int]
    """Width and height with square pixels."""
    fps: float
    """Frames a second."""


class GstVideo:
    """A video file; frames that its rate lacks are repeated, so that `Frame.time` is right.

    Args:
        path: the file.
        stall: seconds without a frame that reading waits, at least 10.
    """

    live = False

    def __init__(self, path: str, *, stall: float = STALL) -> None:
        self.name, self._stall = path, stall
        self._playing: GStreamer | None = None

    def open(self) -> None:
        """Look at the first frame, then play from the beginning.

        Raises:
            MissingFile: nothing lies at the path.
            CameraError: it is no video, or GStreamer cannot decode it.
        """
        self.close()
        expect_video(self.name)
        seen = _look(self.name)
        playing = GStreamer(
            f"{_source(self.name)} ! {_DECODED}",
            size=seen.size,
            fps=seen.fps,
            stall=self._stall,
            live=False,
        )
        playing.name = self.name
        playing.open()
        self._playing = playing

    def read(self) -> Frame | None:
        """The next frame; None at the end.

        Raises:
            CameraError: it is not open, was closed, or the file ends before its time.
        """
        if self._playing is None:
            raise CameraError(f"{self.name} is not open; call open() first")
        frame = self._playing.read()
        if frame is None and (missing := container_of(self.name).missing):
            raise CameraError(
                f"{self.name}: {missing:,} bytes are missing at the end of the file; copy it again"
            )
        return frame

    def close(self) -> None:
        """Close the file. Does no harm twice."""
        playing, self._playing = self._playing, None
        if playing:
            playing.close()


def _source(path: str) -> str:
    return f"filesrc {_property('location', path)}"


def _property(name: str, value: str) -> str:
    """A property whose value may have any letters: quoted for GStreamer, then as one word."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return shlex.quote(f'{name}="{escaped}"')


def _look(path: str) -> _Look:
    """Size and rate of a video's first frame. Raises CameraError."""
    words = shlex.split(f"{_source(path)} ! {_DECODED} ! fakesink name=seen num-buffers=1")
    said = _said([PROGRAM, "-v", *words])
    found = _SEEN.findall(said)
    size = _look_of(found[-1]) if found else None
    if size is None:
        line = next(
            (line for line in said.splitlines() if "ERROR" in line or "missing" in line), ""
        )
        raise CameraError(
            f"{path}: GStreamer cannot decode it ({line.strip()[:200] or 'no frame comes'}); for"
            f" H.264 run: sudo apt install gstreamer1.0-libav, or {install_line('opencv')}"
        )
    return size


def _said(command: list[str]) -> str:
    """What a program says on both its outputs until it ends; some hang after an error."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=_LOOKING,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired as error:
        return (error.stdout or b"").decode(errors="replace")
    return done.stdout.decode(errors="replace")


def _look_of(caps: str) -> _Look | None:
    """What capabilities such as "width=(int)640, framerate=(fraction)30/1" say; None: no size."""
    fields = dict(re.findall(r"([\w-]+)=\(\w+\)([\d/]+)", caps))
    width, height = (int(fields.get(side) or 0) for side in ("width", "height"))
    if not 0 < min(width, height) <= max(width, height) <= MAX_SIDE:
        return None
    aspect = pixel_aspect(*_pair(fields.get("pixel-aspect-ratio", "1/1")))
    over, under = _pair(fields.get("framerate", "0/1"))
    fps = over / under if under else 0.0
    return _Look(square_size(width, height, aspect), fps if 0.1 <= fps <= 300 else FPS)


def _pair(fraction: str) -> tuple[int, int]:
    over, _, under = fraction.partition("/")
    return int(over or 0), int(under or 1)
