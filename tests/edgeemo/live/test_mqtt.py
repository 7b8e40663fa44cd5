"""Readings at a real broker, Debian's mosquitto, which is killed and started again."""

import contextlib
import gc
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jinja2
import paho.mqtt.client as paho
import pytest

from edgeemo.broker import Broker, parse_broker
from edgeemo.contract.checked import strict
from edgeemo.contract.labels import LABELS
from edgeemo.errors import InvalidInput, ServeError
from edgeemo.live.mqtt import MqttPublisher, discovery
from edgeemo.live.readings_queue import Seen
from edgeemo.results import Box, Reading
from tests.edgeemo.live.mosquitto import PATIENCE, Mosquitto, brokering, until
from tests.support import READING_KEYS, REPOSITORY

BOX = Box(1, 2, 30, 40)


def seen(emotion: str | None = "happy", *, frame: int = 0, face: int | None = 1) -> Seen:
    if face is None:
        return Seen(None, (Reading(0.0, frame),))
    rest = 0.1 / (len(LABELS) - 1)
    scores = {label: 0.9 if label == emotion else rest for label in LABELS}
    confidence = max(scores.values())
    return Seen(None, (Reading(0.0, frame, face, emotion, confidence, scores, BOX),))


LOST = Seen(None, (Reading(0.0, 9, camera_ok=False),))


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    with brokering(tmp_path) as broker:
        yield broker


class Listener:
    """Hears all that a broker is told."""

    def __init__(self, port: int) -> None:
        self.messages: list[tuple[str, str, bool]] = []
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self._client.reconnect_delay_set(1, 1)
        ready = threading.Event()
        self._client.on_connect = lambda client, *_: client.subscribe("#")
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.on_message = lambda _, __, m: self.messages.append(
            (m.topic, m.payload.decode(), m.retain)
        )
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert ready.wait(PATIENCE)

    def say(self, topic: str, text: str) -> None:
        self._client.publish(topic, text)

    def texts(self, topic: str) -> list[str]:
        return [text for where, text, _ in self.messages if where == topic]

    def readings(self, topic: str = "kiosk/door") -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.texts(topic)]

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@contextlib.contextmanager
def listening(port: int) -> Iterator[Listener]:
    listener = Listener(port)
    try:
        yield listener
    finally:
        listener.close()


def door(broker: Mosquitto) -> Broker:
    return parse_broker(f"mqtt://127.0.0.1:{broker.port}/kiosk/door")


def test_changes_reach_the_broker_and_the_end_is_told(mosquitto: Mosquitto) -> None:
    with listening(mosquitto.port) as heard:
        with MqttPublisher(door(mosquitto), LABELS, model="small") as publisher:
            until(lambda: publisher.published.connected)
            for frame in range(5):
                publisher.tell(seen("happy", frame=frame))
            until(lambda: len(heard.readings()) == 1)
            publisher.tell(seen("sad", frame=5))
            until(lambda: len(heard.readings()) == 2)
            publisher.tell(seen(face=None, frame=6))
            until(lambda: len(heard.readings()) == 3)
            publisher.tell(LOST)
            until(lambda: heard.texts("kiosk/door/availability") == ["online", "offline"])
            publisher.tell(seen("happy", frame=10))
            until(lambda: len(heard.readings()) == 5)
        until(lambda: len(heard.texts("kiosk/door/availability")) == 4)
    assert [r["emotion"] for r in heard.readings()] == ["happy", "sad", None, None, "happy"]
    assert [r["frame"] for r in heard.readings()] == [0, 5, 6, 9, 10]
    assert list(heard.readings()[0]) == READING_KEYS
    assert heard.texts("kiosk/door/availability") == ["online", "offline", "online", "offline"]
    (message,) = heard.texts(door(mosquitto).discovery)
    assert json.loads(message)["device"]["model"] == "small"


