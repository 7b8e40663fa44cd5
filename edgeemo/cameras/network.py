"""Network cameras: RTSP and HTTP streams, through OpenCV's FFmpeg backend."""

import socket
import time
from urllib.parse import urlsplit

from edgeemo.cameras import Camera, CameraOptions, Frame
from edgeemo.cameras.common.opencv import Capture
from edgeemo.cameras.common.redact import redacted
from edgeemo.cameras.common.source import Source
from edgeemo.errors import CameraError, InvalidInput

SCHEMES = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
_OPEN, _READ = 5000, 3000  # milliseconds that opening and reading may take
_ASK = 2.0  # seconds for asking, after a failure, whether anybody answers at all


class NetworkCamera(Source[Capture]):
    """A stream that runs whether we read or not; RTSP goes over TCP, OpenCV's own preference.

    Opening gives up after 5 s, reading after 3 s; OpenCV cannot be released while it reads, so
    `close` from another thread takes effect when that wait is over. `name` has no user and no
    password in it.

    Args:
        url: rtsp://, rtsps://, http:// or https://, with user and password where the camera wants
            them.

    Raises:
        InvalidInput: another kind of URL.
    """

    def __init__(self, url: str) -> None:
        super().__init__(redacted(url))
        if url.partition("://")[0].lower() not in SCHEMES:
            schemes = ", ".join(f"{scheme}://" for scheme in SCHEMES)
            raise InvalidInput(f"expected a URL of {schemes}; received {self.name}")
        self._url = url

    def _start(self) -> Capture:
        waits = {"OPEN_TIMEOUT_MSEC": _OPEN, "READ_TIMEOUT_MSEC": _READ}
        return Capture(self.name, self._url, "CAP_FFMPEG", waits)

    def _take(self, capture: Capture) -> Frame:
        taken = capture.read()
        if taken is None:
            raise CameraError(
                f"{self.name}: gives no frame any more; the stream has ended, or the network is "
                "gone"
            )
        return Frame(taken[0], time.monotonic())

    def _release(self, capture: Capture) -> None:
        capture.close()

    def _explained(self, error: CameraError) -> CameraError:
        return CameraError(f"{self.name}: {self._why()}")

    def _why(self) -> str:
        """OpenCV does not say why it failed; what the network says in its place."""
        try:
            parts = urlsplit(self._url)
            host, port = parts.hostname or "", parts.port or SCHEMES[parts.scheme.lower()]
        except ValueError:
            return (
                "the host or port in it cannot be understood; escape special characters of a "
                "password (@ is %40)"
            )
        try:
            socket.create_connection((host, port), timeout=_ASK).close()
        except socket.gaierror:
            return f"the host {host} is not known; check the name, or use its address"
        except TimeoutError:
            return (
                f"{host} does not answer on port {port}; check the address, the network and "
                "firewalls"
            )
        except OSError as error:
            return (
                f"no connection to {host}, port {port} ({error.strerror or error}); is the camera "
                "on, its stream enabled?"
            )
        return (
            f"{host} answers on port {port} but gives no video within {_OPEN // 1000} s; check the "
            "path, user and password (try the URL in VLC or ffplay)"
        )


def of_word(url: str, options: CameraOptions) -> Camera:
    """The stream at `url`; size and rate are its own."""
    return NetworkCamera(url)
