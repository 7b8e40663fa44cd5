"""What a sensor's events call outside: an address that gets the reading, or a program.

Each rule has a thread and a place for one reading, so that a slow one makes nobody wait: of events
that come faster than it may call, only the newest is told.
"""

import contextlib
import logging
import os
import shlex
import shutil
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from edgeemo.contract.checked import strict
from edgeemo.contract.checked.text import is_host
from edgeemo.contract.labels import match_label
from edgeemo.errors import InvalidInput
from edgeemo.live.sensor import EmotionSensor
from edgeemo.results import Reading

NO_FACE, CHANGED = "no-face", "changed"
"""Events beside the labels; a label of that name goes first."""
EVERY = 1.0
"""Seconds between two calls of one rule, at least."""
URL_SECONDS = 5.0
"""That an address may take for each step of its answer."""
PROGRAM_SECONDS = 30.0
"""That a program may run."""
END_SECONDS = 2.0
"""That rules have at the end for what they are at."""
_LOG_EVERY = 10.0

log = logging.getLogger("edgeemo.live.hooks")


@dataclass(frozen=True)
class Rule:
    """What is called when."""

    event: str
    """A label's word, NO_FACE or CHANGED."""
    url: str = ""
    """Gets the reading by POST, as JSON; "" where a program is called."""
    program: tuple[str, ...] = ()
    """It and its arguments, as they are: no shell sees them. It reads the reading as JSON."""


def parse_rule(word: str) -> Rule:
    """A rule from EVENT=URL or EVENT=COMMAND.

    Raises:
        InvalidInput: it is none, an address of another kind than http and https, or a program that
            is not found.
    """
    event, equals, call = word.partition("=")
    event, call = event.strip(), call.strip()
    if not (event and equals and call):
        raise InvalidInput(f"expected EVENT=URL or EVENT=COMMAND, received {word[:80]!r}")
    if "://" in call.partition(" ")[0]:
        return Rule(event, url=_url(call))
    try:
        program = shlex.split(call)
    except ValueError as error:
        raise InvalidInput(f"expected a command after {event}= ({error})") from None
    if not program[0]:
        raise InvalidInput(f"expected EVENT=URL or EVENT=COMMAND, received {word[:80]!r}")
    if shutil.which(program[0]) is None:
        raise InvalidInput(f"{program[0]}: no such program; give its path")
    return Rule(event, program=tuple(program))


def _url(word: str) -> str:
    try:
        parts = urlsplit(word)
        named = is_host(parts.hostname or "")
        fits = parts.scheme in ("http", "https") and named and parts.port != 0
    except ValueError:
        fits = False
    if not fits or not word.isascii() or any(char.isspace() for char in word):
        raise InvalidInput("expected an address of http:// or https:// without blanks for a hook")
    return word


@dataclass
class Called:
    """What became of a rule's events."""

    calls: int = 0
    """Calls that were made."""
    failures: int = 0
    """Of these, those that failed: no answer, another than 2xx, an exit code other than 0."""
    passed_over: int = 0
    """Events that were not told, because a newer one came while the rule waited."""


