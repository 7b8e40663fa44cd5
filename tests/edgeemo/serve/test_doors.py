"""Each route behind each door: the table of docs/serve.md, row by row."""

import base64
import contextlib
import http.client
import json
import re
import socket
import time
from collections.abc import Iterator

import pytest

from edgeemo.errors import InvalidInput
from edgeemo.serve.doors import Doors, is_loopback, parse_origin
from edgeemo.serve.picture import MOST_BYTES
from edgeemo.serve.request import Refusal, Request
from edgeemo.serve.routes import ROUTES, Route
from edgeemo.serve.server import Bounds
from edgeemo.serve.service import Settings
from tests.edgeemo.serve.serving import Server, serving, wait_until
from tests.support import REPOSITORY, png_of

TOKEN = "a-token-of-25-characters."
PATHS = [route.path for route in ROUTES]
BY_PATH = {route.path: route for route in ROUTES}
UPGRADE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec_WebSocket_Version": "13",
    "Sec_WebSocket_Key": base64.b64encode(bytes(16)).decode(),
}


@pytest.fixture(scope="module")
def open_server() -> Iterator[Server]:
    """Without a token, as on loopback."""
    with serving(settings=Settings(show_frames=True)) as server:
        yield server


@pytest.fixture(scope="module")
def closed_server() -> Iterator[Server]:
    """With a token."""
    with serving(settings=Settings(token=TOKEN, show_frames=True)) as server:
        yield server


def asked(server: Server, path: str, **headers: str) -> int:
    """The status of a request that would be served, but for these headers."""
    route = BY_PATH[path]
    body = png_of(32, 32) if route.method == "POST" else None
    usual = {"Content_Type": "image/png"} if body else {}
    usual |= UPGRADE if path == "/api/ws" else {}
    return server.ask(path, route.method, body, **usual, **headers)[0]


def good(route: Route) -> int:
    return 101 if route.path == "/api/ws" else 200


@pytest.mark.parametrize("path", PATHS)
def test_a_right_request_is_served(open_server: Server, path: str) -> None:
    assert asked(open_server, path) == good(BY_PATH[path])
    assert asked(open_server, path, Origin=f"http://{open_server.host}") == good(BY_PATH[path])
    assert asked(open_server, path, Host="localhost") == good(BY_PATH[path])
    assert asked(open_server, path, Sec_Fetch_Site="same-origin") == good(BY_PATH[path])


@pytest.mark.parametrize("path", PATHS)
def test_a_host_that_is_not_ours_gets_421(open_server: Server, path: str) -> None:
    for host in ("evil.example", f"evil.example:{open_server.port}", "192.168.1.7", "a b", ""):
        assert asked(open_server, path, Host=host) in (421, 400 if not host.strip("a b") else 421)


@pytest.mark.parametrize("path", PATHS)
def test_a_page_of_another_site_gets_403(open_server: Server, path: str) -> None:
    for origin in (
        "http://evil.example",
        "null",
        "http://127.0.0.1",
        f"https://{open_server.host}",
    ):
        assert asked(open_server, path, Origin=origin) == 403
    for site in ("cross-site", "same-site"):
        assert asked(open_server, path, Sec_Fetch_Site=site) == 403
        framed = {"Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "iframe"}
        assert asked(open_server, path, Sec_Fetch_Site=site, **framed) == 403


@pytest.mark.parametrize("path", PATHS)
def test_without_the_token_it_is_401(closed_server: Server, path: str) -> None:
    for wrong in ({}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": f"Basic {TOKEN}"},
                  {"Cookie": "edgeemo="}, {"Cookie": f"edgeemo={TOKEN}"}):  # fmt: skip
        assert asked(closed_server, path, **wrong) == 401
    assert asked(closed_server, path, Authorization=f"Bearer {TOKEN}") == good(BY_PATH[path])


@pytest.mark.parametrize("path", PATHS)
def test_another_method_gets_405_and_another_type_415(open_server: Server, path: str) -> None:
    other = "GET" if BY_PATH[path].method == "POST" else "POST"
    for method in (other, "DELETE"):
        status, headers, _ = open_server.ask(path, method, b"x" if method == "POST" else None)
        assert (status, BY_PATH[path].method in headers["allow"]) == (405, True)
    if BY_PATH[path].method == "POST":
        for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "",
                     "image/svg+xml; x", "nonsense"):  # fmt: skip
            headers = {"Content_Type": kind} if kind else {}
            status = open_server.ask(path, "POST", png_of(32, 32), **headers)[0]
            assert status == (200 if kind.startswith("image/") else 415)


