"""What an update has come to, told to a real broker, Debian's mosquitto."""

import json
import queue
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from edgeemo.broker import parse_broker
from edgeemo.updates.client import Update
from edgeemo.updates.releases import Release
from edgeemo.updates.reporting import Reporter, parse_place
from tests.edgeemo.live.mosquitto import PATIENCE, Mosquitto, brokering

paho = pytest.importorskip("paho.mqtt.client", reason="needs the extra mqtt")

DONE = Update(Release("stable/nano-1.0.0.edgeemo", "a" * 64, "nano", "1.0.0", 5), True, "installed")


def heard(broker: Mosquitto, topic: str, user: str = "", password: str = "") -> Any:
    """A client that puts what a topic gets into its queue."""
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    client.user_data_set(queue.Queue())
    ready = queue.Queue[int]()
    client.on_message = lambda _, messages, message: messages.put(message)
    client.on_subscribe = lambda *_: ready.put(1)
    if user:
        client.username_pw_set(user, password)
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    client.subscribe(topic, qos=1)
    ready.get(timeout=PATIENCE)
    return client


def test_a_broker_is_told_once_and_keeps_nothing(tmp_path: Path) -> None:
    with brokering(tmp_path) as broker:
        place = parse_place(f"mqtt://127.0.0.1:{broker.port}/fleet/updates")
        listener = heard(broker, "fleet/#")
        assert Reporter(place, "device-1").tell(DONE)
        assert Reporter(place, "device-1").tell_failure(ValueError("refused"))
        messages = [listener.user_data_get().get(timeout=PATIENCE) for _ in range(2)]
        listener.disconnect()
        listener.loop_stop()
        assert [(one.topic, one.qos, one.retain) for one in messages] == [
            ("fleet/updates", 1, False)
        ] * 2
        done, failed = (json.loads(one.payload) for one in messages)
        assert (done["device"], done["ok"], done["new"], done["text"]) == (
            "device-1", True, True, "installed",
        )  # fmt: skip
        assert (done["release"]["name"], done["release"]["percent"]) == ("nano", 5)
        assert (failed["ok"], failed["release"], failed["text"]) == (False, None, "refused")


def test_a_broker_that_refuses_is_absent_or_never_answers_is_a_warning(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with brokering(tmp_path, "allow_anonymous false") as broker:
        reporter = Reporter(parse_broker(f"mqtt://me@127.0.0.1:{broker.port}/t"), "d", "wrong")
        assert not reporter.tell(DONE)
        assert "refuses us (Not authorized)" in caplog.text
    assert not reporter.tell(DONE)  # it is gone
    assert "Connection refused" in caplog.text
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        address = parse_broker(f"mqtt://127.0.0.1:{silent.getsockname()[1]}/t")
        assert not Reporter(address, "d", seconds=0.5).tell(DONE)
        assert time.monotonic() - began < 5
    assert "has not acknowledged it in 0.5 s" in caplog.text


def test_an_address_that_speaks_no_http_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with socket.create_server(("127.0.0.1", 0)) as strange:

        def answer() -> None:
            link, _ = strange.accept()
            with link:
                link.recv(1 << 16)
                link.sendall(b"no\r\n\r\n")

        threading.Thread(target=answer, daemon=True).start()
        place = parse_place(f"http://127.0.0.1:{strange.getsockname()[1]}/told")
        assert not Reporter(place, "d", seconds=5).tell(DONE)
    assert "the report was not taken" in caplog.text
    assert not Reporter("http://[::1/told", "d").tell(DONE)
