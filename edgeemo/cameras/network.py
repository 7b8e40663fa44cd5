"""Network cameras: RTSP and other streams through OpenCV's FFmpeg backend, JPEG over HTTP."""

import http.client
import socket
import ssl
import time
from urllib.error import HTTPError
from urllib.parse import urlsplit

from edgeemo.cameras import STALL, Camera, CameraOptions, Frame
from edgeemo.cameras.common.http_pictures import HttpPictures
from edgeemo.cameras.common.opencv import Capture
from edgeemo.cameras.common.redact import redacted
from edgeemo.cameras.common.source import Source
from edgeemo.errors import CameraError, InvalidInput

SCHEMES = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
_OPEN = 5.0  # seconds that opening may take, and twice `stall` at least
_POLL = 1.0  # pictures a second that an address is asked for, where nobody says how many
_ASK = 2.0  # seconds for asking, after a failure, whether anybody answers at all


class NetworkCamera(Source[Capture | HttpPictures]):
    """A stream that runs whether we read or not, or an address that gives one JPEG when asked.

    RTSP goes over TCP, OpenCV's own preference. Opening gives up after 5 s or twice `stall`,
    reading after `stall`; OpenCV cannot be released while it reads, so of what it reads `close`
    from another thread takes effect when that wait is over. `name` has no user and no password in
    it.

    Args:
        url: rtsp://, rtsps://, http:// or https://, with user and password where the camera wants
            them.
        fps: how many times a second an address that gives one picture is asked.
        stall: seconds without a frame that reading waits.

    Raises:
        InvalidInput: another kind of URL.
    """

    def __init__(self, url: str, *, fps: float = _POLL, stall: float = STALL) -> None:
        super().__init__(redacted(url))
        if url.partition("://")[0].lower() not in SCHEMES:
            schemes = ", ".join(f"{scheme}://" for scheme in SCHEMES)
            raise InvalidInput(f"expected a URL of {schemes}; received {self.name}")
        self._url, self._interval, self._stall = url, 1 / fps, stall
        self._opening = max(_OPEN, 2 * stall)
        self._refusal = ""

    def _start(self) -> Capture | HttpPictures:
        self._refusal = ""
        if self._url.lower().startswith("http"):
            pictures = self._pictures()
            if pictures:
                return pictures
        waits = {
            "OPEN_TIMEOUT_MSEC": round(1000 * self._opening),
            "READ_TIMEOUT_MSEC": round(1000 * self._stall),
        }
        return Capture(self.name, self._url, "CAP_FFMPEG", waits)

    def _pictures(self) -> HttpPictures | None:
        """The JPEG pictures there; None: something else, which FFmpeg may know.

        Raises CameraError where nobody answers, or with an error.
        """
        try:
            pictures = HttpPictures(
                self._url,
                self.name,
                interval=self._interval,
                opening=self._opening,
                patience=self._stall,
            )
        except (ssl.SSLError, http.client.HTTPException):
            return None  # FFmpeg takes cameras' own certificates, and other dialects
        except HTTPError as error:
            self._refusal = f"{error.code} {http.client.responses.get(error.code, '')}".strip()
            error.close()
            raise CameraError(f"{self.name}: {self._refusal}") from None
        except (OSError, ValueError) as error:
            if isinstance(getattr(error, "reason", None), ssl.SSLError):
                return None
            raise CameraError(f"{self.name}: {error}") from None
        if pictures.encoding:
            self._refusal = f"its answer is compressed, Content-Encoding {pictures.encoding[:20]!r}"
            pictures.close()
            raise CameraError(f"{self.name}: {self._refusal}")
        if pictures.are_pictures:
            return pictures
        pictures.close()
        return None

    def _take(self, capture: Capture | HttpPictures) -> Frame:
        try:
            taken = capture.read()
        except TimeoutError as error:
            if isinstance(error, CameraError):
                raise
            raise CameraError(f"{self.name}: {error}") from None
        if taken is None:
            raise CameraError(
                f"{self.name}: gives no frame any more; the stream has ended, or the network is "
                "gone"
            )
        return Frame(taken[0], time.monotonic())

    def _interrupt(self, capture: Capture | HttpPictures) -> None:
        if isinstance(capture, HttpPictures):
            capture.wake()

    def _release(self, capture: Capture | HttpPictures) -> None:
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
        except (socket.gaierror, UnicodeError):  # or a name with an empty part
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
            f"{host} answers on port {port} but gives no video "
            f"{f'({self._refusal})' if self._refusal else f'within {self._opening:g} s'}; check "
            "the path, user and password (try the URL in VLC or ffplay)"
        )


def of_word(url: str, options: CameraOptions) -> Camera:
    """What is at `url`; its size is its own, and a stream's rate."""
    from edgeemo.cameras.gst_sources import rtsp_camera, takes_over

    fps = options.fps if options.fps_asked else _POLL
    if url.lower().startswith("rtsp") and takes_over("RTSP streams"):
        return rtsp_camera(url, redacted(url), options)
    return NetworkCamera(url, fps=fps, stall=options.stall)
