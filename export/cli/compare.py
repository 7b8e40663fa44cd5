"""python -m export compare."""

from dataclasses import asdict
from pathlib import Path

import click

from edgeemo.cli.shell import say
from edgeemo.contract.checked import strict
from edgeemo.data.prepared import SPLITS
from edgeemo.models import find_model
from export.cli.options import PATH, as_json


@click.command()
@click.argument("a")
@click.argument("b")
@click.option("--data", type=PATH, required=True, help="A prepared folder.")
@click.option(
    "--artifact",
    metavar="FILE",
    help="Of both bundles [default: the int8 model that this machine can run].",
)
@click.option("--split", type=click.Choice(SPLITS), default="test", help="Which pictures.")
@as_json("One JSON object for each kind of labels on stdout.")
def compare(a: str, b: str, data: Path, artifact: str | None, split: str, as_json: bool) -> None:
    """Compare the bundles A and B picture by picture: who is right where the other is not.

    Each is a shipped name or a .edgeemo file.

    The difference in top-1 stands with its 90 % interval and the exact McNemar test; it is paired,
    so it tells smaller differences than two intervals side by side. Where the data holds FER+
    votes, the majority's faces are counted too.

    \b
    python -m export compare small nano --data prepared/
    python -m export compare old.edgeemo new.edgeemo --data prepared/
    """
    from export.prove.compare import compare as run_compare
    from export.report.tables import comparison_lines

    titles, comparisons = run_compare(
        (find_model(a), find_model(b)), data, artifact=artifact, split=split
    )
    if not as_json:
        for line in comparison_lines(titles, comparisons):
            say(line)
        return
    for comparison in comparisons:
        values = {"bundles": titles, **asdict(comparison), "verdict": comparison.verdict}
        say(strict.dumps_line(values))
