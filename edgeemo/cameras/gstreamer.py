"""Any GStreamer pipeline, run by gst-launch-1.0: OpenCV from pip has no GStreamer.

A process of its own cannot take us down either.
"""

import re
import shlex
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from edgeemo.cameras import FPS, SIZE, STALL, Camera, CameraOptions
from edgeemo.cameras.common.pipe import PATIENCE, FrameProgram, PipeCamera
from edgeemo.cameras.common.redact import redacted
from edgeemo.errors import InvalidInput

PROGRAM = "gst-launch-1.0"
_MISSING = (
    f"{PROGRAM} is needed for --camera gst: and for CSI cameras of a Jetson, and is not installed; "
    "run: sudo apt install gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good"
)
# Elements whose frames come by themselves. A name may stand for several: rtspsrc2, nvv4l2camerasrc.
_LIVE_ELEMENTS = re.compile(
    r"\b(nv\w*camerasrc|v4l2src|libcamerasrc|rtspsrc2?|udpsrc|tcp(client|server)src"
    r"|srt(client|server)?src|rtmp2?src|rist?src|webrtcsrc|whepsrc|autovideosrc|pipewiresrc"
    r"|ximagesrc|shmsrc|uvch264src|aravissrc|decklinkvideosrc|avfvideosrc|v4l2\w*src)\b"
)
_LIVE_PROPERTIES = re.compile(
    r"\bis-live\s*=\s*(\(\w+\)\s*)?(true|yes|t|1)\b"
    r"|\buri\s*=\s*(rtsps?|rtspt|udp|rtp|srt|rtmps?)://",
    re.I,
)
_ERROR = re.compile(r"ERROR|WARNING: erroneous|Error generated|\(Argus\) Error")
# Pixels; a mode of the usual sensors (IMX219, IMX477), at 30 frames a second or more.
_ARGUS = (1280, 720)
_ARGUS_LARGE = (1920, 1080)


class GStreamer(PipeCamera):
    """Frames of a pipeline such as "v4l2src device=/dev/video0 ! jpegdec".

    Whatever comes out is scaled to `size`, with black bars where the shape differs. Of a live
    pipeline the newest frame counts; from any other, taken for a recording, each frame is read in
    turn, at `fps` frames a second of its own time.

    Args:
        pipeline: as for gst-launch-1.0, without a sink; no shell sees it. `name` has no password in
            it.
        size: width and height of the frames, in pixels.
        fps: frames a second of a recording.
        stall: seconds without a frame that reading waits, at least 10.
        live: whether frames come by themselves; None: as its elements say.

    Raises:
        InvalidInput: no pipeline, or quotes that do not match.
    """

    def __init__(
        self,
        pipeline: str,
        *,
        size: tuple[int, int] = SIZE,
        fps: float = FPS,
        stall: float = STALL,
        live: bool | None = None,
    ) -> None:
        name = f"gst:{redacted(pipeline)}"
        live = is_live(pipeline) if live is None else live
        command = [PROGRAM, "-q", *_words(pipeline, name), *_our_part(size, None if live else fps)]
        width, height = size
        row = _row_bytes(width)

        def to_rgb(raw: NDArray[np.uint8]) -> NDArray[np.uint8]:
            rows = np.ascontiguousarray(raw.reshape(height, row)[:, : 3 * width])
            return rows.reshape(height, width, 3)

        # Not standard output, on which elements such as nvarguscamerasrc talk.
        program = FrameProgram(command, row * height, to_rgb, _MISSING, _sink)
        patience = max(PATIENCE, stall)
        super().__init__(program, name=name, live=live, fps=fps, patience=patience)

    def complaint(self, output: str) -> str:
        """The first error: what follows are its consequences."""
        lines = [line.strip() for line in output.splitlines() if line.strip()]
        errors = [line for line in lines if _ERROR.match(line)]
        detail = [
            line
            for line in lines
            if line.startswith(("No such", "system error", "Could not", "Cannot"))
        ]
        return " ".join([*errors[:1], *detail[:1]]) if errors else super().complaint(output)


def is_live(pipeline: str) -> bool:
    """Whether a pipeline's frames come by themselves.

    From a camera, the network, or an element with is-live=true.
    """
    return bool(_LIVE_ELEMENTS.search(pipeline) or _LIVE_PROPERTIES.search(pipeline))


def jetson_pipeline(
    sensor: int = 0, *, size: tuple[int, int] = SIZE, fps: float = FPS, flip: int = 0
) -> str:
    """The pipeline of a Jetson's CSI camera; NVIDIA's Argus and image processor make the frames.

    Args:
        sensor: number of the camera.
        size: width and height that the frames must fit into, in pixels; their shape stays that of
            the sensor.
        fps: frames a second.
        flip: nvvidconv's flip-method: 0 none, 2 by 180 degrees, 4 mirrored, …
    """
    captured = _ARGUS if size[0] <= _ARGUS[0] and size[1] <= _ARGUS[1] else _ARGUS_LARGE
    scale = min(1.0, size[0] / captured[0], size[1] / captured[1])
    width, height = (max(2, round(side * scale) // 2 * 2) for side in captured)
    if flip % 2:  # by 90 degrees: what comes out stands upright
        width, height = height, width
    return (
        f"nvarguscamerasrc sensor-id={sensor} ! "
        f"video/x-raw(memory:NVMM),width={captured[0]},height={captured[1]},"
        f"framerate={_fraction(fps)},format=NV12 ! "
        f"nvvidconv flip-method={flip} ! video/x-raw,width={width},height={height},format=BGRx"
    )


def _words(pipeline: str, name: str) -> list[str]:
    try:
        words = shlex.split(pipeline)
    except ValueError as error:
        raise InvalidInput(f"{name}: expected a pipeline whose quotes match ({error})") from None
    # Pipelines for OpenCV end in an appsink; ours is the sink here.
    last = len(words) - 1 - words[::-1].index("!") if "!" in words else 0
    if words[last + 1 : last + 2] == ["appsink"]:
        words = words[:last]
    if not words or words[-1] == "!":
        raise InvalidInput(
            f"{name}: expected a pipeline such as 'v4l2src device=/dev/video0 ! jpegdec', without "
            "a sink"
        )
    return words


def _our_part(size: tuple[int, int], fps: float | None) -> list[str]:
    """What stands before the sink: RGB of `size`.

    Of a recording `fps` a second, else the newest.
    """
    newest = (
        "! queue leaky=downstream max-size-buffers=1 max-size-bytes=0 max-size-time=0"
        if fps is None
        else "! videorate"
    )
    rate = "" if fps is None else f",framerate={_fraction(fps)}"
    return (
        f"{newest} ! videoconvert ! videoscale add-borders=true ! "
        f"video/x-raw,format=RGB,width={size[0]},height={size[1]},pixel-aspect-ratio=1/1{rate}"
    ).split()


def _sink(descriptor: int) -> list[str]:
    return ["!", "fdsink", f"fd={descriptor}", "sync=false"]


def _row_bytes(width: int) -> int:
    """GStreamer pads rows of RGB to a multiple of four bytes."""
    return (3 * width + 3) // 4 * 4


def _fraction(fps: float) -> str:
    exact = Fraction(fps).limit_denominator(1001)
    return f"{exact.numerator}/{exact.denominator}"


def of_word(pipeline: str, options: CameraOptions) -> Camera:
    """The pipeline behind "gst:"."""
    return GStreamer(pipeline, size=options.size, fps=options.fps, stall=options.stall)
