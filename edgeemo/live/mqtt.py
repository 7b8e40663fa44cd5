"""Readings to an MQTT broker, and a device for Home Assistant made of them.

The discovery message is Home Assistant's device discovery
(https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload): one retained message
with `device`, `origin` and `components`. Only that and the availability are retained; no reading
is, and a broker that comes back gets the newest reading and none before it.
"""

import contextlib
import json
import logging
import secrets
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgeemo.broker import Broker
from edgeemo.contract.checked import strict
from edgeemo.errors import ServeError
from edgeemo.live.readings_queue import Seen
from edgeemo.optional import need
from edgeemo.results import Reading
from edgeemo.version import __version__

HEARTBEAT = 30.0
"""Seconds after which a reading is published though nothing has changed, for what is in it."""
_SHORTEST_PAUSE, _LONGEST_PAUSE = 1, 60  # seconds until the next attempt to connect
_KEEP_ALIVE = 30  # seconds; the broker publishes the last will after one and a half times of it
_END = 2.0  # seconds that the last message has
_BIRTH = "homeassistant/status"

log = logging.getLogger("edgeemo.live.mqtt")


def discovery(broker: Broker, labels: Sequence[str], model: str) -> dict[str, Any]:
    """Home Assistant's discovery message: a device with emotion, confidence, presence and rate.

    Args:
        labels: that readings can bring.
        model: the bundle's name.
    """
    sensor: dict[str, Any] = {"platform": "sensor", "state_topic": broker.topic}
    parts: dict[str, dict[str, Any]] = {
        "emotion": {
            **sensor,
            "name": "Emotion",
            "device_class": "enum",
            "options": list(labels),
            # What is None becomes "None", which Home Assistant takes for unknown.
            "value_template": "{{ value_json.emotion }}",
            "icon": "mdi:emoticon-outline",
        },
        "confidence": {
            **sensor,
            "name": "Confidence",
            "unit_of_measurement": "%",
            "state_class": "measurement",
            "value_template": "{{ (value_json.confidence * 100) | round(0) "
            "if value_json.face_id is not none else none }}",
        },
        "presence": {
            "platform": "binary_sensor",
            "state_topic": broker.topic,
            "name": "Presence",
            "device_class": "occupancy",
            "value_template": "{{ 'OFF' if value_json.face_id is none else 'ON' }}",
        },
        "fps": {
            **sensor,
            "name": "Frame rate",
            "unit_of_measurement": "fps",
            "state_class": "measurement",
            "entity_category": "diagnostic",
            "value_template": "{{ value_json.fps | round(1) }}",
        },
    }
    return {
        "device": {
            "identifiers": [broker.device],
            "name": f"edgeemo {broker.topic}",
            "manufacturer": "edgeemo",
            "model": model,
            "sw_version": __version__,
        },
        "origin": {"name": "edgeemo", "sw_version": __version__},
        "availability": [{"topic": broker.availability}],
        "components": {
            name: {**part, "unique_id": f"{broker.device}_{name}"} for name, part in parts.items()
        },
    }


@dataclass
class Published:
    """What became of readings and the connection since the start."""

    readings: int = 0
    """Readings that were handed to a connection."""
    passed_over: int = 0
    """Readings that would have been, without a connection, or while one was still on its way."""
    connects: int = 0
    """Times that the broker has let us in."""
    connected: bool = False
    """Whether it has now."""


