"""How every command line of the project ends: exit 0 done, 1 not possible (one line on stderr), 2
wrong usage.
"""

import difflib
import importlib
import logging
import math
import os
import re
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click
from click.shell_completion import CompletionItem, shell_complete

from edgeemo.contract.checked.text import printable
from edgeemo.errors import EdgeemoError, Interrupted, StorageError, speaking_of_options
from edgeemo.optional import install_line, is_installed, send_nothing

_NO_VALUE = re.compile(r"--[a-z0-9-]+=")

_BARE: Any = getattr(click.exceptions, "NoArgsIsHelpError", ())  # click from 8.2 on
SPOKEN: dict[str, str] = {}
"""Programs as messages name them, and what each was started as (`edgeemo.cli.checkout`)."""


class Verbs(click.Group):
    """A program of verbs that knows what a slip of the pen meant."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse an empty word, which is what `"$NAME"` gives where nothing is named: as a path it
        would be the folder at hand, and as an option's value often what nobody chose.
        """
        empty = [i for i, word in enumerate(args) if not word or _NO_VALUE.fullmatch(word)]
        if empty and not ctx.resilient_parsing:
            first = args[empty[0]] or (args[empty[0] - 1] if empty[0] else "")
            after = f" after {first}" if first else ""
            raise click.UsageError(
                f"expected a path or a value, received an empty word{after}; does a variable of the"
                " shell have none?",
                ctx,
            )
        return super().parse_args(ctx, args)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        word = args[0]
        known = word.startswith("-") or self.get_command(ctx, word) is not None
        if not known and not ctx.resilient_parsing:
            meant = self.meant(ctx, word)
            raise click.UsageError(f"No such command {word!r}.{meant and f' {meant}'}", ctx)
        return super().resolve_command(ctx, args)

    def meant(self, ctx: click.Context, word: str) -> str:
        """A sentence about what a word that is no verb may have been; empty where nobody knows."""
        close = difflib.get_close_matches(word, self.list_commands(ctx), n=1)
        return f"Did you mean {close[0]!r}?" if close else ""


class LazyVerbs(Verbs):
    """A program whose verbs are files of one package, each imported only when it is used."""

    def __init__(self, *, package: str, verbs: Mapping[str, str], **settings: Any) -> None:
        """`verbs` are names and what each does; `flash-image` is `flash_image` of its file."""
        context = {"help_option_names": ["-h", "--help"], "show_default": True}
        super().__init__(context_settings=context, **settings)
        self.package, self.verbs = package, verbs

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.verbs)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in self.verbs:
            return None
        module = name.replace("-", "_")
        command = getattr(importlib.import_module(f"{self.package}.{module}"), module)
        assert isinstance(command, click.Command)
        return command

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [  # without a look into the verbs' files
            CompletionItem(verb, help=what)
            for verb, what in self.verbs.items()
            if verb.startswith(incomplete)
        ]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(self.verbs.items()))


class NumberRange(click.FloatRange):
    """A range of finite numbers: click lets NaN through each, and infinity where it has no end."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"expected a number, received {value}", param, ctx)
        return number


def say(*lines: object, err: bool = False, colour: str = "", end: str = "\n") -> None:
    """Print lines, on stderr with `err`: the one way to a terminal for all programs.

    What a bundle, a file name or a message of others holds beside printable characters is shown as
    `edgeemo.contract.checked.text.printable` does. `colour` is click's name of one; `end` ends each
    line. Raises BrokenPipeError, and StorageError where standard output takes no more; what
    standard error does not take is lost.
    """
    for line in lines or ("",):
        shown = printable(_spoken(str(line)))
        text = _coloured(shown, colour) + end
        try:
            click.echo(text, err=err, nl=False)
        except BrokenPipeError:
            raise
        except OSError as error:
            if not err:
                raise _refused_output(error) from error


def begin_line_again(*, err: bool = False) -> None:
    """Let what is said next stand in place of the terminal's unfinished line."""
    click.echo("\r\x1b[K", err=err, nl=False)  # carriage return; erase to the end of the line


def say_in_place(parts: Iterable[tuple[str, str]], width: int) -> None:
    """Put coloured parts (text and click's name of a colour, or "") in place of the terminal's
    line on stdout, cut to `width` columns.
    """
    line = ""
    for text, colour in parts:
        shown = printable(text)[:width]
        width -= len(shown)
        line += _coloured(shown, colour)
    click.echo(f"\r{line}\x1b[K", nl=False)  # erase what was longer


def _coloured(text: str, colour: str) -> str:
    """The text in a colour, unless $NO_COLOR asks for none (https://no-color.org); click takes
    colours away where no terminal reads.
    """
    return click.style(text, fg=colour) if colour and not os.environ.get("NO_COLOR") else text


def _spoken(text: str) -> str:
    """The text with programs named as they were started, so that what it advises can be run."""
    for program, started_as in SPOKEN.items():
        text = text.replace(program, started_as)
    return text


