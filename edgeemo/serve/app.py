"""The server's answers, an ASGI application: doors first, then the table of routes."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.data.pictures import MAX_PIXELS_OF_MANY, decode_picture, pixel_bound
from edgeemo.data.with_pillow import jpeg
from edgeemo.drawing import annotate
from edgeemo.errors import PictureError
from edgeemo.live.health import Health, State
from edgeemo.recognizer import Recognizer
from edgeemo.results import Reading, prediction
from edgeemo.serve import metrics
from edgeemo.serve.doors import Doors
from edgeemo.serve.hub import Hub
from edgeemo.serve.metrics import Metric
from edgeemo.serve.page import Page
from edgeemo.serve.picture import MOST_BODY, is_served, picture_in
from edgeemo.serve.request import Receive, Refusal, Request, Scope, Send
from edgeemo.serve.routes import EVENTS, HTML, MJPEG, ROUTES, Route, openapi

RETRY_MS = 1000
"""After which a browser asks for events again."""
_QUIET = 15.0  # seconds without an event after which a line of comment shows that all is well
_BODY_SECONDS = 30.0
_MOST_PREDICTIONS = 4  # that run or wait
_MOST_STREAMS = 4
_QUALITY = 80  # of JPEGs
_HEALTH_AGE = 0.25  # seconds that what the sensor said of its health may be old


@dataclass(frozen=True)
class Served:
    """What one server serves."""

    health: Callable[[], Health]
    """How the sensor does."""
    recognizer: Recognizer
    """The sensor's; of it the model is told."""
    predictor: Callable[[], Recognizer]
    """Opens the recognizer of pictures that are sent: its detector finds smaller faces too, and its
    locks make no sensor wait. Called once, when the first picture comes."""
    others: Callable[[], Iterable[Metric]] = tuple
    """More figures for /metrics."""


