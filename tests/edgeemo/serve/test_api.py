"""What each route answers, with values that the public fakes make known."""

import asyncio
import base64
import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack

import cv2
import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from edgeemo import FakeBackend, Recognizer
from edgeemo.cameras import Frame
from edgeemo.contract.labels import LABELS
from edgeemo.data.with_pillow import jpeg
from edgeemo.drawing import annotate
from edgeemo.live.readings_queue import Seen
from edgeemo.results import Reading
from edgeemo.serve.hub import MOST_CLIENTS, WAITING, Hub
from edgeemo.serve.picture import MOST_BYTES, picture_in
from edgeemo.serve.request import Refusal
from edgeemo.serve.routes import ROUTES, SCHEMAS
from edgeemo.serve.server import Bounds
from edgeemo.serve.service import Settings
from tests.edgeemo.serve.serving import FRAME, Scene, Server, serving, wait_until
from tests.support import READING_KEYS, done_here, png_of, shared

PNG = png_of(64, 48)
FORM = (
    b'--x\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n'
    b'--x\r\nContent-Disposition: form-data; name="image"; filename="queue.png"\r\n'
    b"Content-Type: image/png\r\n\r\n" + PNG + b"\r\n--x--\r\n"
)


@pytest.fixture(scope="module")
def shared_server() -> Iterator[Server]:
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def showing_server() -> Iterator[Server]:
    with serving(settings=Settings(show_frames=True)) as server:
        yield server


def test_state_is_the_last_reading_with_the_keys_of_watch(shared_server: Server) -> None:
    reading = shared_server.json("/api/state")
    assert list(reading) == READING_KEYS
    assert (reading["emotion"], reading["box"]) == ("happy", [0, 0, 128, 96])
    assert reading["confidence"] == pytest.approx(0.9, abs=1e-3)
    assert shared_server.ask("/api/state", "HEAD")[0] == 200


def test_events_come_one_a_reading_with_numbers_that_grow(shared_server: Server) -> None:
    events = shared_server.events()
    first, *rest = [next(events) for _ in range(6)]
    assert first == {"retry": "1000"}
    assert [list(event["data"]) for event in rest] == [READING_KEYS] * 5
    numbers = [int(event["id"].rpartition("-")[2]) for event in rest]
    assert numbers == list(range(numbers[0], numbers[0] + 5))
    frames = [event["data"]["frame"] for event in rest]
    assert frames == sorted(frames)


def test_changes_alone_come_where_they_are_asked_for() -> None:
    scene = Scene()
    with serving(scene) as server:
        events = server.events("/api/events?changes=1")
        next(events)
        assert next(events)["data"]["emotion"] == "happy"  # as it is at first
        scene.backend.say(sad=0.8)
        changed = next(events)["data"]
        assert changed["emotion"] == "sad"
        scene.lost.set()
        gone = next(events)["data"]
        assert (gone["camera_ok"], gone["emotion"], gone["face_id"]) == (False, None, None)
        assert server.ask("/api/health")[0] == 503
        assert server.json("/api/health")["state"] == "camera lost"
        assert "the plug is out" in server.json("/api/health")["error"]
        scene.lost.clear()
        assert next(events)["data"]["emotion"] == "sad"
        assert server.ask("/api/health")[0] == 200


def test_websocket_sends_the_same_readings() -> None:
    scene = Scene()
    with serving(scene) as server:
        with connect(f"ws://{server.host}/api/ws?changes=1") as socket_:
            assert list(json.loads(socket_.recv(timeout=5))) == READING_KEYS
            scene.backend.say(sad=0.8)
            assert json.loads(socket_.recv(timeout=5))["emotion"] == "sad"
        wait_until(lambda: server.service.hub.following_now == 0)
        with pytest.raises(InvalidStatus, match="404"):
            connect(f"ws://{server.host}/api/state")
        assert server.ask("/api/ws")[0] == 426
        with connect(f"ws://{server.host}/api/ws") as socket_, pytest.raises(ConnectionClosed):
            socket_.send("x" * 10_000)  # it has nothing to say
            for _ in range(1000):
                socket_.recv(timeout=5)


def test_health_is_the_sensors(shared_server: Server) -> None:
    wait_until(lambda: shared_server.ask("/api/health")[0] == 200)
    health = shared_server.json("/api/health")
    assert set(health) == set(SCHEMAS["Health"]["required"])
    assert (health["state"], health["error"], health["camera_ok"]) == ("running", None, True)
    assert health["frames"] >= health["looked_at"] >= 1