def log_to_stderr(name: str, level: int) -> None:
    """Show log records from `level` on as lines of the program `name`, in printable characters."""
    handler = logging.StreamHandler()
    handler.setFormatter(_Printable(f"{name}: %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)


class _Printable(logging.Formatter):
    """Records on one line each; a traceback keeps its lines."""

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(map(printable, super().format(record).split("\n")))

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's name
        return printable(super().formatMessage(record))


def run(
    group: click.Command, name: str, arguments: Sequence[str] | None = None, *, extra: str = ""
) -> None:
    """Run a click command as the program `name` and exit; EDGEEMO_DEBUG=1 shows tracebacks. `extra`
    is the one of pyproject.toml that brings what its files import.
    """
    debug = os.environ.get("EDGEEMO_DEBUG") == "1"
    _open_standard()
    send_nothing()
    if logging.lastResort:  # what shows warnings where nobody has asked for a log
        logging.lastResort.setFormatter(_Printable())
    # A plain kill, as from systemd or a job scheduler, and a terminal or connection that goes,
    # clean up as Ctrl-C does; what nohup started stays deaf to the latter.
    signal.signal(signal.SIGTERM, lambda *_: _interrupt())
    hangup = getattr(signal, "SIGHUP", None)  # not on Windows
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:
        signal.signal(hangup, lambda *_: _interrupt())
    # OpenCV would add lines of its own to the one that says what is wrong.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "WARNING" if debug else "SILENT")
    os.environ.setdefault(
        "OPENCV_FFMPEG_LOGLEVEL", "24" if debug else "-8"
    )  # AV_LOG_WARNING, AV_LOG_QUIET
    words = list(sys.argv[1:] if arguments is None else arguments)
    name = SPOKEN.get(name, name)
    try:
        _complete(group, name)
        # Not group.main, which takes a closed pipe for a failure.
        with speaking_of_options(), group.make_context(name, words) as context:
            group.invoke(context)
        sys.exit(0)
    except click.exceptions.Exit as ended:
        sys.exit(ended.exit_code)
    except click.UsageError as error:
        if isinstance(error, _BARE):
            say(*_spoken(error.format_message()).splitlines(), err=True)  # the help
        else:
            _usage_of(error).show()
        sys.exit(2)
    except click.ClickException as error:
        _fail(name, error.format_message())
    except BrokenPipeError:
        # The reader has gone (`| head`): nothing is wrong, and nothing more can be said.
        _drop_output()
        sys.exit(0)
    except (click.Abort, KeyboardInterrupt):
        _fail(name, "interrupted; no half-written file is left", 130)
    except EdgeemoError as error:
        if debug:
            raise
        _fail(name, " ".join(str(error).split()), 130 if isinstance(error, Interrupted) else 1)
    except Exception as error:
        if debug:
            raise
        if isinstance(error, OSError) and _is_of_click(error):  # its own words, as of --help
            _fail(name, str(_refused_output(error)))
        if missing := _missing_package(error, extra):
            _fail(name, f"{missing} is not installed; run: {install_line(extra)}")
        text = " ".join(str(error).split())[:500]
        _fail(
            name,
            f"unexpected {type(error).__name__}: {text} (EDGEEMO_DEBUG=1 shows where; please"
            " report it)",
        )


def _complete(group: click.Command, name: str) -> None:
    """Answer the completion scripts of `edgeemo completion`, which ask through the environment."""
    variable = f"_{name}_COMPLETE".replace("-", "_").upper()
    if instruction := os.environ.get(variable):
        sys.exit(shell_complete(group, {}, name, variable, instruction))


def _interrupt() -> None:
    raise KeyboardInterrupt


def _missing_package(error: Exception, extra: str) -> str:
    """The package that an import did not find, where an extra is to bring it; "" otherwise."""
    if not extra or not isinstance(error, ModuleNotFoundError) or not error.name:
        return ""
    package = error.name.partition(".")[0]
    return "" if is_installed(package) else package


def _usage_of(error: click.UsageError) -> click.UsageError:
    """The same error with what was typed in printable characters."""
    text = _spoken(error.format_message())
    if isinstance(error, click.MissingParameter):
        return click.UsageError(" ".join(text.split()), error.ctx)  # nothing in it was typed
    return click.UsageError(printable(text), error.ctx)


def _fail(name: str, message: str, code: int = 1) -> None:
    _drop_output()
    say(f"{name}: {message}", err=True)
    sys.exit(code)


def _refused_output(error: OSError) -> StorageError:
    return StorageError(
        f"standard output cannot be written ({error.strerror or error}); free some space or write"
        " elsewhere"
    )


def _is_of_click(error: OSError) -> bool:
    """Whether it was raised while click wrote to standard output."""
    place = error.__traceback__
    while place and place.tb_next:
        place = place.tb_next
    return bool(place and str(place.tb_frame.f_globals.get("__name__")).startswith("click."))


def _drop_output() -> None:
    """Drop what a standard output that takes no more still has, of which the interpreter would
    complain at its end.
    """
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), sys.stdout.fileno())


def _open_standard() -> None:
    """Give closed standard descriptors to the null device: the next file that is opened would get
    their number, and what a library prints.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
