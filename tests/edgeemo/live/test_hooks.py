"""What events call: addresses of a real HTTP server, and real programs."""

import contextlib
import json
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeemo import EmotionSensor, FakeBackend, FakeCamera, Recognizer
from edgeemo.contract.labels import LABELS
from edgeemo.errors import InvalidInput, UnknownLabel
from edgeemo.live.hooks import Hook, Hooks, Rule, parse_rule
from edgeemo.live.options import SensorOptions
from edgeemo.results import Box, Reading
from tests.support import READING_KEYS

PATIENCE = 15.0
SCORES = {label: 0.9 if label == "happy" else 0.1 / 6 for label in LABELS}


def reading(frame: int = 0) -> Reading:
    return Reading(0.0, frame, 1, "happy", 0.9, SCORES, Box(1, 2, 3, 4))


def until(true: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.01)


@dataclass
class Shop:
    """A server that answers as it is told, and keeps what came."""

    url: str = ""
    status: int = 200
    posts: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)


@pytest.fixture
def shop() -> Iterator[Shop]:
    told = Shop()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            told.posts.append((self.path, self.headers["Content-Type"], json.loads(body)))
            self.send_response(told.status)
            if told.status == 302:
                self.send_header("Location", f"{told.url}/elsewhere")
            self.end_headers()

        def do_GET(self) -> None:
            told.posts.append((self.path, "GET", {}))

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        told.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield told
        server.shutdown()


def program(code: str, *arguments: object) -> str:
    return shlex.join([sys.executable, "-c", code, *map(str, arguments)])


@contextlib.contextmanager
def hooked(rule: Rule, every: float = 0.0, patience: float = 2.0) -> Iterator[Hook]:
    hook = Hook(rule, every, patience=patience)
    with contextlib.closing(hook):
        yield hook


def test_address_gets_the_reading_as_json(shop: Shop) -> None:
    with hooked(parse_rule(f"happy={shop.url}/smile?x=1")) as hook:
        hook(reading(3))
        until(lambda: shop.posts)
        path, kind, body = shop.posts[0]
        assert (path, kind, body["frame"]) == ("/smile?x=1", "application/json", 3)
        assert list(body) == READING_KEYS
        until(lambda: hook.called.calls == 1)
        assert hook.called.failures == 0


