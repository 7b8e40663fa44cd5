"""The word auto: the CSI camera where the machine has a connector, else the first USB camera."""

from functools import partial

from edgeemo.cameras import Camera, CameraOptions
from edgeemo.cameras.common.attempts import FirstThatOpens
from edgeemo.cameras.common.v4l2 import is_camera, look_at, video_devices
from edgeemo.cameras.csi import csi_attempts, machine
from edgeemo.cameras.select import forms
from edgeemo.errors import worded


def of_word(word: str, options: CameraOptions) -> Camera:
    """The camera of "auto", which is decided when it is opened."""
    from edgeemo.cameras.usb import of_word as usb

    kind = machine()
    attempts = csi_attempts(kind, 0, options) if kind else []
    there = video_devices()
    cameras = [path for path in there if is_camera(look_at(path)) is not False]
    attempts += [(path, partial(usb, path, options)) for path in cameras]
    notes = []
    if not kind:
        notes.append("CSI: neither a Raspberry Pi nor a Jetson")
    if not cameras:
        notes.append(
            f"USB: none of the {len(there)} /dev/video* is a camera"
            if there
            else "USB: no /dev/video* is there"
        )
    failure = f"no camera works here; {worded('--camera takes', 'name one:')} {forms()}"
    return FirstThatOpens(word, attempts, failure, notes)
