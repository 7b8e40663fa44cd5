"""How soon a reading is on the page, and how many frames a second a client sees.

python -m benchmarks.serve [--seconds 20]

A camera of drawn frames, 640x480 at 30 a second, with the shipped model and the detector `whole`,
is served; one real browser (Debian's Chromium without a screen) shows the page, and one client
reads the motion JPEG. Of each reading that the page has drawn the time since its frame's capture is
taken, by the same clock. Prints a JSON line; exit code 1 where p95 is over 100 ms or the stream
under 15 frames a second.
"""

import itertools
import json
import socket
import sys
import threading
import time
from collections.abc import Iterator

import click
import numpy as np
from numpy.typing import NDArray

from edgeemo import EmotionSensor, FakeCamera, Recognizer
from edgeemo.cli.bench import machine
from edgeemo.cli.shell import say
from edgeemo.serve.server import listen
from edgeemo.serve.service import Service, Settings
from tests.edgeemo.serve.browser import Tab, browsing

MOST_MS = 100.0
LEAST_FPS = 15.0
# When the page has drawn a reading it writes the reading's time; this notes how long ago that was.
_NOTE = """
window.taken = [];
new MutationObserver(() => window.taken.push(Date.now() - 1000 * document.body.dataset.time))
    .observe(document.body, {attributeFilter: ["data-time"]});
"""


@click.command()
@click.option("--seconds", default=20.0, help="How long each part is measured.")
def main(seconds: float) -> None:
    """Measure both, one after the other and at a time."""
    camera = FakeCamera(_frames(), live=True, fps=30)
    with (
        Recognizer(detector="whole") as recognizer,
        EmotionSensor(camera, recognizer=recognizer) as sensor,
        listen("127.0.0.1", 0) as listening,
    ):
        service = Service(sensor, listening, Settings(show_frames=True))
        serving = threading.Thread(target=service.run)
        serving.start()
        try:
            port = listening.getsockname()[1]
            alone = _stream(port, seconds)
            with browsing() as tab:
                page = _page(tab, port, seconds)
                both = _stream(port, seconds)
        finally:
            service.stop()
            serving.join()
    result = {
        "page_ms": {f"p{q}": round(float(np.percentile(page, q)), 1) for q in (50, 95, 99)},
        "page_readings": len(page),
        "stream_fps": round(alone, 1),
        "stream_fps_beside_the_page": round(both, 1),
        "machine": machine(),
    }
    say(json.dumps(result))
    sys.exit(int(np.percentile(page, 95) > MOST_MS or min(alone, both) < LEAST_FPS))


def _frames() -> Iterator[NDArray[np.uint8]]:
    """Noise that moves, so that no JPEG is cheaper than a camera's."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (60, 80, 3)).astype(np.uint8)
    whole = np.kron(coarse, np.ones((8, 8, 1), np.uint8))
    for number in itertools.count():
        yield np.roll(whole, 4 * number, axis=1)


def _page(tab: Tab, port: int, seconds: float) -> list[float]:
    """Milliseconds from each frame's capture to its reading on the page."""
    tab.open(f"http://127.0.0.1:{port}/")
    tab.until("document.body.dataset.time")
    time.sleep(2)
    tab.value(_NOTE + "0")
    time.sleep(seconds)
    return [float(taken) for taken in tab.value("window.taken")]


def _stream(port: int, seconds: float) -> float:
    """Frames a second that one client gets."""
    parts, data = 0, b""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as client:
        client.sendall(b"GET /api/stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            data = data[-20:] + client.recv(1 << 16)
            parts += data.count(b"--frame\r\n")
            data = data[data.rfind(b"--frame\r\n") + 5 :] if b"--frame\r\n" in data else data
        return parts / (time.monotonic() - begun)


if __name__ == "__main__":
    main()