def test_only_discovery_and_availability_are_retained(mosquitto: Mosquitto) -> None:
    with MqttPublisher(door(mosquitto), LABELS) as publisher:
        with listening(mosquitto.port) as before:
            publisher.tell(seen("happy"))
            until(before.readings)
        with listening(mosquitto.port) as heard:
            until(lambda: len(heard.messages) == 2)
            assert {(topic, kept) for topic, _, kept in heard.messages} == {
                (door(mosquitto).discovery, True),
                ("kiosk/door/availability", True),
            }
            # Home Assistant says so when it has started, and gets the newest reading.
            publisher.tell(seen("happy", frame=7))
            heard.say("homeassistant/status", "online")
            until(lambda: [r["frame"] for r in heard.readings()] == [7])


def test_killed_broker_is_found_again_and_gets_nothing_old(mosquitto: Mosquitto) -> None:
    with MqttPublisher(door(mosquitto), LABELS) as publisher:
        publisher.tell(seen("happy"))
        until(lambda: publisher.published.readings == 1)
        mosquitto.kill()
        until(lambda: not publisher.published.connected)
        for frame in range(100):
            publisher.tell(seen("sad" if frame % 2 else "happy", frame=frame))
        assert publisher.published.readings == 1
        mosquitto.start()
        with listening(mosquitto.port) as heard:
            until(lambda: heard.readings())
            time.sleep(0.2)
            assert [r["frame"] for r in heard.readings()] == [99]
            assert heard.texts("kiosk/door/availability") == ["online"]
            assert publisher.published.connects == 2
            assert publisher.published.readings == 2
            publisher.tell(seen("fear", frame=100))
            until(lambda: [r["frame"] for r in heard.readings()] == [99, 100])


