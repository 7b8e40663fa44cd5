"""What `build` and `adopt` ask of a bundle alike."""

from collections.abc import Callable
from typing import Any

import click

from edgeemo.proof.conditions import PICTURES_NEEDED
from export.cli.options import Option, checked_licence
from export.profiles import PROFILES, profile_summaries
from export.prove.steps import STEPS


def bundle_options(licence: str, seed: str, default_licence: str | None = None) -> Option:
    """--name, --version, --licence, --profile, --max-step, --gate-min and --seed.

    `licence` and `seed` are the help of these two.
    """
    options = (
        click.option("--name", help="The bundle's name [default: the file's]."),
        click.option("--version", default="0.1.0", help="The bundle's version."),
        click.option(
            "--licence",
            metavar="TEXT",
            default=default_licence,
            callback=checked_licence,
            help=licence,
        ),
        click.option(
            "--profile",
            type=click.Choice(list(PROFILES)),
            default="all",
            help=f"For which devices. {profile_summaries()}",
        ),
        click.option(
            "--max-step",
            type=click.Choice(STEPS),
            default=STEPS[-1],
            help=(
                "The last step of the ladder that may be tried: ranges by min-max, least error, "
                "percentile or entropy, corrected biases, mixed precision."
            ),
        ),
        click.option(
            "--gate-min",
            type=click.IntRange(1),
            metavar="PICTURES",
            default=PICTURES_NEEDED,
            help=(
                "Judge by so many test pictures or more. It loosens no limit, and less than the "
                "default is said in the bundle's report."
            ),
        ),
        click.option("--seed", type=click.IntRange(0), default=1, help=seed),
    )

    def with_options(verb: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            verb = option(verb)
        return verb

    return with_options