def test_failures_are_counted_and_told_without_the_address(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    for status, failures in {500: 1, 302: 1, 204: 0}.items():
        shop.status = status
        with hooked(parse_rule(f"happy={shop.url}/secret")) as hook:
            hook(reading())
            until(lambda: len(shop.posts) == [500, 302, 204].index(shop.status) + 1)
            time.sleep(0.1)
            assert (hook.called.calls, hook.called.failures) == (1, failures)
    assert [path for path, _, _ in shop.posts] == ["/secret"] * 3  # a redirect is not followed
    with hooked(parse_rule("happy=http://127.0.0.1:9/secret")) as hook:
        hook(reading())
        until(lambda: hook.called.failures == 1)
    assert "HTTP 500" in caplog.text
    assert "HTTP 302" in caplog.text
    assert "secret" not in caplog.text


def test_only_the_newest_is_told_and_not_too_often(shop: Shop) -> None:
    with hooked(parse_rule(f"happy={shop.url}"), every=0.3) as hook:
        begun = time.monotonic()
        hook(reading(0))
        until(lambda: shop.posts)
        for frame in range(1, 20):
            hook(reading(frame))
        until(lambda: len(shop.posts) == 2)
        assert time.monotonic() - begun >= 0.3
        assert [body["frame"] for _, _, body in shop.posts] == [0, 19]
        assert hook.called.passed_over == 18
        assert hook.called.calls == 2


def test_program_gets_the_reading_and_no_shell_sees_it(tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = (
        "import os, sys; open(sys.argv[1], 'w').write(repr((sys.argv[2:], sys.stdin.read(),"
        " os.environ['EDGEEMO_EMOTION'], os.environ['EDGEEMO_EVENT'])))"
    )
    with hooked(parse_rule(f"happy={program(code, out)} '$(touch x)' ; rm *")) as hook:
        hook(reading(5))
        until(lambda: out.exists() and out.read_text())
        words, text, emotion, event = eval(out.read_text())
        assert words == ["$(touch x)", ";", "rm", "*"]
        assert json.loads(text)["frame"] == 5
        assert (emotion, event) == ("happy", "happy")


def test_program_that_fails_is_counted_and_one_that_runs_is_ended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with hooked(parse_rule(f"happy={program('import sys; sys.exit(3)')}")) as hook:
        hook(reading())
        until(lambda: hook.called.failures == 1)
    assert "exit code 3" in caplog.text
    running = tmp_path / "running"
    code = "import sys, time; open(sys.argv[1], 'w').write('x'); time.sleep(60)"
    begun = time.monotonic()
    with hooked(parse_rule(f"happy={program(code, running)}"), patience=0.1) as hook:
        hook(reading())
        until(running.exists)
    assert time.monotonic() - begun < 5
    assert not hook._thread.is_alive()


def test_what_waits_at_the_end_is_told(shop: Shop) -> None:
    with hooked(parse_rule(f"happy={shop.url}"), every=60.0) as hook:
        hook(reading(1))
        until(lambda: shop.posts)
        hook(reading(2))
    assert [body["frame"] for _, _, body in shop.posts] == [1, 2]


def test_events_of_a_sensor_call_their_hooks(shop: Shop) -> None:
    backend = FakeBackend(happy=0.9)
    words = ["joy=URL/a", "happy=URL/b", "sad=URL/c", "changed=URL/d"]
    rules = [parse_rule(word.replace("URL", shop.url)) for word in words]

    def frames() -> Iterator[Any]:
        for number in range(100_000):
            backend.say(**{"sad" if number % 10 < 5 else "happy": 0.9})
            yield np.full((64, 64, 3), number % 256, np.uint8)

    with (
        Recognizer(backend=backend, detector="whole") as recognizer,
        EmotionSensor(
            FakeCamera(frames(), live=True, fps=50),
            recognizer=recognizer,
            options=SensorOptions(smoothing=False),
        ) as sensor,
        Hooks(sensor, rules, every=0.0) as hooks,
    ):
        until(lambda: len({path for path, _, _ in shop.posts}) == 4)
        assert len(hooks.hooks) == 4
    emotions = {path: {body["emotion"] for where, _, body in shop.posts if where == path}
                for path in ("/a", "/b", "/c", "/d")}  # fmt: skip
    assert emotions == {"/a": {"happy"}, "/b": {"happy"}, "/c": {"sad"}, "/d": {"happy", "sad"}}


def test_an_event_that_no_label_is_is_refused() -> None:
    with Recognizer(backend=FakeBackend(), detector="whole") as recognizer:
        camera = FakeCamera([], live=True)
        with EmotionSensor(camera, recognizer=recognizer) as sensor:
            hooks = Hooks(sensor, [parse_rule("happy=http://x"), parse_rule("bored=http://x")])
            with pytest.raises(UnknownLabel, match="bored"), hooks:
                pass
            assert hooks.hooks == []


def test_rules_are_read() -> None:
    assert parse_rule("happy=http://shop/smile?a=b") == Rule("happy", "http://shop/smile?a=b")
    assert parse_rule("no-face = sh -c 'echo $1'") == Rule("no-face", "", ("sh", "-c", "echo $1"))
    for wrong in ("happy", "=x", "happy=", "happy=ftp://x", "happy=file:///etc/passwd",
                  "happy=http://", "happy=http://x y", "happy=sh 'open",
                  "happy=no-such-program-here", "happy=''",
                  "happy=http://a..b/"):  # fmt: skip
        with pytest.raises(InvalidInput):
            parse_rule(wrong)