def test_a_program_that_dies_is_told_as_offline_by_its_last_will(mosquitto: Mosquitto) -> None:
    program = f"""
import os, sys, time
from tests.edgeemo.live.test_mqtt import LABELS, MqttPublisher, parse_broker, seen
with MqttPublisher(parse_broker("mqtt://127.0.0.1:{mosquitto.port}/kiosk/door"), LABELS) as p:
    p.tell(seen())
    while not p.published.readings: time.sleep(0.01)
    print("told", flush=True)
    sys.stdin.read()
    os._exit(1)
"""
    with listening(mosquitto.port) as heard:
        died = subprocess.Popen(
            [sys.executable, "-c", program], cwd=REPOSITORY,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        until(lambda: heard.texts("kiosk/door/availability") == ["online"], 60)
        died.communicate(timeout=PATIENCE)
        assert died.returncode == 1
        until(lambda: heard.texts("kiosk/door/availability") == ["online", "offline"])


def test_a_broker_that_is_not_there_is_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    gc.collect()  # what other tests have left
    descriptors = len(os.listdir("/proc/self/fd"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    begun = time.monotonic()
    with MqttPublisher(parse_broker(f"mqtt://127.0.0.1:{port}/x"), LABELS) as publisher:
        until(lambda: "cannot be reached; trying again" in caplog.text)
        publisher.tell(seen())
        assert publisher.published.passed_over == 1
    assert time.monotonic() - begun < 5
    assert len(os.listdir("/proc/self/fd")) == descriptors
    publisher.close()
    publisher.tell(seen())
    assert caplog.text.count("trying again") == 1


def certificate(folder: Path) -> None:
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-keyout", folder / "key.pem", "-out", folder / "cert.pem", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip


@pytest.mark.slow
# paho leaves a socket whose certificate it does not trust to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls_and_passwords(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    if not shutil.which("openssl") or not shutil.which("mosquitto_passwd"):
        pytest.skip("needs openssl and mosquitto_passwd (./scripts/system-packages)")
    certificate(tmp_path)
    words = ["mosquitto_passwd", "-b", "-c", tmp_path / "users", "door", "swordfish"]
    subprocess.run(words, check=True, capture_output=True)
    for file in tmp_path.iterdir():
        file.chmod(0o644)  # mosquitto gives up root
    tmp_path.chmod(0o755)
    settings = (
        f"certfile {tmp_path}/cert.pem\nkeyfile {tmp_path}/key.pem\n"
        f"password_file {tmp_path}/users\nallow_anonymous false\nuser root"
    )
    with brokering(tmp_path, settings) as broker:
        address = parse_broker(f"mqtts://door@localhost:{broker.port}/kiosk/door")
        authorities = str(tmp_path / "cert.pem")
        with MqttPublisher(
            address, LABELS, password="swordfish", authorities=authorities
        ) as publisher:
            publisher.tell(seen())
            until(lambda: publisher.published.readings == 1)
        with MqttPublisher(address, LABELS, password="wrong", authorities=authorities) as publisher:
            until(lambda: "refuses us" in caplog.text)
        caplog.clear()
        with MqttPublisher(address, LABELS, password="swordfish") as publisher:  # not trusted
            until(lambda: "cannot be reached" in caplog.text)
            assert publisher.published.connects == 0
        assert "swordfish" not in caplog.text
    with pytest.raises(ServeError, match="expected a file of certificates"):
        MqttPublisher(address, LABELS, authorities=str(tmp_path / "users"))


def test_addresses_of_brokers_are_read() -> None:
    assert parse_broker("mqtt://broker/kiosk") == Broker("broker", 1883, "kiosk")
    assert parse_broker("mqtts://me@[::1]:1/a/b%20c") == Broker("::1", 1, "a/b c", "me", True)
    for wrong in ("broker/kiosk", "http://broker/kiosk", "mqtt://broker", "mqtt://broker/",
                  "mqtt://broker/a/#", "mqtt://broker/+/a", "mqtt://broker/$SYS", "mqtt:///a",
                  "mqtt://broker:0/a", "mqtt://broker:x/a", "mqtt://broker/a?b", "mqtt://broker/a/",
                  "mqtt://broker/a//b", "mqtt://broker/" + "a" * 201,
                  "mqtt://a..b/c", f"mqtt://{'a' * 64}/c"):  # fmt: skip
        with pytest.raises(InvalidInput, match="expected mqtt://"):
            parse_broker(wrong)
    with pytest.raises(InvalidInput, match="expected no password") as refused:
        parse_broker("mqtt://me:swordfish@broker/a")
    assert "swordfish" not in str(refused.value)


def test_templates_say_what_home_assistant_shows() -> None:
    parts = discovery(parse_broker("mqtt://broker/kiosk"), LABELS, "small")["components"]

    def shown(what: Seen) -> list[str]:
        value = json.loads(strict.dumps_line(what.readings[0].to_dict()))
        templates = [jinja2.Template(part["value_template"]) for part in parts.values()]
        return [template.render(value_json=value) for template in templates]

    # "None" is what Home Assistant takes for unknown.
    assert shown(seen("happy")) == ["happy", "90.0", "ON", "0.0"]
    assert shown(seen(None)) == ["None", "2.0", "ON", "0.0"]
    assert shown(seen(face=None)) == ["None", "None", "OFF", "0.0"]


def test_discovery_has_what_home_assistant_asks_for() -> None:
    broker = parse_broker("mqtt://broker/kiosk")
    message = discovery(broker, LABELS, "small")
    assert broker.discovery == "homeassistant/device/edgeemo_kiosk/config"
    assert {"device", "origin", "components", "availability"} == message.keys()
    assert message["device"]["identifiers"]
    assert message["origin"]["name"] == "edgeemo"
    assert list(message["components"]) == ["emotion", "confidence", "presence", "fps"]
    for part in message["components"].values():
        assert {"platform", "unique_id", "state_topic", "value_template"} <= part.keys()
    assert len({part["unique_id"] for part in message["components"].values()}) == 4
    assert message["components"]["emotion"]["options"] == list(LABELS)
    # Names of topics that look alike stay apart.
    other = parse_broker("mqtt://broker/kio%20sk").device
    assert other != parse_broker("mqtt://broker/kio.sk").device
    assert all(char.isalnum() or char in "_-" for char in other)
