"""A real Home Assistant beside a real mosquitto: what it makes of our messages.

python -m benchmarks.home_assistant --hass VENV/bin/hass

VENV is an environment of Home Assistant's own, with `homeassistant`, `home-assistant-frontend`,
`numpy` and `paho-mqtt` in the versions of its `package_constraints.txt`. A fresh Home Assistant is
started in a folder that is removed at the end, taken through its onboarding and its MQTT
integration's form by its REST API, as a browser would, and asked for its states while readings are
published, nobody is there, the camera is lost, the publisher dies, the broker and Home Assistant
itself are killed and started again. Prints a JSON line; exit code 1 where a state is another one
than it has to be, or its log complains of a message.
"""

import contextlib
import json
import multiprocessing
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from edgeemo.cli.bench import machine
from edgeemo.cli.shell import say
from edgeemo.contract.labels import LABELS
from edgeemo.live.mqtt import MqttPublisher, parse_broker
from edgeemo.live.readings_queue import Seen
from edgeemo.results import Box, Reading
from tests.edgeemo.live.mosquitto import Mosquitto, brokering, until

_START = 120.0  # seconds that Home Assistant may take
_PATIENCE = 30.0  # seconds that a state may take
_ID = "http://127.0.0.1/"  # a client's, as OAuth 2 names it
_ENTITIES = {
    "emotion": "sensor.edgeemo_kiosk_door_emotion",
    "confidence": "sensor.edgeemo_kiosk_door_confidence",
    "presence": "binary_sensor.edgeemo_kiosk_door_presence",
    "fps": "sensor.edgeemo_kiosk_door_frame_rate",
}
_GONE = dict.fromkeys(_ENTITIES, "unavailable")
_HAPPY = {"emotion": "happy", "confidence": "90", "presence": "on", "fps": "29.9"}
_SAD = {**_HAPPY, "emotion": "sad"}
_UNSURE = {"emotion": "unknown", "confidence": "40", "presence": "on", "fps": "29.9"}
_NOBODY = {"emotion": "unknown", "confidence": "unknown", "presence": "off", "fps": "29.9"}
_DEVICE = """{% set id = device_id('sensor.edgeemo_kiosk_door_emotion') %}{{ {
'name': device_attr(id, 'name'), 'manufacturer': device_attr(id, 'manufacturer'),
'model': device_attr(id, 'model'), 'entities': device_entities(id) | sort } | to_json }}"""


@dataclass
class HomeAssistant:
    """One that runs in a folder, and its REST API."""

    program: Path
    """`hass` of its environment."""
    folder: Path
    """Of its settings; kept by a start after the first."""
    port: int = 0
    """It listens on."""
    token: str = ""
    """Of the owner, once it was made."""
    process: "subprocess.Popen[bytes] | None" = field(default=None)
    """While it runs."""

    def start(self) -> None:
        """Start it, and wait until it answers."""
        if not self.port:
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.port = free.getsockname()[1]
        http = f"http:\n  server_host: 127.0.0.1\n  server_port: {self.port}\n"
        log = "logger:\n  default: warning\n"
        (self.folder / "configuration.yaml").write_text(f"{http}api:\nfrontend:\n{log}")
        command = [str(self.program), "-c", str(self.folder), "--skip-pip"]
        # Nothing of ours is on its path.
        self.process = subprocess.Popen(
            command, cwd=self.folder, env={"PATH": "/usr/bin:/bin", "HOME": str(self.folder)}
        )
        until(self._answers, _START)

    def stop(self) -> None:
        """End it as systemd would."""
        if self.process:
            self.process.terminate()
            self.process.wait(60)
            self.process = None

    def _answers(self) -> bool:
        with contextlib.suppress(OSError):
            return bool(self.ask("/manifest.json"))
        return False

    def ask(self, path: str, body: object = None, *, form: bool = False) -> str:
        """What it answers to a GET, or to a POST of `body`.

        Raises:
            OSError: it does not answer, or with an error.
        """
        kind = "application/x-www-form-urlencoded" if form else "application/json"
        text = urllib.parse.urlencode(body) if form else json.dumps(body)  # type: ignore[arg-type]
        data = None if body is None else text.encode()
        headers = {"Content-Type": kind} | (
            {"Authorization": f"Bearer {self.token}"} if self.token else {}
        )
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", data, headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return str(answer.read().decode())

    def settle(self, broker: Mosquitto) -> None:
        """Make an owner, and give it the broker."""
        owner = {"name": "a", "username": "a", "password": "of-this-run", "language": "en"}
        user = json.loads(self.ask("/api/onboarding/users", {**owner, "client_id": _ID}))
        code = {
            "grant_type": "authorization_code", "code": user["auth_code"], "client_id": _ID
        }  # fmt: skip
        self.token = json.loads(self.ask("/auth/token", code, form=True))["access_token"]
        flow = json.loads(self.ask("/api/config/config_entries/flow", {"handler": "mqtt"}))
        where = {"broker": "127.0.0.1", "port": broker.port}
        made = json.loads(self.ask(f"/api/config/config_entries/flow/{flow['flow_id']}", where))
        if made["type"] != "create_entry":
            raise SystemExit(f"the MQTT integration refuses the broker: {made}")

    def states(self) -> dict[str, str]:
        """Of our entities, by their names in the discovery message; "" where there is none."""
        found = {each["entity_id"]: each["state"] for each in json.loads(self.ask("/api/states"))}
        return {name: found.get(entity, "") for name, entity in _ENTITIES.items()}


