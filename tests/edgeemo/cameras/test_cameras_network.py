"""Network cameras against real servers on loopback.

Motion JPEG over HTTP, MPEG-TS over RTSP in TCP.
"""

import base64
import re
import socket
import socketserver
import struct
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from edgeemo.cameras.common.redact import redacted
from edgeemo.cameras.network import NetworkCamera
from edgeemo.errors import CameraError, InvalidInput
from tests.edgeemo.cameras.camera_helpers import (
    Reader,
    assert_red,
    nothing_is_left,
    red_jpeg,
    red_video,
    until,
)

SECRET = "Basic " + base64.b64encode(b"bob:sekrit").decode()


class MotionJpeg(BaseHTTPRequestHandler):
    """/mjpg without end, /short of ten pictures, /stall falls silent after ten.

    /private is for bob alone, /page no video.
    """

    def do_GET(self) -> None:
        if self.path == "/private" and self.headers.get("Authorization") != SECRET:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="camera"')
            self.end_headers()
            return
        if self.path == "/page":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"<html>a web page</html>" * 100)
            return
        self.send_response(200 if self.path in ("/mjpg", "/short", "/stall", "/private") else 404)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        self._pictures(1_000_000 if self.path in ("/mjpg", "/private") else 10)
        if self.path == "/stall":
            self.server.over.wait(60)  # type: ignore[attr-defined]

    def _pictures(self, count: int) -> None:
        data = red_jpeg()
        head = (
            f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n".encode()
        )
        try:
            for _ in range(count):
                self.wfile.write(head + data + b"\r\n")
                if self.server.over.wait(0.01):  # type: ignore[attr-defined]
                    return
        except OSError:
            pass  # the other side has closed

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def http() -> Iterator[str]:
    """host:port of the HTTP server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), MotionJpeg)
    server.over = threading.Event()  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.over.set()  # type: ignore[attr-defined]
    server.shutdown()
    server.server_close()
    thread.join()


class Rtsp(socketserver.StreamRequestHandler):
    """One MPEG-TS stream over RTP in the RTSP connection (RFC 2326, 10.12), for bob alone."""

    def handle(self) -> None:
        while request := self._request():
            method, headers = request
            number = headers.get("cseq", "0")
            if method != "OPTIONS" and headers.get("authorization") != SECRET:
                self._answer("401 Unauthorized", number, 'WWW-Authenticate: Basic realm="camera"')
            elif method == "DESCRIBE":
                body = (
                    "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\n"
                    "m=video 0 RTP/AVP 33\r\na=control:track\r\n"
                )
                self._answer(
                    "200 OK",
                    number,
                    "Content-Type: application/sdp",
                    f"Content-Length: {len(body)}",
                    body=body,
                )
            elif method == "SETUP":
                self.server.transport = headers["transport"]  # type: ignore[attr-defined]
                self._answer(
                    "200 OK", number, "Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Session: 1"
                )
            elif method == "PLAY":
                self._answer("200 OK", number, "Session: 1")
                self._play()
                return
            else:
                self._answer("200 OK", number, "Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN")

    def _request(self) -> tuple[str, dict[str, str]] | None:
        first = self.rfile.readline().decode()
        headers = {}
        while (line := self.rfile.readline().decode().strip()) and first:
            key, _, value = line.partition(":")
            headers[key.lower()] = value.strip()
        return (first.split()[0], headers) if first.strip() else None

    def _answer(self, status: str, number: str, *headers: str, body: str = "") -> None:
        self.wfile.write(
            "\r\n".join([f"RTSP/1.0 {status}", f"CSeq: {number}", *headers, "", body]).encode()
        )

    def _play(self) -> None:
        stream: bytes = self.server.stream  # type: ignore[attr-defined]
        try:
            for number, at in enumerate(range(0, len(stream), 7 * 188)):
                rtp = (
                    struct.pack(">BBHII", 0x80, 33, number & 0xFFFF, number * 900, 1)
                    + stream[at : at + 7 * 188]
                )
                self.wfile.write(struct.pack(">cBH", b"$", 0, len(rtp)) + rtp)
                if self.server.over.wait(0.002):  # type: ignore[attr-defined]
                    return
            self.server.over.wait(60)  # type: ignore[attr-defined]
        except OSError:
            pass  # the other side has closed


class RtspServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = False


@pytest.fixture
def rtsp(tmp_path: Path) -> Iterator[RtspServer]:
    with RtspServer(("127.0.0.1", 0), Rtsp) as server:
        server.stream = red_video(
            tmp_path / "red.ts", codec="mp2v", frames=500, fps=25
        ).read_bytes()  # type: ignore[attr-defined]
        server.over = threading.Event()  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.over.set()  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()


def test_a_red_http_stream_is_red_and_live(http: str) -> None:
    camera = NetworkCamera(f"http://{http}/mjpg")
    assert camera.live
    with pytest.raises(CameraError, match="is not open"):
        camera.read()
    for _ in range(2):
        begin = time.monotonic()
        camera.open()
        times = [assert_red(camera.read()).time for _ in range(5)]
        assert times == sorted(times)
        assert begin <= times[0]
        assert times[-1] <= time.monotonic()
        camera.close()
        camera.close()


def test_a_user_and_a_password_are_used_and_not_told(
    http: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    camera = NetworkCamera(f"http://bob:sekrit@{http}/private")
    assert camera.name == f"http://***@{http}/private"
    camera.open()
    assert_red(camera.read())
    camera.close()
    for url in (
        f"http://bob:sekr1t@{http}/private",
        f"http://bob:sekr1t@{http}/none",
        "http://bob:sekr1t@127.0.0.1:9/x",
    ):
        camera = NetworkCamera(url)
        with pytest.raises(CameraError) as caught:
            camera.open()
        assert "sekr1t" not in str(caught.value) + camera.name
    out, err = capfd.readouterr()
    assert "sekr" not in out + err + caplog.text


def test_a_stream_that_ends_is_an_error(http: str) -> None:
    camera = NetworkCamera(f"http://{http}/short")
    camera.open()
    with pytest.raises(
        CameraError,
        match="/short: gives no frame any more; the stream has ended, or the network is gone",
    ):
        for _ in range(100):
            assert_red(camera.read())
    camera.close()


def test_a_stream_that_falls_silent_is_an_error_and_may_be_closed_meanwhile(http: str) -> None:
    camera = NetworkCamera(f"http://{http}/stall")
    camera.open()
    with pytest.raises(CameraError, match="gives no frame any more"):
        for _ in range(100):
            camera.read()
    camera.open()
    for _ in range(10):
        camera.read()
    reader = Reader(camera)
    resource = camera._resource
    assert resource is not None
    until(lambda: resource._users == 1)
    camera.close()
    outcome = reader.outcome()
    assert isinstance(outcome, CameraError)
    assert str(outcome) == f"{camera.name} was closed"


@pytest.mark.parametrize("path", ["none", "page", "private"])
def test_who_answers_and_gives_no_video_is_told_from_who_does_not_answer(
    http: str, path: str
) -> None:
    host, port = http.split(":")
    with pytest.raises(
        CameraError,
        match=f"{path}: {host} answers on port {port} but gives no video .* check the path, user",
    ):
        NetworkCamera(f"http://{http}/{path}").open()


def test_a_port_where_nobody_listens_and_a_host_that_is_not_known_are_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        for scheme in ("http", "rtsp"):
            with pytest.raises(
                CameraError,
                match=rf"/x: no connection to 127\.0\.0\.1, port {port} \(Connection refused\)",
            ):
                NetworkCamera(f"{scheme}://127.0.0.1:{port}/x").open()
    for scheme, host in (("rtsp", "no-such-camera.invalid"), ("rtsp", "a..b"), ("http", "a..b")):
        with pytest.raises(CameraError, match=f"the host {re.escape(host)} is not known"):
            NetworkCamera(f"{scheme}://{host}/x").open()


def test_a_url_that_cannot_be_understood_says_so() -> None:
    with pytest.raises(CameraError, match="escape special characters"):
        NetworkCamera("rtsp://127.0.0.1:port/x").open()


@pytest.mark.parametrize("url", ["ftp://bob:sekrit@x/y", "file:///etc/passwd", "bob:sekrit@x"])
def test_other_urls_are_refused_without_telling_the_password(url: str) -> None:
    with pytest.raises(
        InvalidInput, match="expected a URL of rtsp://, rtsps://, http://, https://"
    ):
        NetworkCamera(url)


def test_a_red_rtsp_stream_with_a_password_is_red_and_comes_over_tcp(
    rtsp: RtspServer, capfd: pytest.CaptureFixture[str]
) -> None:
    url = f"127.0.0.1:{rtsp.server_address[1]}/live"
    camera = NetworkCamera(f"rtsp://bob:sekrit@{url}")
    camera.open()
    for _ in range(5):
        assert_red(camera.read())
    camera.close()
    assert "RTP/AVP/TCP" in rtsp.transport  # type: ignore[attr-defined]
    camera = NetworkCamera(f"rtsp://bob:wr0ng@{url}")
    with pytest.raises(
        CameraError,
        match=r"rtsp://\*\*\*@127.* gives no video .* check the path, user and password",
    ) as caught:
        camera.open()
    out, err = capfd.readouterr()
    assert "sekrit" not in out + err
    assert "wr0ng" not in out + err + str(caught.value)


def test_opening_and_closing_leaves_nothing(http: str) -> None:
    camera = NetworkCamera(f"http://{http}/mjpg")
    camera.open()
    camera.close()
    with nothing_is_left():
        for _ in range(5):
            camera.open()
            camera.close()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("rtsp://192.168.1.5/live", "rtsp://192.168.1.5/live"),
        ("rtsp://bob:pw@192.168.1.5:554/live?ch=1", "rtsp://***@192.168.1.5:554/live?ch=1"),
        ("rtsp://bob:p@ss/w:rd@host/live", "rtsp://***@host/live"),
        ("rtsp://bob@host/live", "rtsp://***@host/live"),
        ("http://cam/mjpg?user=bob&pwd=pw&res=1", "http://cam/mjpg?user=***&pwd=***&res=1"),
        ("http://cam/mjpg?access_token=abc", "http://cam/mjpg?access_token=***"),
        (
            "no stream at rtsp://bob:pw@h/x and http://a:b@c/y",
            "no stream at rtsp://***@h/x and http://***@c/y",
        ),
        (
            "rtspsrc location=rtsp://a:b@h/x user-id=bob user-pw='p w' ! x",
            "rtspsrc location=rtsp://***@h/x user-id=*** user-pw=*** ! x",
        ),
        ("srtsrc passphrase = secret latency=0", "srtsrc passphrase = *** latency=0"),
    ],
)  # fmt: skip
def test_users_and_passwords_are_redacted(text: str, shown: str) -> None:
    assert redacted(text) == shown
