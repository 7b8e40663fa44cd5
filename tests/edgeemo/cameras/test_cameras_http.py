"""JPEG over HTTP as cameras really send it: single pictures, odd streams, slow ones, Digest."""

import contextlib
import hashlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeemo.cameras import CameraOptions
from edgeemo.cameras.common.http_pictures import HttpPictures
from edgeemo.cameras.common.jpeg_stream import MOST, JpegStream
from edgeemo.cameras.network import NetworkCamera
from edgeemo.cameras.select import closed
from edgeemo.errors import CameraError
from tests.edgeemo.cameras.camera_helpers import Reader, nothing_is_left, red_jpeg, until

PARTS = "multipart/x-mixed-replace; boundary=frame"


def grey_jpeg(level: int, progressive: int = 0) -> bytes:
    """A picture of one level of grey, with a texture that fills some kilobytes."""
    picture = np.random.default_rng(level).integers(level, level + 9, (48, 64, 3)).astype(np.uint8)
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_PROGRESSIVE, progressive])
    assert done
    return bytes(data.tobytes())


def with_thumbnail(jpeg: bytes) -> bytes:
    """The picture with another, whole one in a segment of its own."""
    inner = b"Exif\0\0" + red_jpeg((8, 8))
    return jpeg[:2] + b"\xff\xe1" + (2 + len(inner)).to_bytes(2, "big") + inner + jpeg[2:]


def part(data: bytes, length: int | None = None) -> bytes:
    """A part of a stream, as it should be but for its length."""
    return b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n" % (
        len(data) if length is None else length,
        data,
    )


class OddCamera(BaseHTTPRequestHandler):
    """What the server's `answers` say for each path: pieces of bytes, and seconds to wait."""

    def do_GET(self) -> None:
        server: Any = self.server
        server.asked.append((self.path, self.headers.get("Authorization", "")))
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/jpeg")
            self.end_headers()
            return
        if self.path == "/digest" and not self._is_bob():
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Digest realm="camera", nonce="n1", qop="auth"')
            self.end_headers()
            return
        kind, pieces = server.answers[self.path]
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.end_headers()
        try:
            for piece in pieces:
                if isinstance(piece, bytes):
                    self.wfile.write(piece)
                elif server.over.wait(piece):
                    return
        except OSError:
            pass  # the other side has closed

    def _is_bob(self) -> bool:
        def md5(*words: str) -> str:
            return hashlib.md5(":".join(words).encode()).hexdigest()

        given = dict(re.findall(r'(\w+)="?([^",]+)', self.headers.get("Authorization", "")))
        secret, what = md5("bob", "camera", "se krit"), md5("GET", "/digest")
        words = [given.get(key, "") for key in ("nonce", "nc", "cnonce", "qop")]
        return given.get("response") == md5(secret, *words, what)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Any]:
    http: Any = ThreadingHTTPServer(("127.0.0.1", 0), OddCamera)
    http.over, http.asked = threading.Event(), []
    http.answers = {
        "/jpeg": ("image/jpeg", [grey_jpeg(40)]),
        "/digest": ("image/jpeg", [grey_jpeg(90)]),
        "/octets": ("application/octet-stream", [grey_jpeg(90)]),
    }
    http.url = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    yield http
    http.over.set()
    http.shutdown()
    http.server_close()
    thread.join()


def level(camera: NetworkCamera) -> int:
    """Of the next picture's grey."""
    frame = camera.read()
    assert frame is not None
    assert frame.pixels.shape == (48, 64, 3)
    return round(float(frame.pixels.mean()))


@pytest.mark.parametrize("path", ["/jpeg", "/octets", "/moved"])
def test_an_address_that_gives_one_picture_is_asked_again(server: Any, path: str) -> None:
    camera = NetworkCamera(server.url + path, fps=20)
    begin = time.monotonic()
    camera.open()
    levels = [level(camera) for _ in range(5)]
    assert time.monotonic() - begin >= 4 / 20
    camera.close()
    assert levels == [94 if path == "/octets" else 44] * 5
    assert len([one for one, _ in server.asked if one == path]) == 5
    with nothing_is_left():
        camera.open()
        camera.close()


