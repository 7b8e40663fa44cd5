"""The words csi and csi:1: ribbon-cable cameras of a Jetson and a Raspberry Pi, the best way."""

from pathlib import Path

from edgeemo.cameras import Camera, CameraOptions
from edgeemo.cameras.common.attempts import Attempt, FirstThatOpens
from edgeemo.errors import InvalidInput

_TEGRA = "/etc/nv_tegra_release"
_MODEL = "/proc/device-tree/model"


def of_word(word: str, options: CameraOptions) -> Camera:
    """The CSI camera of "csi" or "csi:N". Raises InvalidInput for another word."""
    number = word.partition(":")[2] or "0"
    if word == "csi:" or not (number.isdecimal() and number.isascii()):
        raise InvalidInput(
            f"expected csi, or csi:N with the number of the camera; received {word!r}"
        )
    attempts = csi_attempts(machine(), int(number), options)
    return FirstThatOpens(word, attempts, f"no CSI camera works here ({word})")


def csi_attempts(kind: str, number: int, options: CameraOptions) -> list[Attempt]:
    """The ways to a CSI camera on this kind of machine, best first."""

    def argus() -> Camera:
        from edgeemo.cameras.gstreamer import GStreamer, jetson_pipeline

        pipeline = jetson_pipeline(number, size=options.size, fps=options.fps)
        camera = GStreamer(pipeline, size=options.size, stall=options.stall)
        camera.name = f"csi:{number} (nvarguscamerasrc)"
        return camera

    def picamera2() -> Camera:
        from edgeemo.cameras.picamera2 import PiCamera2

        return PiCamera2(number, size=options.size, fps=options.fps, stall=options.stall)

    def rpicam() -> Camera:
        from edgeemo.cameras.rpicam import RpiCam

        return RpiCam(number, size=options.size, fps=options.fps, stall=options.stall)

    if kind == "jetson":
        return [("nvarguscamerasrc", argus)]
    return [("picamera2", picamera2), ("rpicam-vid", rpicam)]


def machine() -> str:
    """ "jetson" or "pi" where this machine is one, else ""."""
    try:
        model = Path(_MODEL).read_text(encoding="utf-8", errors="replace")
    except OSError:
        model = ""
    return machine_of(model, Path(_TEGRA).exists())


def machine_of(model: str, tegra: bool) -> str:
    """Like `machine`, from what is known.

    Args:
        model: of the device tree.
        tegra: whether NVIDIA's release file is there (not in every container).
    """
    if tegra or "jetson" in model.lower() or model.lower().startswith("nvidia orin"):
        return "jetson"
    return "pi" if model.startswith("Raspberry Pi") else ""
