"""A real server on a free port of loopback, over a sensor of the public fakes."""

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo import EmotionSensor, FakeBackend, FakeCamera, Recognizer
from edgeemo.errors import CameraError
from edgeemo.live.options import SensorOptions
from edgeemo.serve.server import Bounds, listen
from edgeemo.serve.service import Service, Settings

PATIENCE = 10.0
FRAME = np.full((96, 128, 3), 90, np.uint8)


@dataclass
class Scene:
    """What a camera shows, until it is told otherwise."""

    backend: FakeBackend = field(default_factory=lambda: FakeBackend(happy=0.9))
    """Its answers."""
    lost: threading.Event = field(default_factory=threading.Event)
    """While it is set, the camera is gone."""
    fps: float = 30.0
    """Frames a second."""
    model: str | None = None
    """A bundle that answers in the backend's place."""

    def frames(self) -> Iterator[NDArray[np.uint8] | CameraError]:
        number = 0
        while True:
            number += 1
            if self.lost.is_set():
                yield CameraError("fake: the plug is out")
            frame = FRAME.copy()
            frame[:8, :8] = number % 256
            yield frame

    @contextlib.contextmanager
    def sensor(self) -> Iterator[EmotionSensor]:
        camera = FakeCamera(self.frames(), live=True, fps=self.fps)
        options = SensorOptions(smoothing=False)
        opened = (
            Recognizer(self.model, detector="whole")
            if self.model
            else Recognizer(backend=self.backend, detector="whole")
        )
        with (
            opened as recognizer,
            EmotionSensor(camera, recognizer=recognizer, options=options) as sensor,
        ):
            yield sensor


@dataclass
class Server:
    """A server that runs, and how it is asked."""

    port: int
    """It listens on."""
    service: Service
    """What runs."""
    thread: threading.Thread
    """In which it does."""

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def ask(
        self, path: str, method: str = "GET", body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer; a header's _ stands for its -."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with contextlib.closing(link):
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            link.request(method, path, body, named)
            answer = link.getresponse()
            head = {name.lower(): value for name, value in answer.getheaders()}
            endless = head.get("content-type", "").startswith(("text/event", "multipart/x"))
            return answer.status, head, b"" if endless else answer.read()

    def json(self, path: str) -> Any:
        return json.loads(self.ask(path)[2])

    def events(self, path: str = "/api/events", **headers: str) -> Iterator[dict[str, Any]]:
        """Fields of server-sent events, as they come; closing the iterator closes the
        connection."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with contextlib.closing(link):
            link.request("GET", path, headers={k.replace("_", "-"): v for k, v in headers.items()})
            answer = link.getresponse()
            assert answer.status == 200, answer.read()
            fields: dict[str, Any] = {}
            for line in answer:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name:
                    fields[name] = json.loads(value) if name == "data" else value
                elif fields:
                    yield fields
                    fields = {}


def wait_until(true: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Return once it is true; fail after so many seconds."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.01)


@contextlib.contextmanager
def serving(
    scene: Scene | None = None,
    settings: Settings | None = None,
    *,
    port: int = 0,
    bounds: Bounds | None = None,
    **more: Any,
) -> Iterator[Server]:
    """A server that has read a frame."""
    settings = settings or Settings()
    with (scene or Scene()).sensor() as sensor, listen("127.0.0.1", port) as listening:
        service = Service(sensor, listening, settings, bounds=bounds or Bounds(), **more)
        thread = threading.Thread(target=service.run, daemon=True)
        server = Server(listening.getsockname()[1], service, thread)
        thread.start()
        try:
            wait_until(lambda: service.hub.reading)
            yield server
        finally:
            service.stop()
            thread.join(PATIENCE)
            assert not thread.is_alive()