class Hook:
    """One rule at work, on a thread of its own.

    Args:
        rule: what is called.
        every: seconds between two calls, at least.
        patience: seconds that `close` gives to what is called then.
    """

    def __init__(self, rule: Rule, every: float = EVERY, *, patience: float = END_SECONDS) -> None:
        self.rule, self.called = rule, Called()
        self._every, self._patience = every, patience
        self._news = threading.Condition()
        self._waiting: Reading | None = None
        self._stop = self._ended = False
        self._said_at = float("-inf")
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._run, name="edgeemo-hook", daemon=True)
        self._thread.start()

    def __call__(self, reading: Reading) -> None:
        """Call soon, with this reading. Never waits."""
        with self._news:
            self.called.passed_over += self._waiting is not None
            self._waiting = reading
            self._news.notify()

    def close(self) -> None:
        """Tell what waits, and end; after `patience` a program that still runs is killed, and an
        address is left to its time."""
        with self._news:
            self._stop = True
            self._news.notify()
        self._thread.join(self._patience)
        with self._news:
            self._ended = True
            process = self._process
        if process:
            _kill(process)
            self._thread.join(1.0)

    def _run(self) -> None:
        due = 0.0
        while True:
            with self._news:
                self._news.wait_for(lambda: self._stop or self._waiting)
                left = due - time.monotonic()
                if left > 0:
                    self._news.wait_for(lambda: self._stop, left)
                reading, self._waiting = self._waiting, None
            if reading is None:
                return
            due = time.monotonic() + self._every
            self._call(reading)

    def _call(self, reading: Reading) -> None:
        self.called.calls += 1
        text = strict.dumps_line(reading.to_dict()).encode() + b"\n"
        try:
            problem = self._post(text) if self.rule.url else self._start(text, reading)
        except Exception as error:  # whatever the network or the system says
            problem = _words(error)
        if problem and not self._ended:
            self.called.failures += 1
            if time.monotonic() - self._said_at >= _LOG_EVERY:
                self._said_at = time.monotonic()
                log.warning(
                    "the hook of %s failed (%s), %d of %d times",
                    self.rule.event, problem, self.called.failures, self.called.calls,
                )  # fmt: skip

    def _post(self, text: bytes) -> str:
        """What is wrong, "" for nothing."""
        request = urllib.request.Request(
            self.rule.url, text, {"Content-Type": "application/json"}, method="POST"
        )
        try:
            with _OPENER.open(request, timeout=URL_SECONDS):
                return ""
        except urllib.error.HTTPError as error:
            with error:
                return f"HTTP {error.code}"

    def _start(self, text: bytes, reading: Reading) -> str:
        environment = {"EDGEEMO_EVENT": self.rule.event, "EDGEEMO_EMOTION": reading.emotion or ""}
        with self._news:
            if self._ended:
                return ""
            self._process = process = subprocess.Popen(
                self.rule.program,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env={**os.environ, **environment},
            )
        try:
            process.communicate(text, PROGRAM_SECONDS)
        except subprocess.TimeoutExpired:
            _kill(process)
            process.communicate()
            return f"ran for more than {PROGRAM_SECONDS:g} s"
        finally:
            self._process = None
        return f"exit code {process.returncode}" if process.returncode else ""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """A reading goes to the address that was named, and no other."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """End a program and what it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _words(error: Exception) -> str:
    """An error in a few words, without the address, which may hold a secret."""
    reason = getattr(error, "reason", error)
    said = getattr(reason, "strerror", None)
    return str(said) if said else type(reason).__name__


@dataclass
class Hooks:
    """The hooks of one sensor; a context manager.

    Raises:
        UnknownLabel: an event that is none of the sensor's labels.
    """

    sensor: EmotionSensor
    """Whose events are told."""
    rules: Sequence[Rule]
    """What is called when."""
    every: float = EVERY
    """Seconds between two calls of one rule, at least."""
    hooks: list[Hook] = field(default_factory=list)
    """One a rule, once entered."""

    def __enter__(self) -> "Hooks":
        events = [self._event(rule.event) for rule in self.rules]  # before any thread starts
        of_event: dict[str, list[Hook]] = {}
        for event, rule in zip(events, self.rules, strict=True):
            self.hooks.append(Hook(rule, self.every))
            of_event.setdefault(event, []).append(self.hooks[-1])
        for event, hooks in of_event.items():
            self._set(event, _all(hooks))
        return self

    def _event(self, word: str) -> str:
        if word in (NO_FACE, CHANGED) and word not in self.sensor.labels:
            return word
        return match_label(word, self.sensor.labels)

    def _set(self, event: str, handler: Callable[[Reading], None]) -> None:
        if event in self.sensor.labels:
            self.sensor.when(event, handler)
        elif event == CHANGED:
            self.sensor.when_changed(handler)
        else:
            self.sensor.when_no_face(handler)

    def __exit__(self, *_: object) -> None:
        # At a time, as each may take its seconds.
        closing = [threading.Thread(target=hook.close) for hook in self.hooks]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join()


def _all(hooks: Sequence[Hook]) -> Callable[[Reading], None]:
    def call(reading: Reading) -> None:
        for hook in hooks:
            hook(reading)

    return call
