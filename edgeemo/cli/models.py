"""edgeemo models"""

from dataclasses import asdict, dataclass, replace
from pathlib import Path

import click

from edgeemo.cache import cache_folder
from edgeemo.cli.progress import progress
from edgeemo.cli.shell import Verbs, say
from edgeemo.cli.tables import say_wrapped
from edgeemo.contract.checked import strict


@dataclass(frozen=True)
class Remote:
    """A model file that edgeemo uses and does not ship."""

    name: str
    """What `pull` calls it."""
    what: str
    """What it is for, in words."""
    url: str
    """Where it is fetched from."""
    target: Path
    """Where it goes."""
    size: int
    """Its bytes."""
    sha256: str
    """Its hash, 64 hex digits: what is trusted."""


def _remotes() -> dict[str, Remote]:
    from edgeemo.faces import yunet

    target = cache_folder() / yunet.MODEL_FILE
    remote = Remote(
        "yunet",
        "face detector, MIT licence",
        yunet.MODEL_URL,
        target,
        yunet.MODEL_BYTES,
        yunet.MODEL_SHA256,
    )
    return {remote.name: remote}


@click.group(cls=Verbs, invoke_without_command=True)
@click.option("--time", "timed", is_flag=True, help="Measure the time of one face here, in turns.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a model on stdout.")
@click.pass_context
def models(context: click.Context, timed: bool, as_json: bool) -> None:
    """Which models ship: size, accuracy, what each is for.

    Accuracy is that of the int8 file on FER-2013's PublicTest, as its report has it: against the
    majority of FER+'s ten taggers, and against FER-2013's own labels. Memory is what activations
    take at once.

    \b
    edgeemo models               the family
    edgeemo models --time        the same with the time of one face here
    edgeemo models list          all model files, and where they lie
    edgeemo models pull yunet    fetch the YuNet face detector
    """
    if context.invoked_subcommand is not None:
        if timed or as_json:
            raise click.UsageError("--time and --json belong to `models` alone, without a verb")
        return
    from edgeemo.cli.bench import times_of
    from edgeemo.cli.family import family, family_lines

    rows = family()
    shipped = [row for row, _ in rows]
    if timed:
        ms = times_of([bundle for _, bundle in rows])
        shipped = [replace(row, ms=p50) for row, p50 in zip(shipped, ms, strict=True)]
    if as_json:
        say(*(strict.dumps_line(asdict(row)) for row in shipped))
    else:
        say(*family_lines(shipped))


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a model on stdout.")
def list_models(as_json: bool) -> None:
    """The bundles that ship and the files that can be pulled, and where they lie.

    \b
    edgeemo models list
    """
    from edgeemo.downloads import holds
    from edgeemo.models import find_model, shipped_models

    rows = []
    for name in shipped_models():
        path = find_model(name)
        rows.append((name, "bundle, ships with edgeemo", path, _state(path)))
    for remote in _remotes().values():
        absent = "damaged or another file" if remote.target.exists() else "not fetched"
        state = (
            "there"
            if holds(remote.target, remote.sha256)
            else f"{absent}; run: edgeemo models pull {remote.name}"
        )
        rows.append((remote.name, remote.what, remote.target, state))
    for name, what, path, state in rows:
        if as_json:
            say(strict.dumps_line({"name": name, "what": what, "path": str(path), "state": state}))
        else:
            say_wrapped(f"{name:<15}{what:<28}{path}  {state}")


def _state(bundle: Path) -> str:
    from edgeemo.errors import EdgeemoError
    from edgeemo.trust import read_bundle

    try:
        read_bundle(bundle)
    except EdgeemoError:
        return "damaged; install edgeemo again"
    return "there"


@models.command()
@click.argument("name", type=click.Choice(["yunet"]))
@click.option(
    "--url",
    metavar="URL",
    help="A mirror of your own; the file's sha256 must be the same all the same.",
)
def pull(name: str, url: str | None) -> None:
    """Fetch a model file into the user's cache and check its sha256.

    A file that is there and right is left as it is, without asking anybody. Nothing but the file of
    the known sha256 is kept. $XDG_CACHE_HOME moves the cache, $HTTPS_PROXY names a proxy.

    \b
    edgeemo models pull yunet
    """
    from edgeemo.downloads import fetch

    remote = _remotes()[name]
    with progress(remote.target.name, remote.size) as bar:
        fetched = fetch(
            url or remote.url,
            remote.target,
            size=remote.size,
            sha256=remote.sha256,
            progress=bar.advance,
        )
    say(f"{remote.target}: {'fetched' if fetched else 'already there'}, its sha256 is right")