def test_fps_says_how_often_an_address_is_asked_and_else_it_is_once_a_second() -> None:
    def interval(options: CameraOptions) -> Any:
        return closed("http://127.0.0.1/x", options)._interval  # type: ignore[attr-defined]

    assert interval(CameraOptions(fps=4, fps_asked=True)) == 0.25
    assert interval(CameraOptions()) == 1


@pytest.mark.parametrize(
    "begin",
    [
        b"",
        b"Content-Type: image/jpeg\r\n\r\n",
        b"\r\n\r\n\r\n--frame\r\n\r\n",
        b"\x00\xff\xd8garbage\xff\xff",
        part(b"<html>no picture</html>"),
        part(grey_jpeg(200)[:300]),
    ],
)
def test_a_stream_begins_as_it_likes(server: Any, begin: bytes) -> None:
    server.answers["/odd"] = (PARTS, [begin, grey_jpeg(40), 0.1, part(grey_jpeg(90)), 60])
    camera = NetworkCamera(server.url + "/odd")
    camera.open()
    assert [level(camera), level(camera)] == [44, 94]
    camera.close()


def test_wrong_lengths_thumbnails_and_broken_pictures_do_no_harm(server: Any) -> None:
    pieces = [
        part(grey_jpeg(40), length=7), 0.1,
        part(with_thumbnail(grey_jpeg(90)), length=10**9), 0.1,
        part(grey_jpeg(90)[:500]), part(grey_jpeg(140, progressive=1)), 60,
    ]  # fmt: skip
    server.answers["/odd"] = (PARTS, pieces)
    camera = NetworkCamera(server.url + "/odd")
    camera.open()
    assert [level(camera) for _ in range(3)] == [44, 94, 144]
    camera.close()


def test_of_pictures_that_came_meanwhile_the_newest_is_given(server: Any) -> None:
    levels = [40, 60, 80, 100]
    pieces = [part(grey_jpeg(40)), 0.2, b"".join(part(grey_jpeg(one)) for one in levels), 60]
    server.answers["/fast"] = (PARTS, pieces)
    camera = NetworkCamera(server.url + "/fast")
    camera.open()
    assert [level(camera), level(camera)] == [44, 104]
    camera.close()


@pytest.mark.slow
def test_a_stream_slower_than_three_seconds_a_picture_is_seen_where_stall_allows(
    server: Any,
) -> None:
    pieces = [part(grey_jpeg(40)), 3.3, part(grey_jpeg(90)), 60]
    server.answers["/slow"] = (PARTS, pieces)
    camera = closed(server.url + "/slow", CameraOptions(stall=10))
    camera.open()
    assert [level(camera), level(camera)] == [44, 94]  # type: ignore[arg-type]
    camera.close()


def test_a_stream_that_falls_silent_is_an_error_after_stall(server: Any) -> None:
    server.answers["/stall"] = (PARTS, [part(grey_jpeg(40)), 60])
    camera = NetworkCamera(server.url + "/stall", stall=0.3)
    camera.open()
    level(camera)
    begin = time.monotonic()
    with pytest.raises(CameraError, match="gives no frame any more"):
        camera.read()
    assert 0.25 < time.monotonic() - begin < 2
    camera.close()


@pytest.mark.parametrize("path", ["/stall", "/jpeg"])
def test_closing_ends_a_read_that_waits_at_once(server: Any, path: str) -> None:
    server.answers["/stall"] = (PARTS, [part(grey_jpeg(40)), 60])
    camera = NetworkCamera(server.url + path, fps=0.05, stall=30)
    camera.open()
    level(camera)
    reader = Reader(camera)
    resource = camera._resource
    assert resource is not None
    until(lambda: resource._users == 1)
    time.sleep(0.05)
    begin = time.monotonic()
    camera.close()
    assert str(reader.outcome()) == f"{camera.name} was closed"
    assert time.monotonic() - begin < 1


