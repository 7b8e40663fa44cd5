"""One sensor served: its readings go to the page, the API and whoever else follows."""

import logging
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from edgeemo.live.readings_queue import Seen
from edgeemo.live.sensor import EmotionSensor
from edgeemo.recognizer import Recognizer
from edgeemo.serve.app import App, Served
from edgeemo.serve.doors import Doors
from edgeemo.serve.hub import Hub
from edgeemo.serve.metrics import Metric
from edgeemo.serve.page import Page
from edgeemo.serve.server import Bounds, Server

log = logging.getLogger("edgeemo.serve")


@dataclass(frozen=True)
class Settings:
    """What may be seen, and by whom."""

    host: str = "127.0.0.1"
    """That the socket listens on."""
    token: str = ""
    """That clients have to show; "": none."""
    origins: Sequence[str] = ()
    """Other sites whose pages may ask."""
    show_frames: bool = False
    """Whether frames may be seen."""
    language: str = "en"
    """The page's, and that of labels in frames."""
    retain: float = 0.0
    """Seconds that readings are kept in memory."""


class Service:
    """A sensor, served on a socket until `stop`, a signal, or what ends the sensor with a failure.

    Args:
        sensor: opened; stays the caller's, who closes it.
        listening: as from edgeemo.serve.server.listen.
        settings: see Settings.
        predictor: opens the recognizer of pictures that are sent.
        followers: called with each frame's readings on a thread of its own, in turn: quick ones.
        others: give more figures for /metrics.
        bounds: of what a client may take.

    Raises:
        MissingDependency: the extra `serve`, or Pillow for frames, is not installed.
        InvalidInput: an origin that is none.
    """

    def __init__(
        self,
        sensor: EmotionSensor,
        listening: socket.socket,
        settings: Settings = Settings(),
        *,
        predictor: Callable[[], Recognizer] | None = None,
        followers: Sequence[Callable[[Seen], None]] = (),
        others: Sequence[Callable[[], Iterable[Metric]]] = (),
        bounds: Bounds = Bounds(),  # noqa: B008 - frozen
    ) -> None:
        self.hub = Hub(frames=settings.show_frames, retain=settings.retain)
        self.doors = Doors(settings.host, settings.origins, settings.token)
        served = Served(
            sensor.health,
            sensor.recognizer,
            predictor or (lambda: sensor.recognizer),
            lambda: chain(self._figures(), *(other() for other in others)),
        )
        frames, language = settings.show_frames, settings.language
        page = Page(sensor.labels, language=language, show_frames=frames)
        self.app = App(served, self.hub, self.doors, page, show_frames=frames, language=language)
        self.server = Server(self.app, listening, bounds)
        self._sensor, self._followers = sensor, tuple(followers)
        self._failure: BaseException | None = None

    def run(self) -> None:
        """Serve. The sensor is closed at the end, so that its thread ends first.

        Raises:
            KeyboardInterrupt: a signal ended it.
            EdgeemoError: what ended the sensor, or whatever a handler raised.
        """
        reader = threading.Thread(target=self._read, name="edgeemo-serve", daemon=True)
        reader.start()
        try:
            self.server.run()
        finally:
            self.server.stop()
            self._sensor.close()
            reader.join(10.0)
        if self._failure:
            raise self._failure

    def stop(self) -> None:
        """End `run`, of any thread."""
        self.server.stop()

    def _read(self) -> None:
        try:
            self.server.started.wait()
            for seen in self._sensor.observations():
                self.hub.tell(seen)
                for follow in self._followers:
                    follow(seen)
        except BaseException as error:  # whatever ended the sensor
            self._failure = error
            self.server.stop()
        else:
            log.info("the recording is over, or the sensor was closed; the page stays")

    def _figures(self) -> Iterable[Metric]:
        yield Metric("connections", "Connections that are open now.", self.server.connections)
