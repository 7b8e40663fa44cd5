"""CSI cameras of a Raspberry Pi through its program rpicam-vid: no Python package needed.

On older systems it is called libcamera-vid.
"""

import shutil

import numpy as np
from numpy.typing import NDArray

from edgeemo.cameras import FPS, SIZE, STALL
from edgeemo.cameras.common.pipe import PATIENCE, FrameProgram, PipeCamera
from edgeemo.errors import InvalidInput
from edgeemo.optional import need

PROGRAMS = ("rpicam-vid", "libcamera-vid")
# Rows of the frames are padded, which nothing in the output tells: to 64 pixels up to the Pi 4, to
# 128 on the Pi 5, whose kernel wants the colour planes, of half the width, on 64 (rpicam-apps issue
# 188; pisp_be_formats.h).
_STEP = 128


class RpiCam(PipeCamera):
    """A camera that rpicam-vid knows; live.

    Args:
        number: of the camera, as `rpicam-hello --list-cameras` gives it.
        size: width, a multiple of 128, and height, even, in pixels.
        fps: frames a second.
        stall: seconds without a frame that reading waits, at least 10.

    Raises:
        InvalidInput: another size.
    """

    def __init__(
        self,
        number: int = 0,
        *,
        size: tuple[int, int] = SIZE,
        fps: float = FPS,
        stall: float = STALL,
    ) -> None:
        width, height = size
        if width % _STEP or height % 2:
            below = max(_STEP, width // _STEP * _STEP)
            raise InvalidInput(
                f"expected a width in multiples of {_STEP} and an even height of rpicam-vid, "
                f"received {width}x{height}; ask for {below}x{height // 2 * 2} or "
                f"{below + _STEP}x{height // 2 * 2}, or install picamera2"
            )
        program = next((name for name in PROGRAMS if shutil.which(name)), PROGRAMS[0])
        run = FrameProgram(
            [program, *arguments(number, size, fps)],
            frame_bytes=width * height * 3 // 2,
            to_rgb=lambda raw: i420_to_rgb(raw, size),
            missing=(
                f"{' or '.join(PROGRAMS)} is needed for CSI cameras without picamera2, and "
                "neither is installed; on Raspberry Pi OS run: sudo apt install rpicam-apps-lite"
            ),
        )
        patience = max(PATIENCE, stall)
        super().__init__(run, name=f"csi:{number} ({program})", live=True, patience=patience)


def arguments(number: int, size: tuple[int, int], fps: float) -> list[str]:
    """What rpicam-vid is called with: raw frames without end, each at once, to standard output."""
    camera = ["--camera", str(number)] if number else []
    return [
        *camera, "--codec", "yuv420", "--width", str(size[0]), "--height", str(size[1]),
        "--framerate", f"{fps:g}",
        "--timeout", "0", "--nopreview", "--flush", "--verbose", "0", "--output", "-",
    ]  # fmt: skip


def i420_to_rgb(raw: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """uint8 (H * W * 3 / 2,) of I420 to uint8 (H, W, 3) RGB.

    BT.601 in the full range, as in JPEG, which rpicam-vid gives.
    """
    cv2 = need("cv2", "opencv", "to convert camera pictures")
    width, height = size
    luma = raw[: width * height].reshape(height, width)
    blue, red = (
        cv2.resize(plane.reshape(height // 2, width // 2), size, interpolation=cv2.INTER_LINEAR)
        for plane in np.split(raw[width * height :], 2)
    )
    # Not COLOR_YUV2RGB_I420, which takes luma for 16 to 235.
    return np.asarray(
        cv2.cvtColor(cv2.merge((luma, red, blue)), cv2.COLOR_YCrCb2RGB), dtype=np.uint8
    )