class App:
    """Answers every request of one server.

    Args:
        served: the sensor and its model.
        hub: where readings come from.
        doors: who may ask.
        page: what a person sees.
        show_frames: whether frames may be seen.
        language: in which the usual labels are named in frames.

    Raises:
        MissingDependency: they may, and Pillow, which draws them, is not installed.
    """

    def __init__(
        self,
        served: Served,
        hub: Hub,
        doors: Doors,
        page: Page,
        *,
        show_frames: bool = False,
        language: str = "en",
    ) -> None:
        self.hub, self.doors = hub, doors
        self._served, self._page, self._show_frames = served, page, show_frames
        self._language = language
        if show_frames:
            # What is missing shows now rather than at the first request.
            _draw(np.zeros((1, 1, 3), np.uint8), (), language)
        self.served = {route.path: route for route in ROUTES if show_frames or not route.frames}
        """The routes that there are, by path."""
        self._handlers: dict[str, Callable[[Request], Awaitable[None]]] = {
            route.path: getattr(self, f"_serve_{route.name}") for route in self.served.values()
        }
        self._health_now: tuple[float, Health] | None = None
        self._predictor: Recognizer | None = None
        self._predicting, self._drawing = asyncio.Lock(), asyncio.Lock()
        self._predictions = self._streams = 0
        self._jpeg: tuple[int, bytes] = (0, b"")
        self.predicted = 0
        """Pictures that were looked at."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One connection's request, or the server's start and end."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        request = Request(scope, receive, send)
        try:
            await self._dispatch(request)
        except Refusal as refusal:
            await request.answer_json({"error": refusal.text}, refusal.status, refusal.headers)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self.hub.open()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._predictor:
            self._predictor.close()
        await send({"type": "lifespan.shutdown.complete"})

    async def _dispatch(self, request: Request) -> None:
        if request.path == "/" and "link" in request.query and request.method == "GET":
            headers = self.doors.enter(request, request.query["link"])
            await request.answer(303, b"", "text/plain", headers)
            return
        self.doors.check(request)
        route = self.served.get(request.path)
        if route is None:
            hidden = any(request.path == route.path for route in ROUTES)
            why = "frames are not shown; start edgeemo serve with --show-frames" if hidden else ""
            raise Refusal(404, why or "no such address; /openapi.json lists those that there are")
        if request.method == "OPTIONS":
            await request.answer(200, b"", "text/plain", _preflight(route))
            return
        if request.method not in route.methods:
            allowed = ", ".join([*route.methods, "OPTIONS"])
            raise Refusal(405, f"expected {allowed}", {"allow": allowed})
        if request.websocket and route.content_type:
            raise Refusal(404, "no WebSocket here; /api/ws is one")
        await self._handlers[request.path](request)

    async def _serve_page(self, request: Request) -> None:
        language = request.query.get("lang", "")
        body = self._page.html(language)
        headers = {"content-security-policy": self._page.policy}
        await request.answer(200, body, HTML, headers)

    async def _serve_state(self, request: Request) -> None:
        reading = self.hub.reading
        if reading is None:
            raise Refusal(503, "no frame has been read yet", {"retry-after": "1"})
        await request.answer_json(reading.to_dict())

    async def _serve_events(self, request: Request) -> None:
        after = request.headers.get("last-event-id", "")
        with self.hub.following(changes=_wants_changes(request), after=after) as client:
            await request.start(200, EVENTS, {"x-accel-buffering": "no"})
            await request.more(b"retry: %d\n\n" % RETRY_MS)
            async with _until_gone(request, client.end):
                while not (client.over or client.slow):
                    event = await client.next(_QUIET)
                    if event:
                        line = f"id: {event.id}\ndata: {event.text}\n\n"
                        await request.more(line.encode())
                        self.hub.counts.sent += 1
                    elif not client.over:
                        await request.more(b":\n\n")
            await request.more(b"", last=True)

    async def _serve_ws(self, request: Request) -> None:
        if not request.websocket:
            raise Refusal(426, "expected a WebSocket", {"upgrade": "websocket"})
        with self.hub.following(changes=_wants_changes(request)) as client:
            await request.accept()
            async with _until_gone(request, client.end) as gone:
                while not (client.over or client.slow):
                    event = await client.next(_QUIET)
                    if event:
                        await request.text(event.text)
                        self.hub.counts.sent += 1
                if not gone.done():
                    await request.hang_up(1013 if client.slow else 1001)

    async def _serve_health(self, request: Request) -> None:
        health = self.health()
        status = 200 if health.state is State.RUNNING else 503
        await request.answer_json(health.to_dict(), status)

    async def _serve_model(self, request: Request) -> None:
        recognizer = self._served.recognizer
        bundle = recognizer.bundle
        manifest: dict[str, Any] = (
            asdict(bundle.manifest) if bundle else {"labels": list(recognizer.labels)}
        )
        await request.answer_json(manifest)

    async def _serve_openapi(self, request: Request) -> None:
        document = openapi(frames=self._show_frames, token=self.doors.wants_token)
        await request.answer_json(document)

    async def _serve_metrics(self, request: Request) -> None:
        counts = self.hub.counts
        own = [
            Metric("events_total", "Readings that were told.", counts.events),
            Metric("events_sent_total", "Events handed to clients.", counts.sent),
            Metric("clients", "Clients that follow events now.", self.hub.following_now),
            Metric("clients_total", "Clients that have followed events.", counts.clients),
            Metric("clients_slow_total", "Clients dropped for being slow.", counts.slow),
            Metric("clients_refused_total", "Clients refused, for too many.", counts.refused),
            Metric("streams", "Clients that see frames now.", self._streams),
            Metric("predictions_total", "Pictures that were looked at.", self.predicted),
        ]
        body = metrics.text(self.health(), self.hub.reading, [*own, *self._served.others()])
        await request.answer(200, body.encode(), metrics.CONTENT_TYPE)

    async def _serve_predict(self, request: Request) -> None:
        header = request.headers.get("content-type", "")
        if not is_served(header):
            raise Refusal(415, "expected multipart/form-data, application/json or image/...")
        if self._predictions >= _MOST_PREDICTIONS:
            raise Refusal(503, "other pictures are looked at; try again", {"retry-after": "1"})
        self._predictions += 1
        try:
            name, data = picture_in(header, await request.body(MOST_BODY, _BODY_SECONDS))
            async with self._predicting:
                answer = await asyncio.to_thread(self._predicted, name, data)
        except PictureError as error:
            raise Refusal(422, str(error)) from None
        finally:
            self._predictions -= 1
        self.predicted += 1
        await request.answer_json(answer)

    def _predicted(self, name: str, data: bytes) -> dict[str, Any]:
        if self._predictor is None:
            self._predictor = self._served.predictor()
        frame = decode_picture(data, name, pixel_bound(MAX_PIXELS_OF_MANY))
        return prediction(name, self._predictor.predict(frame))

    async def _serve_frame(self, request: Request) -> None:
        picture = await self._drawn()
        if picture is None:
            raise Refusal(503, "there is no frame now", {"retry-after": "1"})
        await request.answer(200, picture, "image/jpeg")

    async def _serve_stream(self, request: Request) -> None:
        if self._streams >= _MOST_STREAMS:
            raise Refusal(503, f"{_MOST_STREAMS} look already", {"retry-after": "5"})
        self._streams += 1
        try:
            await request.start(200, MJPEG)
            over = asyncio.Event()
            async with _until_gone(request, over.set):
                await self._send_frames(request, over)
            await request.more(b"--frame--\r\n", last=True)
        finally:
            self._streams -= 1

    async def _send_frames(self, request: Request, over: asyncio.Event) -> None:
        """Each newest frame, once it is there and the client has taken the one before."""
        number = 0
        while not (over.is_set() or self.hub.over):
            newest = await self.hub.next_frame(number, 1.0)
            picture = await self._drawn() if newest else None
            if newest and picture:
                number = newest
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}"
                await request.more(head.encode() + b"\r\n\r\n" + picture + b"\r\n")

    async def _drawn(self) -> bytes | None:
        """The newest frame with its boxes as a JPEG, made once for all; None without a frame."""
        async with self._drawing:
            newest = self.hub.frame
            if newest is None:
                return None
            number, frame, readings = newest
            if self._jpeg[0] != number:
                drawn = asyncio.to_thread(_draw, frame.pixels, readings, self._language)
                self._jpeg = (number, await drawn)
            return self._jpeg[1]

    def health(self) -> Health:
        """How the sensor does; asked at most a few times a second, whoever asks."""
        now = time.monotonic()
        if self._health_now is None or now - self._health_now[0] > _HEALTH_AGE:
            self._health_now = (now, self._served.health())
        return self._health_now[1]


def _draw(pixels: NDArray[np.uint8], readings: Sequence[Reading], language: str) -> bytes:
    return jpeg(annotate(pixels, readings, language), _QUALITY)


def _wants_changes(request: Request) -> bool:
    return request.query.get("changes", "") in ("1", "true")


@asynccontextmanager
async def _until_gone(
    request: Request, call: Callable[[], object]
) -> AsyncIterator["asyncio.Task[None]"]:
    """While inside, `call` is called when the client goes; the task is done then."""
    gone = asyncio.create_task(request.gone())
    gone.add_done_callback(lambda _: call())
    try:
        yield gone
    finally:
        gone.cancel()


def _preflight(route: Route) -> dict[str, str]:
    """What a browser asks before a page of another site may ask; without its origin in the answer,
    which the doors give, it means nothing."""
    methods = ", ".join([*route.methods, "OPTIONS"])
    return {
        "allow": methods,
        "access-control-allow-methods": methods,
        "access-control-allow-headers": "authorization, content-type, last-event-id",
        "access-control-max-age": "600",
    }
