"""python -m export publish."""

from pathlib import Path

import click

from edgeemo.cli.shell import say
from export.cli.options import PATH


@click.command()
@click.argument("bundle", type=PATH)
@click.option("--repo", type=PATH, required=True, help="The repository's folder.")
@click.option("--channel", default="stable", metavar="stable|canary", help="Whom it is for.")
@click.option("--percent", type=click.IntRange(1, 100), default=100, help="Of its devices.")
@click.option("--key", "keys", type=PATH, multiple=True, help="A key of the role targets.")
@click.option("--online", type=PATH, multiple=True, help="A key of the role online.")
def publish(
    bundle: Path,
    repo: Path,
    channel: str,
    percent: int,
    keys: tuple[Path, ...],
    online: tuple[Path, ...],
) -> None:
    """Offer BUNDLE to devices that run `edgeemo update`.

    Which devices are the first is a hash of their id and the bundle; publish it again with a higher
    percentage for more of them. Without --key and --online the key of $EDGEEMO_SIGNING_KEY signs.

    \b
    python -m export publish m.edgeemo --repo site/ --key t.key --online o.key
    python -m export publish m.edgeemo --repo site/ --channel canary --percent 5
    """
    from export.publish.keys import signers
    from export.publish.repository import Repository

    release = Repository(repo).publish(bundle, channel, percent, signers(keys), signers(online))
    say(f"published {release.path} ({release.sha256[:16]}) to {percent} % of {channel}")
