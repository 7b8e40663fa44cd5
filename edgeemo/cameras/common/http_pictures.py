"""JPEG pictures over HTTP: a Motion JPEG stream, or an address that is asked again and again.

OpenCV's FFmpeg takes a single picture for a stream that has ended, and waits for boundaries.
"""

import contextlib
import http.client
import logging
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import numpy as np
from numpy.typing import NDArray

from edgeemo.cameras.common.jpeg_stream import JpegStream
from edgeemo.data.pictures import decode_picture
from edgeemo.errors import CameraError, PictureError

_CHUNK = 1 << 20  # bytes that are taken at once
_JPEG = ("image/jpeg", "image/jpg", "image/pjpeg")
_PARTS = "multipart/"  # x-mixed-replace, if they are right

log = logging.getLogger("edgeemo.camera")


class HttpPictures:
    """The pictures at an http:// or https:// address, from one request on.

    Where one answer brought one picture and no more, the address is asked again. Of pictures that
    have come meanwhile the newest is given. Used by one thread; `wake` may be called from another.

    Args:
        url: with user and password where the camera wants them.
        name: without them, for messages.
        interval: seconds between two requests for single pictures.
        opening: seconds that connecting and the first picture may take, each.
        patience: seconds that reading waits for another picture.

    Raises:
        OSError, http.client.HTTPException, ValueError: nobody answers, or with an error
            (urllib.error.HTTPError), or the address makes no sense.
    """

    def __init__(
        self, url: str, name: str, *, interval: float, opening: float, patience: float
    ) -> None:
        self._name, self._interval = name, interval
        self._wait, self._patience = opening, patience
        self._shut = threading.Event()
        self._socket: socket.socket | None = None
        self._url, self._opener = _opener(url, self._connected)
        self._stream, self._pictures = JpegStream(), 0
        self._due = self._deadline = 0.0
        self._late, self._proven = threading.Event(), False
        self._answer = self._ask()

    @property
    def encoding(self) -> str:
        """The answer's compression, which nobody asked for; "" where there is none."""
        name = str(self._answer.headers.get("Content-Encoding", "")).strip()
        return "" if name.lower() == "identity" else name

    @property
    def are_pictures(self) -> bool:
        """Whether the answer is one of pictures, by its type or its first bytes."""
        kind = self._answer.headers.get_content_type()
        if kind.startswith(_PARTS) or kind in _JPEG:
            return True
        with contextlib.suppress(OSError, http.client.HTTPException):
            return bool(self._answer.peek(16)[:3] == b"\xff\xd8\xff")
        return False

    def read(self) -> tuple[NDArray[np.uint8], float] | None:
        """The next picture, uint8 (H, W, 3) RGB, and 0; None where the stream has ended.

        Raises:
            CameraError: no picture in time, or the connection broke.
        """
        self._deadline = time.monotonic() + self._wait
        if self._wait == self._patience:
            return self._read()
        with self._within():  # a first picture: nobody else watches the time yet
            return self._read()

    def _read(self) -> tuple[NDArray[np.uint8], float] | None:
        try:
            while not self._shut.is_set():
                data = self._newest()
                if data is not None:
                    with contextlib.suppress(PictureError):
                        pixels = decode_picture(data, self._name)
                        self._proven = True
                        self._lasts()
                        return pixels, 0.0
                    log.info("%s: a damaged picture was skipped", self._name)
                if time.monotonic() > self._deadline:
                    raise CameraError(f"{self._name}: no picture for {self._wait:g} s")
                if not self._more():
                    return None
        except (OSError, http.client.HTTPException, ValueError) as error:
            if isinstance(error, CameraError):
                raise
            if isinstance(error, urllib.error.HTTPError):
                error.close()
            why = str(error) or type(error).__name__
            raise CameraError(
                f"{self._name}: gives no frame any more ({why}); the network or the camera is gone"
            ) from None
        raise CameraError(f"{self._name} was closed")

    def wake(self) -> None:
        """End a `read` that waits."""
        self._shut.set()
        self._cut()

    def _cut(self) -> None:
        if self._socket is not None:
            # Not SSLSocket's own, which takes the connection from under the reading thread.
            with contextlib.suppress(OSError):
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        self._answer.close()

    def _newest(self) -> bytes | None:
        newest = None
        while (data := self._stream.next()) is not None:
            newest, self._pictures = data, self._pictures + 1
        return newest

    def _more(self) -> bool:
        """Wait for more bytes, or ask again; False where a stream has ended."""
        data = self._answer.read1(_CHUNK)
        if data:
            self._stream.add(data)
            return True
        kind = self._answer.headers.get_content_type()
        if kind.startswith(_PARTS) or self._pictures > 1:
            return False
        self._answer.close()
        rest = max(0.0, self._due - time.monotonic())
        if self._proven:  # the pause after a picture is ours; after none it is the camera's
            self._deadline += rest
        self._proven = False
        self._shut.wait(max(0.0, min(rest, self._deadline - time.monotonic())))
        if not self._shut.is_set() and time.monotonic() < self._deadline:
            self._stream, self._pictures = JpegStream(), 0
            self._answer = self._ask()
        return True

    def _ask(self) -> Any:
        self._due = time.monotonic() + self._interval
        with self._within():
            return self._opener.open(self._url, timeout=self._wait)

    @contextlib.contextmanager
    def _within(self) -> Iterator[None]:
        """Let the wait limit all that is received, where a socket's own limits each piece.

        Raises TimeoutError.
        """
        late = self._late = threading.Event()

        def cut() -> None:
            late.set()
            self._cut()

        timer = threading.Timer(self._wait, cut)
        timer.daemon = True
        timer.start()
        words = f"no whole answer within {self._wait:g} s"
        try:
            yield
        except Exception:
            if late.is_set() and not self._shut.is_set():
                raise TimeoutError(words) from None
            raise
        finally:
            timer.cancel()
        if late.is_set():  # headers that were cut read like whole ones
            raise TimeoutError(words)

    def _lasts(self) -> None:
        """A first picture has come: from here on another wait counts."""
        if self._wait != self._patience:
            self._wait = self._patience
            if self._socket is not None:
                self._socket.settimeout(self._wait)

    def _connected(self, connection: socket.socket) -> None:
        self._socket = connection
        if self._shut.is_set() or self._late.is_set():
            self._cut()