def _seen(emotion: str | None, *, face: int | None = 1, camera_ok: bool = True) -> Seen:
    if face is None:
        return Seen(None, (Reading(0.0, 0, fps=29.9, camera_ok=camera_ok),))
    most = 0.9 if emotion else 0.4
    best = emotion or LABELS[0]
    rest = (1 - most) / (len(LABELS) - 1)
    scores = {label: most if label == best else rest for label in LABELS}
    return Seen(None, (Reading(0.0, 0, face, emotion, most, scores, Box(1, 2, 30, 40), fps=29.9),))


def _dies(port: int) -> None:
    """Publish, and be killed."""
    address = parse_broker(f"mqtt://127.0.0.1:{port}/kiosk/door")
    publisher = MqttPublisher(address, LABELS, model="small")
    with publisher:
        until(lambda: publisher.published.connected)
        publisher.tell(_seen("happy"))
        time.sleep(600)


@dataclass
class Trial:
    """What has been tried, one after the other."""

    home: HomeAssistant
    """That is asked."""
    took: dict[str, float] = field(default_factory=dict)
    """Seconds until the states were the expected ones, by what was done."""
    faults: list[str] = field(default_factory=list)
    """What they were instead, after _PATIENCE."""

    def expect(self, what: str, states: dict[str, str]) -> None:
        """Wait for states, and note how long."""
        begun = time.monotonic()
        found: dict[str, str] = {}
        while time.monotonic() - begun < _PATIENCE:
            found = self.home.states()
            if found == states:
                self.took[what] = round(time.monotonic() - begun, 2)
                return
            time.sleep(0.05)
        self.faults.append(f"{what}: expected {states}, received {found}")


def _try(home: HomeAssistant, broker: Mosquitto) -> Trial:
    trial = Trial(home)
    address = parse_broker(f"mqtt://127.0.0.1:{broker.port}/kiosk/door")
    with MqttPublisher(address, LABELS, model="small") as publisher:
        publisher.tell(_seen("happy"))
        trial.expect("a device that was never seen", _HAPPY)
        for what, seen, states in (
            ("another emotion", _seen("sad"), _SAD),
            ("a face whose emotion is unsure", _seen(None), _UNSURE),
            ("nobody", _seen(None, face=None), _NOBODY),
            ("the camera is lost", _seen(None, face=None, camera_ok=False), _GONE),
            ("the camera is back", _seen("happy"), _HAPPY),
        ):
            publisher.tell(seen)
            trial.expect(what, states)
        broker.kill()
        trial.expect("the broker is killed", _GONE)
        broker.start()
        trial.expect("the broker is started again", _HAPPY)
        home.stop()
        home.start()
        trial.expect("Home Assistant is started again", _HAPPY)
    trial.expect("the publisher has ended", _GONE)
    child = multiprocessing.get_context("spawn").Process(target=_dies, args=(broker.port,))
    child.start()
    trial.expect("another publisher of the same topic", _HAPPY)
    child.kill()
    child.join()
    trial.expect("it is killed", _GONE)
    return trial


@contextlib.contextmanager
def _running(program: Path, folder: Path) -> Iterator[HomeAssistant]:
    home = HomeAssistant(program, folder)
    home.start()
    try:
        yield home
    finally:
        home.stop()


@click.command()
@click.option("--hass", required=True, type=click.Path(path_type=Path), help="Its `hass`.")
def main(hass: Path) -> None:
    """Start both, publish, ask."""
    with tempfile.TemporaryDirectory() as name, brokering(Path(name)) as broker:
        folder = Path(name) / "home"
        folder.mkdir()
        with _running(hass.absolute(), folder) as home:
            home.settle(broker)
            trial = _try(home, broker)
            device: dict[str, Any] = json.loads(home.ask("/api/template", {"template": _DEVICE}))
            version = json.loads(home.ask("/api/config"))["version"]
        log = (folder / "home-assistant.log").read_text(encoding="utf-8").splitlines()
    if device["entities"] != sorted(_ENTITIES.values()):
        trial.faults.append(f"entities of the device: {device['entities']}")
    trial.faults += [line for line in log if "edgeemo" in line or "components.mqtt" in line]
    result = {"home_assistant": version, "device": device, "seconds": trial.took}
    say(json.dumps(result | {"machine": machine(), "faults": trial.faults}))
    sys.exit(bool(trial.faults))


if __name__ == "__main__":
    main()
