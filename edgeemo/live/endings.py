"""Ends that nobody asked for: the program's, and that of a sensor that is dropped unused."""

import atexit
import functools
import logging
import threading
import weakref
from collections.abc import Callable, Iterable
from typing import Protocol

log = logging.getLogger("edgeemo.live.sensor")


class Closable(Protocol):
    """What the program's end closes."""

    def close(self) -> None:
        """Close it."""


@functools.cache
def closed_at_exit() -> "weakref.WeakSet[Closable]":
    """What is closed when the program ends, if it is still there."""
    open_ones: weakref.WeakSet[Closable] = weakref.WeakSet()

    def close_all() -> None:
        for each in list(open_ones):
            _quietly(each.close)

    atexit.register(close_all)
    return open_ones


def close_when_dropped(
    owner: object, closes: Iterable[Callable[[], None]], *, unless: threading.Event
) -> None:
    """Call `closes` when nobody refers to `owner` any more, unless the event is set by then.

    The garbage collector calls them in whichever thread it runs, so they must wait for no other.
    """
    weakref.finalize(owner, _close, tuple(closes), unless).atexit = False


def _close(closes: Iterable[Callable[[], None]], unless: threading.Event) -> None:
    if not unless.is_set():
        for close in closes:
            _quietly(close)


def _quietly(close: Callable[[], None]) -> None:
    try:
        close()
    except BaseException as error:  # what a handler raised was told when it ended the sensor
        log.info("while closing: %r", error)