def test_a_digest_is_answered_and_a_password_stays_with_its_host(server: Any) -> None:
    camera = NetworkCamera(server.url.replace("//", "//bob:se%20krit@") + "/digest", fps=20)
    camera.open()
    assert [level(camera), level(camera)] == [94, 94]
    camera.close()
    assert all("krit" not in given for _, given in server.asked)
    camera = NetworkCamera(server.url.replace("//", "//bob:other@") + "/digest")
    with pytest.raises(CameraError, match=r"gives no video \(401 Unauthorized\); check the path"):
        camera.open()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from([10, 90, 170]), st.integers(0, 1), st.booleans()), max_size=4
    ),
    st.lists(st.binary(max_size=40).filter(lambda data: b"\xff" not in data), min_size=5),
    st.integers(1, 5000),
)
def test_pictures_come_out_as_they_went_in(
    made: list[tuple[int, int, bool]], between: list[bytes], step: int
) -> None:
    pictures = [
        with_thumbnail(grey_jpeg(shade, progressive)) if inner else grey_jpeg(shade, progressive)
        for shade, progressive, inner in made
    ]
    data = b"".join(gap + picture for gap, picture in zip(between, [*pictures, b""], strict=False))
    stream, out = JpegStream(), []
    for at in range(0, len(data), step):
        stream.add(data[at : at + step])
        while (picture := stream.next()) is not None:
            out.append(picture)
    assert out == pictures


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 600), st.integers(0, 255))
def test_a_broken_picture_costs_no_more_than_its_claimed_length(
    garbage: bytes, at: int, byte: int
) -> None:
    broken = bytearray(grey_jpeg(90))
    broken[at] = byte
    whole = grey_jpeg(10)
    stream = JpegStream()
    # A segment claims 65,535 bytes at most, garbage may bring two of them.
    count = 3 * 65_536 // len(whole)
    stream.add(garbage + bytes(broken) + (b"\r\n--frame\r\n" + whole) * count)
    out = []
    while (picture := stream.next()) is not None:
        out.append(picture)
    assert out[-1] == whole


def test_a_picture_without_an_end_is_given_up() -> None:
    stream = JpegStream()
    stream.add(grey_jpeg(90)[:-2] + bytes(MOST))
    assert stream.next() is None
    stream.add(red_jpeg())
    assert stream.next() == red_jpeg()


def test_nobody_at_the_address_is_told_as_before() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/jpeg"
        with pytest.raises(CameraError, match=r"no connection to 127\.0\.0\.1, port \d+"):
            NetworkCamera(url).open()


def bad_answer(kind: str, connection: socket.socket) -> None:
    """An answer that is never a picture, and in half of the cases never ends."""
    connection.recv(4096)
    if kind in ("empty", "half"):
        body = b"" if kind == "empty" else grey_jpeg(9)[:900]
        head = b"HTTP/1.0 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n"
        connection.sendall(head % len(body) + body)
        return
    if kind == "headers":
        connection.sendall(b"HTTP/1.0 200 OK\r\n")
    while True:
        connection.sendall(b"X: y\r\n" if kind == "headers" else b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.1)


@pytest.mark.parametrize("kind", ["empty", "half", "headers", "continue"])
def test_an_answer_that_never_is_a_picture_ends_in_time(kind: str) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            bad_answer(kind, connection)

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection = listener.accept()[0]
                threading.Thread(target=answer, args=(connection,), daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    began = time.monotonic()
    with pytest.raises(OSError, match=r"no (picture for|whole answer within) 0\.5 s"):
        HttpPictures(
            f"http://127.0.0.1:{listener.getsockname()[1]}/",
            "camera",
            interval=0.2,
            opening=0.5,
            patience=0.4,
        ).read()
    assert 0.4 <= time.monotonic() - began < 3
    listener.close()


def test_a_compressed_answer_is_named() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection = listener.accept()[0]
        connection.recv(4096)
        connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b")
        connection.close()

    threading.Thread(target=serve, daemon=True).start()
    camera = NetworkCamera(f"http://127.0.0.1:{listener.getsockname()[1]}/")
    with pytest.raises(CameraError, match="compressed, Content-Encoding 'gzip'"):
        camera.open()
    listener.close()
