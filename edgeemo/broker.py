"""Addresses of MQTT brokers, as command lines name them."""

import hashlib
import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from edgeemo.contract.checked.text import is_host
from edgeemo.errors import InvalidInput

PASSWORD = "EDGEEMO_MQTT_PASSWORD"
"""The environment's variable of the password."""
_PORTS = {"mqtt": 1883, "mqtts": 8883}


@dataclass(frozen=True)
class Broker:
    """Where messages go."""

    host: str
    """Name or address."""
    port: int
    """TCP port."""
    topic: str
    """Of the messages; what is available stands below it."""
    user: str = ""
    """"" for none."""
    tls: bool = False
    """Whether the connection is encrypted, and the broker's certificate checked."""

    @property
    def availability(self) -> str:
        """The topic that says "online" while readings come, and "offline"."""
        return f"{self.topic}/availability"

    @property
    def device(self) -> str:
        """The device's name for machines, from the topic: letters, digits and _."""
        plain = re.sub(r"[^A-Za-z0-9_-]+", "_", self.topic)
        differs = "" if plain == self.topic else "_" + _digest(self.topic)
        return f"edgeemo_{plain}{differs}"

    @property
    def discovery(self) -> str:
        """The topic of Home Assistant's discovery message."""
        return f"homeassistant/device/{self.device}/config"


def parse_broker(word: str) -> Broker:
    """A broker from mqtt://[user@]host[:port]/topic, or mqtts:// for TLS.

    Raises:
        InvalidInput: it is none, or holds a password, which others would see in the process list.
    """
    try:
        parts = urlsplit(word)
        port = parts.port
    except ValueError:
        raise _no_broker(word) from None
    topic = unquote(parts.path[1:])
    if parts.password is not None:
        raise InvalidInput(
            f"expected no password in the broker's address; put it into ${PASSWORD} or a file"
        )
    fits = (
        parts.scheme in _PORTS
        and is_host(parts.hostname or "")
        and port != 0
        and topic
        and not re.search(r"[#+\x00-\x1f]|^\$|^/|/$|//", topic)
        and len(topic.encode()) <= 200
        and not re.search("[?#]", word)
    )
    if not fits:
        raise _no_broker(word)
    return Broker(
        str(parts.hostname),
        port or _PORTS[parts.scheme],
        topic,
        unquote(parts.username or ""),
        parts.scheme == "mqtts",
    )


def without_user(address: str) -> str:
    """The beginning of an address, for messages: user and password, if any, are not in it."""
    return re.sub(r"//.*@", "//***@", address)[:80]


def _no_broker(word: str) -> InvalidInput:
    return InvalidInput(
        "expected mqtt://[user@]host[:port]/topic or mqtts://..., with a topic without #, + and "
        f"empty levels, received {without_user(word)!r}"
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:6]
