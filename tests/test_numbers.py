"""Numbers of every command line: NaN and infinities are none."""

from collections.abc import Iterator

import click
import pytest

from edgeemo.cli.main import main as edgeemo
from export.cli.main import main as export
from training.__main__ import main as training


def numbers(program: str, command: click.Command) -> Iterator[tuple[str, click.Parameter]]:
    """Every parameter that takes a number with a fraction, and where it stands."""
    context = click.Context(command)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            verb = command.get_command(context, name)
            assert verb is not None
            yield from numbers(f"{program} {name}", verb)
    for parameter in command.params:
        if isinstance(parameter.type, (click.FloatRange, click.types.FloatParamType)):
            yield f"{program} {parameter.opts[0]}", parameter


PROGRAMS = {"edgeemo": edgeemo, "export": export, "training": training}


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_is_no_finite_number_is_wrong_usage(program: str) -> None:
    found = dict(numbers(program, PROGRAMS[program]))
    assert found
    for word in ("nan", "inf", "-inf"):
        let_through = []
        for where, parameter in found.items():
            try:
                parameter.type.convert(word, parameter, None)
            except click.BadParameter:
                continue
            let_through.append(where)
        assert let_through == [], word