class MqttPublisher:
    """Publishes readings where something has changed, for as long as there is a broker; tries for
    ever where there is none, with pauses that grow to a minute.

    `tell` neither raises nor waits. Of readings only the newest is kept, so that what comes late is
    nothing old.

    Args:
        broker: as from parse_broker.
        labels: that readings can bring.
        model: the bundle's name.
        password: of the broker's user.
        authorities: a file of certificates that the broker's is checked with; "": the system's.

    Raises:
        MissingDependency: paho-mqtt is not installed.
        ServeError: authorities that cannot be read.
    """

    def __init__(
        self,
        broker: Broker,
        labels: Sequence[str],
        *,
        model: str = "",
        password: str = "",
        authorities: str = "",
    ) -> None:
        paho: Any = need("paho.mqtt.client", "mqtt", "to publish readings")
        self.published = Published()
        self._broker = broker
        self._discovery = json.dumps(discovery(broker, labels, model), ensure_ascii=False)
        self._lock = threading.RLock()
        self._newest: Reading | None = None
        self._state: object = None
        self._sent_at = 0.0
        self._on_its_way: int | None = None
        self._later = False  # what was not sent because another was on its way
        self._online: bool | None = None
        self._complained = False
        self._client: Any = paho.Client(
            paho.CallbackAPIVersion.VERSION2, client_id=f"edgeemo-{secrets.token_hex(6)}"
        )
        if broker.user:
            self._client.username_pw_set(broker.user, password or None)
        if broker.tls:
            self._use_tls(authorities)
        self._client.will_set(broker.availability, "offline", qos=1, retain=True)
        self._client.reconnect_delay_set(_SHORTEST_PAUSE, _LONGEST_PAUSE)
        self._client.on_connect = self._connected
        self._client.on_disconnect = self._disconnected
        self._client.on_connect_fail = lambda *_: self._complain("cannot be reached")
        self._client.on_message = self._heard
        self._client.on_publish = self._arrived

    def _use_tls(self, authorities: str) -> None:
        try:
            self._client.tls_set(ca_certs=authorities or None)
        except (OSError, ValueError) as error:
            raise ServeError(
                f"{authorities}: expected a file of certificates in PEM ({error})"
            ) from None

    def __enter__(self) -> "MqttPublisher":
        """Begin to connect; that there is no broker is no failure."""
        self._client.connect_async(self._broker.host, self._broker.port, _KEEP_ALIVE)
        self._client.loop_start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Say that nothing comes any more, and leave. Does no harm twice."""
        if self._client is None:
            return
        if self.published.connected:
            with self._lock:
                last = self._client.publish(self._broker.availability, "offline", retain=True)
            with contextlib.suppress(RuntimeError, ValueError):  # the connection has just gone
                last.wait_for_publish(_END)
        self._client.disconnect()
        self._client.loop_stop()
        with self._lock:
            self.published.connected = False
            self._client = None  # which keeps two sockets for as long as it is there

    def tell(self, seen: Seen) -> None:
        """Take in a frame's readings; of several faces the largest's counts."""
        reading = seen.readings[0]
        state = (reading.face_id, reading.emotion, reading.camera_ok)
        with self._lock:
            changed, self._state = state != self._state, state
            self._newest = reading
            if changed or self._later or time.monotonic() - self._sent_at >= HEARTBEAT:
                self._send()

    def _send(self) -> None:
        """Publish the newest reading, unless there is no connection or it is busy."""
        reading = self._newest
        if reading is None:
            return
        if not self.published.connected or self._on_its_way is not None:
            self.published.passed_over += not self._later
            self._later = True
            return
        if self._online != reading.camera_ok:
            self._online = reading.camera_ok
            word = "online" if reading.camera_ok else "offline"
            self._client.publish(self._broker.availability, word, retain=True)
        text = strict.dumps_line(reading.to_dict())
        self._later, self._sent_at = False, time.monotonic()
        # At most once, all of them: what is acknowledged is sent again after a lost connection, when
        # it is old.
        sent = self._client.publish(self._broker.topic, text)
        if sent.rc == 0:
            self.published.readings += 1
            self._on_its_way = sent.mid
        else:  # the connection has just gone
            self.published.passed_over += 1

    def _arrived(self, client: Any, data: Any, mid: int, *_: Any) -> None:
        with self._lock:
            if mid == self._on_its_way:
                self._on_its_way = None
                if self._later:
                    self._send()

    def _connected(self, client: Any, data: Any, flags: Any, reason: Any, *_: Any) -> None:
        if reason.is_failure:
            self._complain(f"refuses us ({reason})")
            return
        with self._lock:
            self.published.connects += 1
            self.published.connected = True
            self._online, self._on_its_way, self._complained = None, None, False
            client.publish(self._broker.discovery, self._discovery, retain=True)
            client.subscribe(_BIRTH)
            self._send()
        log.info("the broker %s has let us in", self._broker.host)

    def _disconnected(self, client: Any, data: Any, flags: Any, reason: Any, *_: Any) -> None:
        with self._lock:
            was, self.published.connected = self.published.connected, False
        if was and reason.is_failure:
            self._complain(f"is gone ({reason})")

    def _heard(self, client: Any, data: Any, message: Any) -> None:
        """Home Assistant has started: it does not know the reading, which is not retained."""
        if message.payload == b"online":
            with self._lock:
                self._online = None
                self._send()

    def _complain(self, what: str) -> None:
        """Once, until the broker lets us in."""
        if not self._complained:
            self._complained = True
            log.warning("the broker %s %s; trying again", self._broker.host, what)
