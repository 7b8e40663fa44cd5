"""The same work on many things, several at a time, with the answers in their order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")


def in_order(
    work: Callable[[_Item], _Answer], items: Iterable[_Item], workers: int
) -> Iterator[_Answer]:
    """`work` of each item in turn, `workers` at a time on threads of their own.

    Decoders, detectors and interpreters let other threads run, so threads do here what processes
    would, and the model is read once. No more than twice as many are under way as there are
    workers. What `work` raises is raised in its place, and nothing further begins.
    """
    if workers == 1:
        yield from map(work, items)
        return
    waiting: deque[Future[_Answer]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        try:
            for item in items:
                waiting.append(pool.submit(work, item))
                if len(waiting) >= 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