@pytest.mark.parametrize(
    ("kind", "body", "name"),
    [
        ("multipart/form-data; boundary=x", FORM, "queue.png"),
        ("application/json", json.dumps({"image": base64.b64encode(PNG).decode()}).encode(),
         "picture"),
        ("image/png", PNG, "picture"),
    ],
)  # fmt: skip
def test_predict_answers_as_the_command_does(
    shared_server: Server, kind: str, body: bytes, name: str
) -> None:
    status, _, answer = shared_server.ask("/api/predict", "POST", body, Content_Type=kind)
    assert status == 200
    value = json.loads(answer)
    assert (list(value), value["image"]) == (["image", "faces"], name)
    (face,) = value["faces"]
    assert list(face) == SCHEMAS["Prediction"]["properties"]["faces"]["items"]["required"]
    assert (face["emotion"], face["box"]) == ("happy", [0, 0, 64, 48])
    assert shared_server.service.app.predicted >= 1


def test_predict_equals_predict_json_on_a_real_picture() -> None:
    from edgeemo.cli.main import main

    picture = shared("media", "justin.jpg")
    done = done_here(main, "edgeemo", "predict", picture, "--json", "--detector", "haar")
    wanted = json.loads(done.stdout)
    with serving(predictor=lambda: Recognizer(detector="haar")) as server:
        status, _, answer = server.ask(
            "/api/predict", "POST", picture.read_bytes(), Content_Type="image/jpeg"
        )
    assert status == 200
    assert json.loads(answer)["faces"] == wanted["faces"]
    assert len(wanted["faces"]) >= 1


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("image/png", b"", 422),
        ("image/png", b"no picture", 422),
        ("image/png", PNG[: len(PNG) // 2], 422),
        ("application/json", b"[]", 400),
        ("application/json", b'{"image": 5}', 400),
        ("application/json", b'{"image": "no base64!"}', 400),
        ("application/json", b"\xff", 400),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\nno file\r\n--x--", 400),
        ("multipart/form-data; boundary=y", FORM, 400),
        ("multipart/form-data; boundary=x", FORM.replace(b"queue.png", b"\xff"), 200),
        ("multipart/form-data; boundary=x", FORM[:-60], 422),
        ('MultiPart/Form-Data; charset=utf-8; boundary="x"', FORM, 200),
        ("multipart/form-data; boundary=x; boundary*=a''b; boundary*0*=c", FORM, 200),
        ("multipart/form-data; boundary*=a''x; boundary*0*=x", FORM, 415),
        ("multipart/form-data; boundary=x",
         FORM.replace(b'filename="queue.png"', b"filename*=UTF-8''qu%C3%A9.png"), 200),
        ("multipart/form-data; boundary=x", FORM.replace(b"filename=", b"filename*0*=a; b="), 400),
        ("\xff\xfe;;;==", FORM, 415),
    ],
)  # fmt: skip
def test_a_body_without_a_picture_is_refused(
    shared_server: Server, kind: str, body: bytes, status: int
) -> None:
    got, _, answer = shared_server.ask("/api/predict", "POST", body, Content_Type=kind)
    assert got == status, answer
    assert status == 200 or list(json.loads(answer)) == ["error"]


def test_a_form_of_ten_megabytes_is_taken_and_more_not() -> None:
    whole = bytes(range(256)) * (MOST_BYTES // 256)
    for extra, fits in ((b"", True), (b"x", False)):
        body = FORM.replace(PNG, whole + extra)
        if fits:
            assert picture_in("multipart/form-data; boundary=x", body) == ("queue.png", whole)
        else:
            with pytest.raises(Refusal) as refused:
                picture_in("multipart/form-data; boundary=x", body)
            assert refused.value.status == 413


def test_frames_are_shown_with_their_boxes(showing_server: Server) -> None:
    status, headers, body = showing_server.ask("/api/frame.jpg")
    assert (status, headers["content-type"]) == (200, "image/jpeg")
    picture = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert picture.shape == FRAME.shape
    # Yellow along the box that the detector `whole` gives, grey where nothing was drawn.
    assert np.abs(picture[60, 0].astype(int) - (255, 214, 10)).max() < 60
    assert np.abs(picture[80, 64].astype(int) - 90).max() < 20


def test_labels_in_frames_speak_the_servers_language() -> None:
    with serving(settings=Settings(show_frames=True, language="es")) as server:
        body = server.ask("/api/frame.jpg")[2]
        newest = server.service.hub.frame
    assert newest
    got = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR_RGB).astype(int)
    difference = {}
    for language in ("en", "es"):
        drawn = jpeg(annotate(newest[1].pixels, newest[2], language), 80)
        picture = cv2.imdecode(np.frombuffer(drawn, np.uint8), cv2.IMREAD_COLOR_RGB)
        difference[language] = np.abs(got - picture)[8:].mean()  # below the number of the frame
    assert difference["es"] < 0.5
    assert difference["en"] > 1.0


