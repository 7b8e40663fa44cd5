"""edgeemo serve"""

import logging
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeemo.cli.following import Followers, Following, following_options
from edgeemo.cli.options import PlainPath
from edgeemo.cli.sensing import Sensing, sensing_options
from edgeemo.cli.shell import NumberRange, log_to_stderr, say
from edgeemo.contract.languages import LANGUAGES
from edgeemo.errors import InvalidInput, ServeError

if TYPE_CHECKING:
    from edgeemo.serve.metrics import Metric

_HELP = """Serve a camera's readings: a page for people, and an API for programs.

\b
edgeemo serve                              http://127.0.0.1:8765/
edgeemo serve --camera csi --show-frames   the page shows the camera's picture
edgeemo serve --host 0.0.0.0 --token-file token
edgeemo serve --mqtt mqtt://broker/kiosk --on happy=http://screen.local/smile

Only this machine can reach it, unless --host says otherwise: then a token is needed, and a line
on stderr is a link that lets one browser in. Nothing is kept, and no picture leaves the
device without --show-frames. Ctrl-C, SIGTERM and SIGHUP end it: the exit code is 0. It is 1 where
the sensor died.
"""


@click.command(help=_HELP)
@sensing_options()
@click.option("--host", default="127.0.0.1", metavar="ADDRESS", help="The address to listen on.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8765, help="The port; 0: any free one."
)
@click.option(
    "--token-file",
    type=PlainPath(),
    metavar="FILE",
    help="What clients have to show; made, for its owner alone, where it is not there.",
)
@click.option(
    "--allow-origin",
    "origins",
    multiple=True,
    metavar="URL",
    help="Another site whose pages may ask, or by which a proxy serves this page; may be repeated.",
)
@click.option(
    "--show-frames", is_flag=True, help="Let clients see the camera's frames, with their boxes."
)
@click.option(
    "--lang",
    "language",
    type=click.Choice(LANGUAGES),
    default=LANGUAGES[0],
    help="Of the page, and of labels in frames.",
)
@click.option(
    "--retain",
    type=NumberRange(0, 3600),
    default=0,
    metavar="SECONDS",
    help="Keep readings in memory for so long, for clients whose connection broke.",
)
@following_options()
@click.option(
    "-v", "--verbose", is_flag=True, help="Log what the camera does, and each minute how all is."
)
def serve(
    sensing: Sensing,
    following: Following,
    host: str,
    port: int,
    token_file: Path | None,
    origins: tuple[str, ...],
    show_frames: bool,
    language: str,
    retain: float,
    verbose: bool,
) -> None:
    """The command; its text is _HELP."""
    from edgeemo.serve.doors import is_loopback, parse_origin
    from edgeemo.serve.server import listen
    from edgeemo.serve.service import Service, Settings

    if not is_loopback(host) and not token_file:
        raise click.UsageError(
            f"--host {host} lets other machines in, which need a token: add --token-file FILE"
        )
    try:
        allowed = tuple(map(parse_origin, origins))
    except InvalidInput as error:
        raise click.BadParameter(str(error), param_hint="--allow-origin") from None
    log_to_stderr("edgeemo", logging.INFO if verbose else logging.WARNING)
    try:
        with ExitStack() as stack:
            listening = stack.enter_context(listen(host, port))
            token = _token(token_file) if token_file else ""
            settings = Settings(host, token, allowed, show_frames, language, retain)
            sensor = stack.enter_context(sensing.open(realtime=True))
            followers = stack.enter_context(following.open(sensor))
            service = Service(
                sensor,
                listening,
                settings,
                predictor=lambda: sensing.recognizer(of_pictures=True),
                followers=[followers.tell],
                others=[lambda: _figures(followers)],
            )
            _say_where(host, listening.getsockname()[1], service.doors.link)
            service.run()
    except KeyboardInterrupt:
        pass  # Ctrl-C, SIGTERM and SIGHUP are how this usually ends


def _figures(followers: Followers) -> "Iterator[Metric]":
    from edgeemo.serve.metrics import Metric

    if followers.publisher:
        told = followers.publisher.published
        yield Metric("mqtt_connected", "Whether the broker has let us in.", told.connected)
        yield Metric("mqtt_connects_total", "Times that the broker let us in.", told.connects)
        yield Metric("mqtt_readings_total", "Readings that were published.", told.readings)
    counted = (
        ("calls", "Calls of hooks."),
        ("failures", "Calls of hooks that failed."),
        ("passed_over", "Events of hooks that were not told, for a newer one."),
    )
    for name, words in counted:
        for number, hook in enumerate(followers.hooks.hooks):
            labels = {"event": hook.rule.event, "hook": str(number)}
            yield Metric(f"hook_{name}_total", words, getattr(hook.called, name), labels)


def _say_where(host: str, port: int, link: str) -> None:
    import socket

    anywhere = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}
    name = anywhere.get(host, f"[{host}]" if ":" in host else host)
    say(f"edgeemo: http://{name}:{port}{link or '/'}  (Ctrl-C ends it)", err=True)
    if link:
        say("edgeemo: this link lets one browser in, once, within ten minutes", err=True)


def _token(file: Path) -> str:
    """The token in a file, which is made where it is not there.

    Raises:
        ServeError: a file that cannot be read or made, that is none, that others can read, or a short token.
    """
    from edgeemo.serve.doors import SHORTEST_TOKEN

    try:
        try:
            made = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            pass
        else:
            with os.fdopen(made, "w") as new:
                new.write(secrets.token_urlsafe(32) + "\n")
            say(f"edgeemo: made {file}, which clients have to show", err=True)
        state = file.stat()
        if not stat.S_ISREG(state.st_mode):
            raise ServeError(f"{file}: expected a file of a token, received a folder or a device")
        if state.st_mode & 0o077:
            raise ServeError(f"{file}: others can read it; run: chmod 600 {file}")
        token = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        if isinstance(error, ServeError):
            raise
        reason = getattr(error, "strerror", None) or "it is no text in ASCII"
        raise ServeError(f"{file}: cannot be used as token file ({reason})") from None
    if len(token) < SHORTEST_TOKEN or not token.isprintable() or " " in token:
        raise ServeError(
            f"{file}: expected a token of {SHORTEST_TOKEN} or more characters without blanks; "
            "remove the file, and one is made"
        )
    return token