def _opener(
    url: str, connected: Callable[[socket.socket], None]
) -> tuple[str, urllib.request.OpenerDirector]:
    """The address without user and password, and what asks there with them.

    Nothing but HTTP is ever asked, wherever an answer leads. `connected` gets each connection.
    """
    parts = urlsplit(url)
    bare = parts.netloc.rpartition("@")[2]
    plain = urlunsplit((parts.scheme.lower(), bare, parts.path or "/", parts.query, ""))
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    if parts.username is not None:
        user, password = unquote(parts.username), unquote(parts.password or "")
        passwords.add_password(None, plain, user, password)
    opener = urllib.request.OpenerDirector()
    opener.addheaders = [("User-Agent", "edgeemo")]
    for handler in (
        urllib.request.ProxyHandler(),
        _handler(connected),
        _secure_handler(connected),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        _Digest(passwords),
        urllib.request.HTTPBasicAuthHandler(passwords),
    ):
        opener.add_handler(handler)
    return plain, opener


class _Digest(urllib.request.HTTPDigestAuthHandler):
    """Comes before the handler of Basic passwords, so it is the one that sees each refusal."""

    def http_error_401(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any
    ) -> Any:
        fp.close()  # urllib leaves the refused connection open
        return super().http_error_401(req, fp, code, msg, headers)


def _handler(connected: Callable[[socket.socket], None]) -> urllib.request.BaseHandler:
    class Connection(http.client.HTTPConnection):
        def connect(self) -> None:
            super().connect()
            connected(self.sock)

    class Handler(urllib.request.HTTPHandler):
        def http_open(self, request: urllib.request.Request) -> Any:
            return self.do_open(Connection, request)

    return Handler()


def _secure_handler(connected: Callable[[socket.socket], None]) -> urllib.request.BaseHandler:
    class Connection(http.client.HTTPSConnection):
        def connect(self) -> None:
            super().connect()
            connected(self.sock)

    class Handler(urllib.request.HTTPSHandler):
        def https_open(self, request: urllib.request.Request) -> Any:
            return self.do_open(Connection, request)

    return Handler()
