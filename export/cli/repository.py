"""python -m export repository."""

from pathlib import Path

import click

from edgeemo.cli.shell import say
from export.cli.options import PATH


@click.group()
def repository() -> None:
    """A repository of The Update Framework: static files that any web server holds.

    \b
    python -m export repository init --repo site/ --root a.key --root b.key
    """


@repository.command()
@click.option("--repo", type=PATH, required=True, help="The folder to make.")
@click.option("--root", type=PATH, multiple=True, required=True, help="A root key, offline.")
@click.option("--threshold", type=int, default=1, help="Root keys that must sign.")
@click.option("--targets", type=PATH, multiple=True, required=True, help="A key for releases.")
@click.option("--online", type=PATH, multiple=True, required=True, help="A key that renews.")
def init(
    repo: Path,
    root: tuple[Path, ...],
    threshold: int,
    targets: tuple[Path, ...],
    online: tuple[Path, ...],
) -> None:
    """Make a repository.

    \b
    python -m export repository init --repo site/ --root a.key --root b.key \\
      --threshold 2 --targets t.key --online o.key
    """
    from export.publish.keys import signers
    from export.publish.repository import Repository

    path = Repository(repo).init(signers(root), threshold, signers(targets), signers(online))
    say(f"made {repo}; give devices {path} as root.json, over a way that they trust")


@repository.command()
@click.option("--repo", type=PATH, required=True, help="The repository's folder.")
@click.option("--online", type=PATH, multiple=True, help="A key of the role online.")
def renew(repo: Path, online: tuple[Path, ...]) -> None:
    """Sign snapshot and timestamp anew: weekly, by a job, or devices take updates for frozen.

    \b
    python -m export repository renew --repo site/ --online o.key
    """
    from export.publish.keys import signers
    from export.publish.repository import Repository

    Repository(repo).renew(signers(online))
    say(f"renewed {repo}")


@repository.command()
@click.option("--repo", type=PATH, required=True, help="The repository's folder.")
@click.option("--role", type=click.Choice(["root", "targets", "online"]), required=True)
@click.option("--root", type=PATH, multiple=True, required=True, help="A root key that signs.")
@click.option("--add", type=PATH, multiple=True, metavar="NAME.pub", help="A key to trust.")
@click.option("--revoke", type=PATH, multiple=True, metavar="NAME.pub", help="One no more.")
@click.option("--threshold", type=int, help="Keys of the role that must sign.")
def rotate(
    repo: Path,
    role: str,
    root: tuple[Path, ...],
    add: tuple[Path, ...],
    revoke: tuple[Path, ...],
    threshold: int | None,
) -> None:
    """Add and revoke keys of a role, by a new root that the old root's keys sign too.

    Afterwards publish or renew with the new keys.

    \b
    python -m export repository rotate --repo site/ --role online --root a.key \\
      --root b.key --add new.pub --revoke old.pub
    """
    from export.publish.keys import public_keys, signers
    from export.publish.repository import Repository

    removed = [key.keyid for key in public_keys(revoke)]
    path = Repository(repo).rotate(role, public_keys(add), removed, signers(root), threshold)
    say(f"wrote {path}; sign again what {role} signs")
