"""The app on a port, by uvicorn: connections bounded in number, and in the time that they may take."""

import asyncio
import errno
import json
import logging
import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from edgeemo.errors import ServeError
from edgeemo.optional import need
from edgeemo.serve.doors import MOST_HEAD
from edgeemo.serve.request import JSON, SECURITY

if TYPE_CHECKING:
    from edgeemo.serve.app import App

_MESSAGE_BYTES = 4096  # of a WebSocket's client, which has nothing to say
_SEND_BUFFER = 64 * 1024  # the kernel's, a connection; Linux takes twice as much
_END_SECONDS = 2  # that clients have to go at the end
_PURPOSE = "to serve a page"
_LEAVE_SECONDS = 1.0  # that a client has to read why it is sent away


@dataclass(frozen=True)
class Bounds:
    """How much of a server one client may take."""

    connections: int = 256
    """That are open at a time: those that follow events, and others beside them."""
    request: float = 30.0
    """Seconds that a whole request may take, its body too, from the connection on or from the
    answer before."""
    stuck: float = 10.0
    """Seconds that a client may take nothing of what waits for it."""
    idle: int = 5
    """Seconds between two requests of one connection."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens on `host` and `port`; 0 takes any free port.

    Raises:
        ServeError: no such host, or a port that is used or needs rights.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        opened = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:  # of a name with an empty part
        raise ServeError(f"{host}: expected an address of this machine ({error})") from None
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        opened.bind(address)
        opened.listen(128)
    except OSError as error:
        opened.close()
        other = "--host" if error.errno == errno.EADDRNOTAVAIL else "--port, or end what uses it"
        raise ServeError(
            f"{host}:{port} cannot be listened on ({error.strerror or error}); choose another "
            f"{other}"
        ) from None
    opened.setblocking(False)
    return opened


class Server:
    """Serves an app until it is stopped.

    Args:
        app: what answers.
        listening: as from `listen`; closed at the end.
        bounds: of what a client may take.

    Raises:
        MissingDependency: uvicorn or wsproto is not installed.
    """

    def __init__(self, app: "App", listening: socket.socket, bounds: Bounds = Bounds()) -> None:
        uvicorn = need("uvicorn", "serve", _PURPOSE)
        http, websocket = _protocols(bounds)
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http=http,
            ws=websocket,
            ws_max_size=_MESSAGE_BYTES,
            ws_per_message_deflate=False,
            lifespan="on",
            log_config=None,
            # At a lower level uvicorn names clients.
            log_level=logging.WARNING,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=bounds.idle,
            timeout_graceful_shutdown=_END_SECONDS,
            h11_max_incomplete_event_size=MOST_HEAD,
        )
        self._app, self._listening = app, listening
        self._server = uvicorn.Server(config)
        self._stopped = threading.Event()
        self.started = threading.Event()
        """Set once requests are answered."""

    @property
    def connections(self) -> int:
        """That are open now."""
        return len(self._server.server_state.connections)

    def run(self) -> None:
        """Serve until `stop`, or a signal, where this is the main thread.

        Raises:
            KeyboardInterrupt: SIGINT ended it, or SIGTERM with a handler that raises that.
        """
        asyncio.run(self._run())

    async def _run(self) -> None:
        hung_up = self._stop_on_hangup()
        serving = asyncio.create_task(self._server.serve([self._listening]))
        while not (self._server.started or serving.done()):
            await asyncio.sleep(0.005)
        self.started.set()
        while not (self._stopped.is_set() or self._server.should_exit or serving.done()):
            await asyncio.sleep(0.05)
        self._app.hub.close()  # or clients that follow would be waited for
        self._server.should_exit = True
        await serving
        if hung_up.is_set():
            raise KeyboardInterrupt

    def _stop_on_hangup(self) -> threading.Event:
        """Let a terminal or connection that goes end it, as uvicorn does with the other signals; the
        event is set then."""
        hung_up = threading.Event()
        hangup = getattr(signal, "SIGHUP", None)  # not on Windows
        here = threading.current_thread() is threading.main_thread()
        if hangup is not None and here and signal.getsignal(hangup) is not signal.SIG_IGN:

            def stop() -> None:
                hung_up.set()
                self.stop()

            asyncio.get_running_loop().add_signal_handler(hangup, stop)
        return hung_up

    def stop(self) -> None:
        """End it; of any thread, and more than once."""
        self._stopped.set()


def _sent_away(status: int) -> bytes:
    """The whole answer to what is no request of HTTP/1.1, or comes where there are too many."""
    words = {
        431: f"expected at most {MOST_HEAD:,} bytes of address and headers",
        503: "too many connections are open; try again",
    }
    body = json.dumps({"error": words.get(status, "expected a request of HTTP/1.1")}).encode()
    phrase = HTTPStatus(status).phrase
    headers = {**SECURITY, "content-type": JSON, "content-length": len(body), "connection": "close"}
    if status == 503:
        headers["retry-after"] = "5"
    head = [f"HTTP/1.1 {status} {phrase}", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*head, "", ""]).encode() + body


def _protocols(bounds: Bounds) -> tuple[Any, Any]:
    """uvicorn's protocols with our bounds, for HTTP and for WebSockets."""
    need("wsproto", "serve", _PURPOSE)
    http: Any = need("uvicorn.protocols.http.h11_impl", "serve", _PURPOSE)
    websocket: Any = need("uvicorn.protocols.websockets.wsproto_impl", "serve", _PURPOSE)
    h11: Any = need("h11", "serve", _PURPOSE)

    class Http(http.H11Protocol):  # type: ignore[misc]
        """uvicorn bounds the time between requests, but no request and no answer."""

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self.request_timer = _Timer(bounds.request, transport.abort)
            self.stuck_timer = _Timer(bounds.stuck, transport.abort)
            self.leave_timer = _Timer(_LEAVE_SECONDS, transport.abort)
            self.left = False
            if len(self.connections) > 2 * bounds.connections:
                transport.abort()
            elif len(self.connections) > bounds.connections:
                self.send_away(503)
            else:
                self.request_timer.start()

        def send_away(self, status: int) -> None:
            """Answer, and close when the client has: where it closes a connection of which bytes
            are unread, the system takes the answer back.
            """
            self.left = True
            self.request_timer.stop()
            if self.cycle is not None and not self.cycle.response_complete:
                self.cycle.disconnected = True  # what the app still says goes nowhere
                self.cycle.message_event.set()
            self.transport.write(_sent_away(status))
            self.transport.write_eof()
            self.leave_timer.start()

        def data_received(self, data: bytes) -> None:
            if not self.left:
                super().data_received(data)

        def send_400_response(self, msg: str) -> None:
            """What is no request, or has too large a head, which h11 says."""
            self.send_away(getattr(sys.exc_info()[1], "error_status_hint", 400))

        def handle_events(self) -> None:
            super().handle_events()
            if self.conn.their_state in (h11.DONE, h11.MUST_CLOSE, h11.CLOSED, h11.ERROR):
                self.request_timer.stop()

        def on_response_complete(self) -> None:
            self.request_timer.start()  # of the next one
            super().on_response_complete()

        def handle_websocket_upgrade(self, event: object) -> None:
            self.request_timer.stop()
            super().handle_websocket_upgrade(event)

        def pause_writing(self) -> None:
            super().pause_writing()
            self.stuck_timer.start()

        def resume_writing(self) -> None:
            super().resume_writing()
            self.stuck_timer.stop()

        def connection_lost(self, error: Exception | None) -> None:
            for timer in (self.request_timer, self.stuck_timer, self.leave_timer):
                timer.stop()
            super().connection_lost(error)

    class WebSocket(websocket.WSProtocol):  # type: ignore[misc]
        """As Http, for what follows its upgrade."""

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self.stuck_timer = _Timer(bounds.stuck, transport.abort)

        def pause_writing(self) -> None:
            super().pause_writing()
            self.stuck_timer.start()

        def resume_writing(self) -> None:
            super().resume_writing()
            self.stuck_timer.stop()

        def connection_lost(self, error: Exception | None) -> None:
            self.stuck_timer.stop()
            super().connection_lost(error)

    return Http, WebSocket


class _Timer:
    """Calls once, after `seconds` from `start` without `stop`."""

    def __init__(self, seconds: float, call: Callable[[], object]) -> None:
        self._seconds, self._call = seconds, call
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        self.stop()
        loop = asyncio.get_running_loop()
        self._handle = loop.call_later(self._seconds, self._call)

    def stop(self) -> None:
        if self._handle:
            self._handle.cancel()
            self._handle = None
