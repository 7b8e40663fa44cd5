"""Signs of life of what takes long: a bar on a terminal; in a log file a line a minute at most, all
work of the process together.
"""

import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from tqdm import tqdm

from edgeemo.cli.shell import say
from edgeemo.contract.checked.text import printable
from workstation.text import duration

EVERY = 60.0
"""Seconds between two lines in a log file, and before the first one."""

_SHORT = 5.0  # seconds of work that need no line, however long the last one is ago

_Item = TypeVar("_Item")


class Pulse:
    """Lets one line through in so many seconds."""

    def __init__(self, every: float = EVERY, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock = clock
        self._every, self._last = every, clock()

    def due(self) -> bool:
        """Whether a line may be said now, which counts as said then."""
        now = self.clock()
        if now - self._last < self._every:
            return False
        self._last = now
        return True


_PULSE = Pulse()  # of this process, however many bars follow each other or lie in each other


class Bar:
    """How far some work is, shown to nobody; the kinds that show it are made of this one."""

    def __init__(self, done: int = 0) -> None:
        self.done = done

    def reach(self, done: int) -> None:
        """So many are done now; fewer than before where they have to be done again."""
        self.done = done

    def advance(self) -> None:
        """One more is done."""
        self.reach(self.done + 1)


class _Lines(Bar):
    def __init__(
        self, title: str, total: int | None, unit: str, done: int, note: str, pulse: Pulse
    ) -> None:
        super().__init__(done)
        self._title, self._total, self._unit, self._note = title, total, unit, note
        self._pulse, self._start, self._begun = pulse, pulse.clock(), done

    def reach(self, done: int) -> None:
        super().reach(done)
        if self._pulse.clock() - self._start >= _SHORT and self._pulse.due():
            say(self._line(), err=True)

    def _line(self) -> str:
        scale, unit = (1e6, "MB") if self._unit == "B" else (1, self._unit)
        amount = f"{self.done / scale:,.0f}"
        if self._total is not None:
            amount += f" of {self._total / scale:,.0f}"
        parts = [f"{self._title}: {amount} {unit}"]
        made = self.done - self._begun
        if self._total and made > 0:
            pace = (self._pulse.clock() - self._start) / made
            parts.append(f"{duration(pace * max(0, self._total - self.done))} left")
        return ", ".join([*parts, self._note] if self._note else parts)


class _OnTerminal(Bar):
    def __init__(self, shown: Any) -> None:
        super().__init__(shown.n)
        self._shown = shown

    def reach(self, done: int) -> None:
        self._shown.update(done - self.done)
        super().reach(done)


@contextmanager
def progress(
    title: str,
    total: int | None,
    unit: str,
    *,
    done: int = 0,
    note: str = "",
    shown: bool = True,
    keep: bool = False,
    pulse: Pulse = _PULSE,
) -> Iterator[Bar]:
    """Show on stderr how far `title` is: `done` of `total` (None: not known), in units of the
    plural `unit`, and the time left.

    On a terminal it is a bar with `note` at its end, which goes away at the end unless `keep`.
    Elsewhere it is a line whenever `pulse` lets one through, so short work says nothing. Bytes (the
    unit "B") are counted in millions. With `shown` false nothing is shown.
    """
    if not shown:
        yield Bar(done)
    elif not sys.stderr.isatty():
        yield _Lines(printable(title), total, unit, done, note, pulse)
    else:
        with tqdm(
            desc=printable(title),
            total=total,
            initial=done,
            unit=unit if unit == "B" else f" {unit}",
            unit_scale=unit == "B",
            leave=keep,
            dynamic_ncols=True,
            postfix=note or None,
            bar_format=_form(total, unit),
            file=sys.stderr,
        ) as bar:
            yield _OnTerminal(bar)


def _form(total: int | None, unit: str) -> str | None:
    """tqdm's bar, but for what 80 columns have no room for; None for its own."""
    if total is None:
        return None
    pace = ", {rate_fmt}" * (unit == "B")
    return f"{{l_bar}}{{bar}}| {{n_fmt}}/{{total_fmt}} {unit}{pace}, {{remaining}} left{{postfix}}"


def say_above(line: str, *, err: bool = False) -> None:
    """Say a line while bars may be shown: it comes above them."""
    with tqdm.external_write_mode(sys.stderr if err else sys.stdout):
        say(line, err=err)


def time_left(seconds: Sequence[float], rounds: int) -> str:
    """The time for so many rounds more, from the seconds of those that are done; of the last five
    the median. Empty where none is done, or none is left.
    """
    if not seconds or rounds <= 0:
        return ""
    return f"{duration(statistics.median(seconds[-5:]) * rounds)} left"


def counted(
    items: Iterable[_Item], title: str, unit: str, total: int | None = None, **how: Any
) -> Iterator[_Item]:
    """The items one by one, with `progress` of them; `total` is their number unless they have one,
    `how` what else `progress` takes.
    """
    if total is None and hasattr(items, "__len__"):
        total = len(items)  # type: ignore[arg-type]
    with progress(title, total, unit, **how) as bar:
        for item in items:
            yield item
            bar.advance()
