"""Each command's --help: examples that work as written, on lines that 80 columns hold."""

import re
import shlex
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from edgeemo.cli.main import main as device
from export.cli.main import main as export
from training.__main__ import main as training

PROGRAMS: dict[str, click.Command] = {
    "edgeemo": device,
    "python -m training": training,
    "python -m export": export,
}


def commands(command: click.Command, words: str) -> Iterator[tuple[str, click.Command]]:
    """A command and all below it, each with the words that call it."""
    yield words, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for verb in command.list_commands(context):
            below = command.get_command(context, verb)
            assert below is not None
            yield from commands(below, f"{words} {verb}")


COMMANDS = dict(found for name, group in PROGRAMS.items() for found in commands(group, name))


def examples(text: str, words: str) -> list[list[str]]:
    """What follows `words` in each example of a help, without the remark or the pipe beside it."""
    joined = re.sub(r" *\\\n *", " ", text)  # a line that goes on
    lines = [re.sub(r"^[A-Z_]+=\S+ ", "", line.strip()) for line in joined.splitlines()]
    return [
        shlex.split(re.split(r" {2,}| \| ", line)[0].removeprefix(words))
        for line in lines
        if re.match(rf"{re.escape(words)}( |$)", line)
    ]


def test_every_program_is_walked() -> None:
    assert len(COMMANDS) >= 32
    assert "edgeemo models pull" in COMMANDS


@pytest.mark.parametrize("words", COMMANDS)
def test_help_has_examples_that_parse_and_fits_80_columns(words: str) -> None:
    command = COMMANDS[words]
    name = next(name for name in PROGRAMS if words.startswith(name))
    verbs = words.removeprefix(name).split()
    done = CliRunner().invoke(
        PROGRAMS[name], [*verbs, "--help"], prog_name=name, terminal_width=80, max_content_width=80
    )
    assert done.exit_code == 0, done.output
    assert [line for line in done.output.splitlines() if len(line) > 80] == []
    found = examples(done.output, words)
    assert found, done.output
    for arguments in found:
        # UsageError for an option or argument that the command does not take, or lacks.
        command.make_context(words, arguments)
