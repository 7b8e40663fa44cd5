"""CSI cameras of a Raspberry Pi through its program rpicam-vid: no Python package needed.

On older systems it is called libcamera-vid.
"""

import shutil

import numpy as np
from numpy.typing import NDArray

from edgeemo.cameras import FPS, SIZE, STALL
from edgeemo.cameras.common.pipe import PATIENCE, FrameProgram, PipeCamera
from edgeemo.errors import InvalidInput
from edgeemo.optional import loaded

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

    BT.601 in the full range, as in JPEG, which rpicam-vid gives. The same bytes with OpenCV, which
    only makes it faster where it is loaded, and without.
    """
    width, height = size
    luma = raw[: width * height].reshape(height, width)
    blue, red = (
        plane.reshape(height // 2, width // 2) for plane in np.split(raw[width * height :], 2)
    )
    cv2 = loaded("cv2", "resize", "merge", "cvtColor", "COLOR_YCrCb2RGB")
    if cv2 is None:
        return _to_rgb(luma, _doubled(red), _doubled(blue))
    blue, red = (cv2.resize(plane, size, interpolation=cv2.INTER_LINEAR) for plane in (blue, red))
    # Not COLOR_YUV2RGB_I420, which takes luma for 16 to 235.
    return np.asarray(
        cv2.cvtColor(cv2.merge((luma, red, blue)), cv2.COLOR_YCrCb2RGB), dtype=np.uint8
    )


def _doubled(plane: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """uint8 (H, W) of twice the height and width, linear between pixel centres; rounded as
    OpenCV does, in parts of 2048 whose last four bits fall off.
    """
    height, width = plane.shape
    padded = np.pad(plane.astype(np.int32), 1, mode="edge")
    across = np.empty((height + 2, 2 * width), np.int32)
    across[:, 0::2] = 512 * padded[:, :-2] + 1536 * padded[:, 1:-1]
    across[:, 1::2] = 512 * padded[:, 2:] + 1536 * padded[:, 1:-1]
    across >>= 4
    near, far = 1536 * across[1:-1] >> 16, 512 * across >> 16
    doubled = np.empty((2 * height, 2 * width), np.uint8)
    doubled[0::2] = (near + far[:-2] + 2) >> 2
    doubled[1::2] = (near + far[2:] + 2) >> 2
    return doubled


def _to_rgb(
    luma: NDArray[np.uint8], red: NDArray[np.uint8], blue: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Planes Y, Cr and Cb as uint8 (H, W, 3) RGB, in OpenCV's parts of 2^14."""
    steps = np.arange(-128, 128)
    wide = luma.astype(np.int16)
    to_red, to_blue = ((factor * steps + 8192 >> 14).astype(np.int16) for factor in (22987, 29049))
    green = (-11698 * steps)[red] + (-5636 * steps + 8192)[blue] >> 14
    channels = (to_red[red], green.astype(np.int16), to_blue[blue])
    return np.stack([(wide + part).clip(0, 255).astype(np.uint8) for part in channels], axis=-1)
