"""./scripts/fuzz"""

import subprocess
import sys
from pathlib import Path

import click

from tests.fuzz import loader
from tests.fuzz.watch import Ended, watched

OUTPUT = Path("fuzz-output")


def summaries() -> dict[str, str]:
    """The targets' names, and what each reads."""
    from tests.fuzz.targets import TARGETS

    return {name: target.summary for name, target in TARGETS.items()} | {"loader": loader.SUMMARY}


class _Help(click.Command):
    def format_epilog(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Targets"):
            formatter.write_dl(list(summaries().items()))


@click.command(cls=_Help, context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("target", required=False)
@click.argument("seconds", type=click.IntRange(1), default=60)
@click.option(
    "--replay",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Run TARGET on this file alone, as a crash tells.",
)
def main(target: str | None, seconds: int, replay: Path | None) -> None:
    """Feed bytes that nobody checked to what reads them: ./scripts/fuzz [TARGET] [SECONDS]

    Without a target each runs for a minute. What a target ends on (an exception that it does not
    promise, a signal, a hang) is kept in fuzz-output/TARGET/crash-HASH, with the command that runs
    it again. Fix it, and put the file into tests/fuzz/found/TARGET/: from then on it is a test.

    \b
    ./scripts/fuzz                      # every target, a minute each
    ./scripts/fuzz picture 600          # one, ten minutes
    ./scripts/fuzz picture --replay fuzz-output/picture/crash-0123456789ab

    Exit code 0: nothing was found; 1: something was; 2: wrong usage.
    """
    names = list(summaries())
    if target is not None and target not in names:
        raise click.UsageError(f"no target {target!r}; expected one of {', '.join(names)}")
    if replay is not None:
        if target is None:
            raise click.UsageError("--replay needs the target that the file is for")
        sys.exit(_replayed(target, replay))
    results = [_fuzzed(name, seconds) for name in ([target] if target else names)]
    sys.exit(1 if any(results) else 0)


def _fuzzed(name: str, seconds: int) -> bool:
    """Whether a target ended on something; says so."""
    folder = OUTPUT / name
    folder.mkdir(parents=True, exist_ok=True)
    click.echo(f"{name}: {seconds} s ...")
    if name == "loader":
        if not loader.can_build():
            click.echo(f"{name}: left out, it {loader.WAY_OUT}")
            return False
        ended = watched(loader.words(loader.build(folder), seconds, folder), seconds, folder)
    else:
        words = [sys.executable, "-m", "tests.fuzz.child", name, str(seconds), str(folder)]
        ended = watched(words, seconds, folder)
    _say(name, ended)
    return bool(ended.why)


def _say(name: str, ended: Ended) -> None:
    if not ended.why:
        facts = [
            line.removeprefix("stat::").strip()
            for line in ended.output.splitlines()
            if "number_of_executed_units" in line or line.endswith("inputs") or "without" in line
        ]
        click.echo(f"{name}: nothing was found; {', '.join(facts)}")
        return
    click.echo(ended.output)
    click.echo(f"{name}: {ended.why}")
    if ended.input is not None:
        click.echo(f"kept; again with: ./scripts/fuzz {name} --replay {ended.input}")


def _replayed(name: str, file: Path) -> int:
    if name == "loader":
        program = loader.build(OUTPUT / name)
        return 1 if subprocess.run([program, file]).returncode else 0
    from tests.fuzz.targets import TARGETS

    TARGETS[name].run(file.read_bytes())
    click.echo(f"{name}: {file} is answered as promised")
    return 0


if __name__ == "__main__":
    main(prog_name="./scripts/fuzz")
