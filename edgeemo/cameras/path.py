"""What lies at a path: a device, a folder of pictures, a picture or a video."""

import os
import stat
from pathlib import Path

from edgeemo.cameras import Camera, CameraOptions
from edgeemo.cameras.select import forms
from edgeemo.errors import CameraError, InvalidInput, MissingFile


def of_word(path: str, options: CameraOptions) -> Camera:
    """The closed camera for what lies at `path`.

    Raises:
        MissingFile: nothing lies there.
        CameraError: it may not be looked at.
        InvalidInput: something else lies there.
        MissingDependency: neither OpenCV nor GStreamer is installed, and it is a device or video.
    """
    from edgeemo.cameras.files import Pictures, Video
    from edgeemo.cameras.gst_sources import GstVideo, takes_over
    from edgeemo.cameras.usb import of_word as usb
    from edgeemo.data.pictures import SUFFIXES

    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        if path.startswith("/dev/"):
            return usb(path, options)  # says which there are
        if isinstance(error, PermissionError):
            raise CameraError(
                f"{path}: cannot be read ({error.strerror}); check its permissions"
            ) from None
        raise MissingFile(f"{path!r}: no such camera or file; expected {forms()}") from None
    if stat.S_ISDIR(mode):
        return Pictures(path, fps=options.fps if options.fps_asked else None)
    if stat.S_ISCHR(mode):
        return usb(path, options)
    if not stat.S_ISREG(mode):
        raise InvalidInput(f"{path}: neither a file, a folder nor a device; expected {forms()}")
    if Path(path).suffix.lower() in SUFFIXES:
        return Pictures(path, fps=options.fps if options.fps_asked else None)
    return GstVideo(path, stall=options.stall) if takes_over("videos") else Video(path)