@pytest.mark.parametrize("path", PATHS)
def test_what_is_too_large_gets_431_or_413(open_server: Server, path: str) -> None:
    route = BY_PATH[path]
    assert open_server.ask(f"{path}?{'x' * 20_000}", route.method)[0] == 431
    if route.method == "POST":
        large = bytes(MOST_BYTES + 1)
        assert open_server.ask(path, "POST", large, Content_Type="image/png")[0] == 413
        head = f"POST {path} HTTP/1.1\r\nHost: {open_server.host}\r\nContent-Type: image/png\r\n"
        with told(open_server, head + "Content-Length: 99999999999\r\n\r\n") as client:
            assert client.recv(100).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("GET / HTTP/1.1\r\nHost: localhost\r\nX: " + "x" * 200_000, 431),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("\x16\x03\x01\x02\x00", 400),
        ("GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n", 400),
        ("POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
         "Transfer-Encoding: chunked\r\n\r\nZZ\r\n", 400),
        ("POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
    ],
)  # fmt: skip
def test_what_is_no_request_is_told_so(open_server: Server, text: str, status: int) -> None:
    with told(open_server, text) as client:
        answer = http.client.HTTPResponse(client)
        answer.begin()
        assert answer.status == status
        assert "default-src 'none'" in str(answer.getheader("content-security-policy"))
        assert list(json.loads(answer.read())) == ["error"]


@contextlib.contextmanager
def told(server: Server, text: str) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
        client.sendall(text.encode())
        yield client


def test_a_request_that_is_too_slow_is_cut_off_on_every_route() -> None:
    parts = [f"{route.method} {route.path} HTTP/1.1\r\nHost: localhost\r\n" for route in ROUTES]
    picture = "POST /api/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\n"
    parts += ["", picture + "Content-Length: 100\r\n\r\nhalf"]
    with serving(bounds=Bounds(request=0.4)) as server, contextlib.ExitStack() as stack:
        begun = time.monotonic()
        clients = [stack.enter_context(told(server, part)) for part in parts]
        for client in clients:
            with contextlib.suppress(ConnectionResetError):
                assert client.recv(100) == b""
        assert 0.2 < time.monotonic() - begun < 3


def test_frames_are_404_unless_they_are_shown() -> None:
    with serving() as server:
        assert {r.path: server.ask(r.path)[0] for r in ROUTES if r.frames} == {
            "/api/frame.jpg": 404,
            "/api/stream.mjpg": 404,
        }
        assert "--show-frames" in server.json("/api/frame.jpg")["error"]
        assert "--show-frames" not in server.json("/api/frame.png")["error"]
        assert server.service.hub.frame is None
        assert set(server.json("/openapi.json")["paths"]) == {
            r.path for r in ROUTES if not r.frames
        }


def test_every_answer_has_the_security_headers(closed_server: Server) -> None:
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    for path in [*PATHS, "/nothing"]:
        for headers in ({}, bearer):
            _, head, _ = closed_server.ask(path, **headers)
            assert head["x-content-type-options"] == "nosniff"
            assert head["referrer-policy"] == "no-referrer"
            assert head["cache-control"] == "no-store"
            assert "default-src 'none'" in head["content-security-policy"]
            assert "frame-ancestors 'none'" in head["content-security-policy"]
            assert "unsafe" not in head["content-security-policy"]
            assert "server" not in head


def test_a_link_lets_one_browser_in_once() -> None:
    with serving(settings=Settings(token=TOKEN)) as server:
        link = server.service.doors.link
        assert server.ask("/")[0] == 401
        assert server.ask("/?link=wrong")[0] == 401
        assert server.ask(link, Host="evil.example")[0] == 421
        assert server.ask(link, Origin="http://evil.example")[0] == 403
        status, headers, _ = server.ask(link)
        assert (status, headers["location"]) == (303, "/")
        cookie = headers["set-cookie"]
        assert {"HttpOnly", "SameSite=Lax", "Path=/"} <= set(re.split("; *", cookie))
        assert TOKEN not in cookie
        assert server.ask(link)[0] == 401
        assert server.ask("/", Cookie=cookie.partition(";")[0])[0] == 200
        again = server.ask("/api/state", Cookie=f"other=1; {cookie.partition(';')[0]}")
        assert again[0] == 200
    with serving(settings=Settings(token=TOKEN)) as server:  # after a restart
        assert server.ask("/", Cookie=cookie.partition(";")[0])[0] == 200


