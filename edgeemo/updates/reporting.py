"""What an update has come to, told to an address or a broker that the owner has named."""

import http.client
import logging
import re
import secrets
import urllib.request
from dataclasses import asdict, dataclass
from threading import Event
from typing import Any
from urllib.parse import urlsplit

from edgeemo.broker import Broker, parse_broker
from edgeemo.contract.checked import strict
from edgeemo.contract.checked.text import is_host
from edgeemo.errors import InvalidInput
from edgeemo.optional import need
from edgeemo.updates.client import Update

SECONDS = 15.0
"""A report may take so long."""

log = logging.getLogger("edgeemo.updates")


@dataclass(frozen=True)
class Reporter:
    """Tells one place. A report that is not taken is a warning and no failure of the update."""

    place: str | Broker
    """An http(s) address, which gets a POST, or a broker, which gets one message of its topic."""
    device: str
    """`edgeemo.updates.releases.device_id`."""
    password: str = ""
    """Of the broker's user."""
    seconds: float = SECONDS
    """It may take so long."""

    def tell(self, result: Update) -> bool:
        """Tell what came of it; whether it was taken."""
        release = asdict(result.release) if result.release else None
        return self._send({"ok": True, "release": release, "new": result.new, "text": result.text})

    def tell_failure(self, error: Exception) -> bool:
        """Tell why nothing came of it; whether it was taken."""
        return self._send({"ok": False, "release": None, "new": False, "text": str(error)})

    def _send(self, told: dict[str, Any]) -> bool:
        text = strict.dumps_line({"device": self.device} | told)
        try:
            if isinstance(self.place, Broker):
                _publish(self.place, self.password, text, self.seconds)
            else:
                _post(self.place, text, self.seconds)
        except (OSError, ValueError, http.client.HTTPException) as error:
            where = self.place.host if isinstance(self.place, Broker) else self.place
            log.warning("%s: the report was not taken (%s)", where, error)
            return False
        return True


def parse_place(word: str) -> str | Broker:
    """Where to report to: http(s)://..., or mqtt(s)://[user@]host[:port]/topic.

    Raises:
        InvalidInput: another kind of address.
        MissingDependency: a broker, and paho-mqtt is not installed.
    """
    if word.startswith(("mqtt:", "mqtts:")):
        broker = parse_broker(word)
        need("paho.mqtt.client", "mqtt", "to report to a broker")
        return broker
    if "@" in word:
        raise InvalidInput(
            "expected an address to report to without a user or password, which logs would show; "
            "report to an address that needs none"
        )
    if not _is_web(word):
        raise InvalidInput(
            f"expected an http(s) or mqtt(s) address to report to, received {word[:80]!r}"
        )
    return word


def _is_web(word: str) -> bool:
    try:
        parts = urlsplit(word)
        web = parts.scheme in ("http", "https") and is_host(parts.hostname or "")
        return web and parts.port != 0 and re.fullmatch(r"[!-~]+", word) is not None
    except ValueError:
        return False


def _post(url: str, text: str, seconds: float) -> None:
    request = urllib.request.Request(url, text.encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=seconds):
        pass


def _publish(broker: Broker, password: str, text: str, seconds: float) -> None:
    """One message, acknowledged (QoS 1) and not retained. Raises OSError, ValueError."""
    paho: Any = need("paho.mqtt.client", "mqtt", "to report to a broker")
    client = paho.Client(
        paho.CallbackAPIVersion.VERSION2, client_id=f"edgeemo-{secrets.token_hex(6)}"
    )
    if broker.user:
        client.username_pw_set(broker.user, password or None)
    if broker.tls:
        client.tls_set()
    ended, refused = Event(), []

    def connected(_: Any, __: Any, ___: Any, reason: Any, *____: Any) -> None:
        if reason.is_failure:
            refused.append(f"the broker refuses us ({reason})")
            ended.set()
        else:
            client.publish(broker.topic, text, qos=1)

    client.on_connect = connected
    client.on_publish = lambda *_: ended.set()
    client.connect_timeout = seconds
    client.connect(broker.host, broker.port)
    client.loop_start()
    try:
        if not ended.wait(seconds):
            raise TimeoutError(f"the broker has not acknowledged it in {seconds:g} s")
        if refused:
            raise ConnectionRefusedError(refused[0])
    finally:
        client.disconnect()
        client.loop_stop()
