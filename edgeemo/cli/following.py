"""Who else follows a sensor: a broker, and what its events call."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeemo.cli.options import Decorator, PlainPath
from edgeemo.errors import InvalidInput, ServeError

if TYPE_CHECKING:
    from edgeemo.broker import Broker
    from edgeemo.live.hooks import Hooks, Rule
    from edgeemo.live.mqtt import MqttPublisher
    from edgeemo.live.readings_queue import Seen
    from edgeemo.live.sensor import EmotionSensor

_MOST_BYTES = 4096  # of a password's file


@dataclass(frozen=True)
class Followers:
    """Those that follow one sensor now."""

    publisher: "MqttPublisher | None"
    """The broker's; None without one."""
    hooks: "Hooks"
    """What events call."""

    def tell(self, seen: "Seen") -> None:
        """Hand on a frame's readings; neither raises nor waits."""
        if self.publisher:
            self.publisher.tell(seen)


@dataclass(frozen=True)
class Following:
    """Who is to follow, as the command line asks for it."""

    broker: "Broker | None"
    """Where readings go."""
    password_file: Path | None
    """Of the broker's user."""
    authorities: Path | None
    """Certificates that the broker's is checked with; None: the system's."""
    rules: "Sequence[Rule]"
    """What events call."""

    @contextmanager
    def open(self, sensor: "EmotionSensor") -> Iterator[Followers]:
        """Begin to follow, and end it.

        Raises:
            ServeError: a password or certificates that cannot be read.
            MissingDependency: paho-mqtt is not installed.
            UnknownLabel: an event that is none of the sensor's labels.
        """
        from edgeemo.live.hooks import Hooks
        from edgeemo.live.mqtt import MqttPublisher

        with ExitStack() as stack:
            publisher = None
            if self.broker:
                bundle = sensor.recognizer.bundle
                publisher = stack.enter_context(
                    MqttPublisher(
                        self.broker,
                        sensor.labels,
                        model=bundle.manifest.name if bundle else "",
                        password=self._password(),
                        authorities=str(self.authorities or ""),
                    )
                )
            yield Followers(publisher, stack.enter_context(Hooks(sensor, self.rules)))

    def _password(self) -> str:
        from edgeemo.broker import PASSWORD

        if not self.password_file:
            return os.environ.get(PASSWORD, "")
        try:
            with self.password_file.open(encoding="utf-8") as file:
                return file.read(_MOST_BYTES).strip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
            raise ServeError(f"{self.password_file}: cannot be read ({reason})") from None


def following_options() -> Decorator:
    """--mqtt and --on, which the command gets as one `following`."""

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def with_following(
            mqtt: "Broker | None",
            mqtt_password_file: Path | None,
            mqtt_ca: Path | None,
            on: "tuple[Rule, ...]",
            **others: Any,
        ) -> Any:
            if (mqtt_password_file or mqtt_ca) and not mqtt:
                raise click.UsageError("--mqtt-password-file and --mqtt-ca need --mqtt")
            if mqtt_password_file and mqtt and not mqtt.user:
                raise click.UsageError("a password needs a user: --mqtt mqtt://USER@HOST/TOPIC")
            following = Following(mqtt, mqtt_password_file, mqtt_ca, on)
            return command(following=following, **others)

        decorated: Any = with_following
        for option in reversed(_OPTIONS):
            decorated = option(decorated)
        return decorated  # type: ignore[no-any-return]

    return decorate


def _broker(ctx: click.Context, param: click.Parameter, value: str | None) -> "Broker | None":
    from edgeemo.broker import parse_broker

    try:
        return None if value is None else parse_broker(value)
    except InvalidInput as error:
        raise click.BadParameter(str(error)) from None


def _rules(
    ctx: click.Context, param: click.Parameter, value: tuple[str, ...]
) -> "tuple[Rule, ...]":
    from edgeemo.live.hooks import parse_rule

    try:
        return tuple(map(parse_rule, value))
    except InvalidInput as error:
        raise click.BadParameter(str(error)) from None


_OPTIONS: tuple[Decorator, ...] = (
    click.option(
        "--mqtt",
        callback=_broker,
        metavar="mqtt://[USER@]HOST[:PORT]/TOPIC",
        help=(
            "Publish readings at a broker where something changes, with a device for Home "
            "Assistant; mqtts:// is encrypted. The password: $EDGEEMO_MQTT_PASSWORD, or a file."
        ),
    ),
    click.option(
        "--mqtt-password-file", type=PlainPath(), metavar="FILE", help="The broker's password."
    ),
    click.option(
        "--mqtt-ca",
        type=PlainPath(),
        metavar="FILE",
        help="Certificates to check an mqtts:// broker's with  [default: the system's]",
    ),
    click.option(
        "--on",
        multiple=True,
        callback=_rules,
        metavar="EVENT=URL|COMMAND",
        help=(
            "When an emotion comes (a label, no-face or changed): send the reading to an address "
            "by POST, or to a program; at most once a second. May be repeated."
        ),
    ),
)
