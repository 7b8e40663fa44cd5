"""Names to what they stand for: our own, one file each, and those that other packages bring.

A package from outside registers an entry point in the registry's group, in its pyproject.toml:

    [project.entry-points."edgeemo.detectors"]
    mine = "my_package.detector:open_mine"
"""

import importlib
import importlib.metadata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Generic, TypeVar, cast

from edgeemo.errors import BrokenDependency, InvalidInput
from edgeemo.optional import IMPORTING

T = TypeVar("T")


class Registry(Generic[T]):
    """What can be found by a name. Nothing is imported before it is asked for.

    Args:
        kind: what messages call an entry, such as "detector".
        group: the group of entry points that other packages may use.
        own: our entries, by name, as "module:attribute"; nobody can take their names.
        entry: what another package's entry has to be an instance of; None for something to call.
    """

    def __init__(
        self, kind: str, group: str, own: Mapping[str, str], entry: type | None = None
    ) -> None:
        self.kind, self.group, self._own, self._entry = kind, group, dict(own), entry
        self._added: dict[str, T] = {}

    def __iter__(self) -> Iterator[str]:
        """Names: ours in the table's order, those added here, then other packages' by alphabet."""
        known = dict.fromkeys([*self._own, *self._added])
        yield from known
        yield from sorted({point.name for point in self._points()} - set(known))

    def get(self, name: str) -> T:
        """What `name` stands for.

        Raises:
            InvalidInput: nothing; the message lists what there is.
            BrokenDependency: another package's entry cannot be imported, or is of another kind.
        """
        if name in self._added:
            return self._added[name]
        if name in self._own:
            module, _, attribute = self._own[name].partition(":")
            return cast(T, getattr(importlib.import_module(module), attribute))
        points = [point for point in self._points() if point.name == name]
        if len({point.value for point in points}) > 1:
            packages = ", ".join(sorted(p.dist.name if p.dist else p.value for p in points))
            raise BrokenDependency(
                f"the {self.kind} {name} comes with several packages ({packages}); "
                "remove all but one"
            )
        if points:
            return self._loaded(points[0])
        raise InvalidInput(
            f"expected a {self.kind} of {', '.join(self)}; received {str(name)[:80]!r}"
        )

    @contextmanager
    def added(self, name: str, entry: T) -> Iterator[None]:
        """Inside, `name` stands for `entry` in this process, whatever it stood for before."""
        before = dict(self._added)
        self._added[name] = entry
        try:
            yield
        finally:
            self._added = before

    def _points(self) -> "importlib.metadata.EntryPoints":
        return importlib.metadata.entry_points(group=self.group)

    def _loaded(self, point: importlib.metadata.EntryPoint) -> T:
        package = point.dist.name if point.dist else point.value
        try:
            with IMPORTING:  # it may import OpenCV
                entry = point.load()
        except (Exception, SystemExit) as error:  # whatever somebody else's module raises
            raise BrokenDependency(
                f"the {self.kind} {point.name} of the package {package} cannot be imported "
                f"({type(error).__name__}: {str(error)[:160]}); update or remove that package"
            ) from None
        if not (isinstance(entry, self._entry) if self._entry else callable(entry)):
            expected = self._entry.__name__ if self._entry else "something to call"
            raise BrokenDependency(
                f"the {self.kind} {point.name} of the package {package}: expected {expected}, "
                f"received {type(entry).__name__}; update or remove that package"
            )
        return cast(T, entry)