def test_an_allowed_site_may_ask_and_others_not() -> None:
    with serving(settings=Settings(origins=["https://shop.example"])) as server:
        status, headers, _ = server.ask("/api/state", Origin="https://shop.example")
        assert (status, headers["access-control-allow-origin"]) == (200, "https://shop.example")
        assert server.ask("/api/state", Host="shop.example")[0] == 200  # by its proxy
        assert server.ask("/api/state", Origin="https://shop.example:444")[0] == 403
        asked = {"Origin": "https://shop.example", "Access_Control_Request_Method": "POST"}
        status, headers, _ = server.ask("/api/predict", "OPTIONS", **asked)
        assert (status, headers["access-control-allow-methods"]) == (200, "POST, OPTIONS")
        assert "access-control-allow-origin" not in server.ask("/api/state")[1]


def test_doubled_headers_are_refused(open_server: Server) -> None:
    head = "GET /api/state HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"
    with told(open_server, head) as client:
        assert client.recv(100).startswith(b"HTTP/1.1 400 ")


def test_there_is_a_bound_on_connections() -> None:
    with serving(bounds=Bounds(connections=3)) as server, contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(told(server, "GET"))
        wait_until(lambda: server.service.server.connections == 3)
        for _ in range(3):
            status, headers, body = server.ask("/api/state", X_Long="x" * 50_000)
            assert (status, headers["retry-after"]) == (503, "5")
            assert "too many connections" in json.loads(body)["error"]
        # Those that do not leave by themselves are left soon; of very many, at once.
        for _ in range(20):
            stack.enter_context(told(server, "GET"))
        wait_until(lambda: server.service.server.connections <= 6)
        wait_until(lambda: server.service.server.connections == 3)
        stack.close()
        wait_until(lambda: server.ask("/api/state")[0] == 200)


def request_with(host: str) -> Request:
    async def nothing(*_: object) -> dict[str, object]:
        return {}

    headers = [(b"host", host.encode())]
    scope = {"type": "http", "method": "GET", "path": "/", "scheme": "http", "headers": headers}
    return Request(scope, nothing, nothing)  # type: ignore[arg-type]


def test_a_server_for_others_answers_to_addresses_and_its_own_name() -> None:
    doors = Doors("0.0.0.0", token=TOKEN)
    passed, refused = [], []
    for host in ("192.168.1.7:8765", "[fe80::1]:8765", socket.gethostname(), "localhost",
                 "evil.example", "192.168.1.7.evil.example", "localhost.evil.example"):  # fmt: skip
        try:
            doors.check(request_with(host))
        except Refusal as refusal:
            (refused if refusal.status == 421 else passed).append(host)
    assert len(passed) == 4
    assert refused == ["evil.example", "192.168.1.7.evil.example", "localhost.evil.example"]


def test_origins_and_hosts_are_read() -> None:
    assert parse_origin("https://Shop.example:443/") == "https://shop.example"
    assert parse_origin("http://[::1]:8080") == "http://[::1]:8080"
    for wrong in ("shop.example", "ftp://x", "http://a@b", "http://x/path", "http://x:y", "*"):
        with pytest.raises(InvalidInput, match="expected a page's origin"):
            parse_origin(wrong)
    assert [is_loopback(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost")] == [
        True
    ] * 4
    assert not is_loopback("0.0.0.0")
    assert not is_loopback("::")
    assert not is_loopback("kiosk.local")


def test_the_documented_table_is_the_tested_one() -> None:
    text = (REPOSITORY / "docs" / "serve.md").read_text()
    rows = re.findall(r"^\| `(\S+)` \| 421 \| 403 \| 401 \| 405.* \| 431", text, re.MULTILINE)
    assert rows == PATHS


def test_errors_are_json_that_says_what_to_do(open_server: Server) -> None:
    for path in ("/nothing", "/api/predict"):
        status, headers, body = open_server.ask(path)
        assert status == (404 if path == "/nothing" else 405)
        assert headers["content-type"] == "application/json"
        assert list(json.loads(body)) == ["error"]
