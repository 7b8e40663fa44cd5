"""Options that several verbs take."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from edgeemo.models import shipped_models

PATH = click.Path(path_type=Path)


class RunPath(click.Path):
    """A run folder; a bundle, by its name or path, is told how to become one."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        path = Path(value)
        shipped = not path.exists() and str(value) in shipped_models()
        if shipped or (path.suffix == ".edgeemo" and path.is_file()):
            self.fail(
                f"expected a run folder, received the bundle {value}; make a float run of it: "
                f"python -m training restore {value} --data prepared/ --out runs/{path.stem}",
                param,
                ctx,
            )
        return super().convert(value, param, ctx)


Option = Callable[[Callable[..., Any]], Callable[..., Any]]


def _bytes(context: click.Context, parameter: click.Parameter, text: str | None) -> int | None:
    """A number of bytes, with K or M for 1,024 and its square."""
    if text is None:
        return None
    factor = {"K": 1 << 10, "M": 1 << 20}.get(text[-1:].upper(), 1)
    digits = text if factor == 1 else text[:-1]
    if not digits.isascii() or not digits.isdigit() or len(digits) > 12:
        raise click.BadParameter(f"expected bytes such as 65536 or 64K, received {text[:40]!r}")
    return int(digits) * factor


def checked_licence(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """--licence as it was typed. Raises click.BadParameter."""
    if value is not None and not (value.strip() and value.isprintable() and len(value) <= 500):
        raise click.BadParameter(
            f"expected printable text of 1 to 500 characters, received {value[:60]!a}"
        )
    return value


def out(what: str) -> Option:
    """--out, of that meaning."""
    return click.option("--out", type=PATH, required=True, help=what)


def as_json(what: str) -> Option:
    """--json, of that meaning."""
    return click.option("--json", "as_json", is_flag=True, help=what)


max_ram = click.option(
    "--max-ram",
    metavar="BYTES",
    help="Refuse when the arena is larger; 64K is 65536.",
    callback=_bytes,
)