def test_a_stream_gives_every_frame_as_a_part_of_its_own(showing_server: Server) -> None:
    with socket.create_connection(("127.0.0.1", showing_server.port), timeout=5) as client:
        client.sendall(b"GET /api/stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        data = b""
        while data.count(b"Content-Length") < 10:
            data += client.recv(65536)
    assert b"multipart/x-mixed-replace; boundary=frame" in data
    # Chunks of HTTP stand around the parts.
    lengths = [int(n) for n in re.findall(rb"--frame\r\nContent-Type: image/jpeg\r\n"
                                          rb"Content-Length: (\d+)", data)]  # fmt: skip
    assert len(lengths) >= 10
    assert set(lengths) != {0}
    assert data.count(b"\xff\xd8\xff") >= len(lengths) - 1
    wait_until(lambda: b"edgeemo_streams 0" in showing_server.ask("/metrics")[2])


def test_only_a_few_may_look_at_a_time(showing_server: Server) -> None:
    wait_until(lambda: b"edgeemo_streams 0" in showing_server.ask("/metrics")[2])
    with ExitStack() as stack:
        for _ in range(4):
            client = stack.enter_context(
                socket.create_connection(("127.0.0.1", showing_server.port))
            )
            client.sendall(b"GET /api/stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
            client.settimeout(5)
            assert client.recv(100).startswith(b"HTTP/1.1 200 ")
        assert showing_server.ask("/api/stream.mjpg")[0] == 503


def test_metrics_are_prometheus_text(shared_server: Server) -> None:
    _, headers, body = shared_server.ask("/metrics")
    assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    text = body.decode()
    sample = re.compile(r'edgeemo_[a-z_]+(\{[a-z]+="[^"\n]*"\})? -?[0-9.e+-]+')
    for line in text.splitlines():
        assert line.startswith(("# HELP ", "# TYPE ")) or sample.fullmatch(line), line
    types = re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE)
    assert len({name for name, _ in types}) == len(types)
    assert all((kind == "counter") == name.endswith("_total") for name, kind in types)
    assert 'edgeemo_state{state="running"} 1' in text
    assert re.search(r'edgeemo_score\{label="happy"\} 0\.(9|8999)', text)
    assert "edgeemo_face 1\n" in text


def test_openapi_names_the_routes_that_there_are() -> None:
    with serving(settings=Settings(show_frames=True, token="x" * 20)) as server:
        _, _, body = server.ask("/openapi.json", Authorization=f"Bearer {'x' * 20}")
        document = json.loads(body)
        served = server.service.app.served
        assert document["paths"].keys() == served.keys() == {route.path for route in ROUTES}
        assert document["openapi"].startswith("3.1.")
        assert document["security"] == [{"bearer": []}, {"cookie": []}]
        operations = set()
        for path, item in document["paths"].items():
            ((method, operation),) = item.items()
            assert method.upper() in served[path].methods
            operations.add(operation["operationId"])
            assert {"401", "403", "421"} <= operation["responses"].keys()
            for answer in operation["responses"].values():
                assert answer["description"]
        assert len(operations) == len(ROUTES)
        references = set(re.findall(r'"\$ref": "#/components/schemas/(\w+)"', body.decode()))
        assert references == set(document["components"]["schemas"])
        assert sorted(SCHEMAS["Reading"]["required"]) == sorted(READING_KEYS)


def test_model_is_what_info_says() -> None:
    from edgeemo.cli.main import main

    with serving() as server:
        assert server.json("/api/model") == {"labels": list(LABELS)}  # a backend without a bundle
    wanted = json.loads(done_here(main, "edgeemo", "info", "nano", "--json").stdout)
    with serving(Scene(model="nano")) as server:
        assert server.json("/api/model") == wanted


def test_a_client_that_does_not_read_is_dropped_and_hurts_nobody() -> None:
    # Many labels make large events, which soon fill what the system keeps for a connection.
    labels = [f"label number {number}" for number in range(64)]
    scene = Scene(FakeBackend.of(labels), fps=150)
    with serving(scene, bounds=Bounds(stuck=0.5)) as server, ExitStack() as stack:
        stuck = stack.enter_context(socket.socket())
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stuck.connect(("127.0.0.1", server.port))
        stuck.sendall(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_until(lambda: server.service.hub.following_now == 1)
        numbers = []
        for event in server.events():
            if "id" in event:
                numbers.append(int(event["id"].rpartition("-")[2]))
            if server.service.hub.counts.slow and len(numbers) > 10:
                break
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        wait_until(lambda: server.service.hub.following_now == 0)
        assert server.service.hub.counts.slow == 1


def test_there_is_a_bound_on_clients_that_follow() -> None:
    scene = Scene(fps=2)
    with serving(scene) as server, ExitStack() as stack:
        for _ in range(MOST_CLIENTS):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            client.sendall(b"GET /api/events?changes=1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        wait_until(lambda: server.service.hub.following_now == MOST_CLIENTS)
        status, headers, _ = server.ask("/api/events")
        assert (status, headers["retry-after"]) == (503, "5")
        with pytest.raises(InvalidStatus, match="503"):
            connect(f"ws://{server.host}/api/ws")
        assert server.ask("/api/state")[0] == 200
        stack.close()
        wait_until(lambda: server.service.hub.following_now == 0)


def test_nothing_is_retained_unless_it_is_asked_for() -> None:
    async def told(retain: float) -> tuple[list[str], list[str]]:
        hub = Hub(retain=retain)
        hub.open()
        for frame in range(6):
            hub.tell(Seen(None, (Reading(0.0, frame),)))
        await asyncio.sleep(0.05)
        with hub.following() as first:
            event = await first.next(1.0)
        assert event is not None
        start, _, number = event.id.rpartition("-")
        assert number == "6"
        heard = []
        for after in (f"{start}-2", f"{start}-6"):
            with hub.following(after=after) as again:
                numbers = []
                while (event := await again.next(0.01)) is not None:
                    numbers.append(event.id.rpartition("-")[2])
                heard.append(numbers)
        hub.close()
        assert not hub._retained
        return heard[0], heard[1]

    assert asyncio.run(told(0.0)) == (["6"], [])
    assert asyncio.run(told(60.0)) == (["3", "4", "5", "6"], [])
    assert asyncio.run(told(0.001)) == (["6"], [])


def test_a_client_that_comes_back_gets_what_it_missed() -> None:
    with serving(settings=Settings(retain=5)) as server:
        events = server.events()
        next(events)
        seen = next(events)["id"]
        events.close()
        time.sleep(0.15)
        later = server.events(Last_Event_ID=seen)
        next(later)
        numbers = [int(next(later)["id"].rpartition("-")[2]) for _ in range(6)]
        first = int(seen.rpartition("-")[2]) + 1
        assert numbers == list(range(first, first + 6))


def test_no_address_and_no_picture_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(0)
    with serving(settings=Settings(show_frames=True)) as server:
        server.ask("/api/state", X_Secret="swordfish")
        server.ask("/nothing?swordfish")
        server.ask("/api/predict", "POST", PNG, Content_Type="image/png")
        with connect(f"ws://{server.host}/api/ws") as socket_:
            socket_.recv(timeout=5)
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            client.sendall(b"no HTTP\r\n\r\n")
            client.recv(100)
    logged = "\n".join(r.getMessage() for r in caplog.records if r.name.startswith("uvicorn")
                       or r.name.startswith("edgeemo"))  # fmt: skip
    assert "127.0.0.1" not in logged
    assert "swordfish" not in logged
    assert "PNG" not in logged


def test_the_end_is_quick_with_clients_that_follow() -> None:
    with serving(settings=Settings(show_frames=True)) as server, ExitStack() as stack:
        clients = [stack.enter_context(connect(f"ws://{server.host}/api/ws"))]
        for path in ("/api/events", "/api/stream.mjpg"):
            client = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            client.recv(10)
        begun = time.monotonic()
        server.service.stop()
        server.thread.join()
        assert time.monotonic() - begun < 2.5
        with pytest.raises(ConnectionClosed):
            for _ in range(1000):
                clients[0].recv(timeout=5)


def test_a_handlers_failure_ends_the_service_and_is_raised() -> None:
    def fails(seen: Seen) -> None:
        raise RuntimeError("a follower's own")

    with pytest.raises(RuntimeError, match="a follower's own"):
        from edgeemo.serve.server import listen
        from edgeemo.serve.service import Service

        with Scene().sensor() as sensor, listen("127.0.0.1", 0) as listening:
            Service(sensor, listening, followers=[fails]).run()


def test_readings_before_the_loop_and_after_the_end_are_not_kept() -> None:
    hub = Hub(frames=True)
    hub.tell(Seen(Frame(FRAME, 0.0), (Reading(0.0, 0),)))
    assert (hub.reading, hub.frame) == (None, None)
    hub.close()
    hub.tell(Seen(Frame(FRAME, 0.0), (Reading(0.0, 0),)))
    assert hub.reading is None
    with pytest.raises(Refusal), hub.following():
        pass
    assert WAITING < 4096


def test_jpegs_are_what_was_drawn() -> None:
    rng = np.random.default_rng(0)
    frame = cv2.resize(rng.integers(0, 255, (6, 8, 3)).astype(np.uint8), (128, 96))
    picture = cv2.imdecode(np.frombuffer(jpeg(frame, 80), np.uint8), cv2.IMREAD_COLOR_RGB)
    assert np.abs(picture.astype(int) - frame).mean() < 4
