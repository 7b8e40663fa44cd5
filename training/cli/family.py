"""`family`: teachers, and base, small and nano distilled from them, inside a budget of minutes."""

import os
import re
from pathlib import Path
from typing import Any

import click

from edgeemo.cli.shell import say
from edgeemo.contract.checked.outputs import check_apart
from training.networks import NETWORKS

_SHORTEST, _LONGEST = 1.0, 100 * 3600.0  # seconds of a budget


def _seconds(_: click.Context, __: click.Parameter, value: str) -> float:
    found = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)(s|m|h)", value)
    seconds = float(found[1]) * {"s": 1, "m": 60, "h": 3600}[found[2]] if found else 0.0
    if not _SHORTEST <= seconds <= _LONGEST:
        raise click.BadParameter(
            f"expected a time of 1s to 100h like 90s, 12m or 2h, received {value[:80]!r}"
        )
    return seconds


def _network(_: click.Context, __: click.Parameter, value: str) -> str:
    if value not in NETWORKS:
        raise click.BadParameter(
            f"expected a network of {', '.join(NETWORKS)}, received {value[:80]!r}"
        )
    return value


def _networks(context: click.Context, option: click.Parameter, value: str) -> tuple[str, ...]:
    names = tuple(_network(context, option, name) for name in value.split(","))
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise click.BadParameter(f"expected each network once, received {twice} twice")
    return names


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="The prepared folder, or the one that scripts/gpu-family packed.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder to write.")
@click.option("--budget", default="12m", callback=_seconds, help="Time in all, as 90s, 12m or 2h.")
@click.option("--device", type=click.Choice(["gpu", "cpu"]), help="Where [default: a GPU if any].")
@click.option("--plan", is_flag=True, help="Measure, print what would be trained, and stop.")
@click.option(
    "--finish", is_flag=True, help="Measure finished runs in OUT on --data; train nothing."
)
@click.option("--unlabelled", type=click.Path(path_type=Path), help="More faces, uint8 .npy.")
@click.option("--teacher", default="teacher", callback=_network, help="Network of the teachers.")
@click.option(
    "--networks", default="small,base,nano", callback=_networks, help="Students, in this order."
)
@click.option(
    "--faces", type=click.IntRange(100), help="So many training faces alone, to rehearse."
)
@click.option("--seed", type=click.IntRange(0, 2**31), default=1)
def family(data: Path, out: Path, device: str | None, finish: bool, **given: Any) -> None:
    """Train the family on one GPU inside a budget of time. Start it again to go on where it
    stopped.

    \b
    python -m training family --data prepared/ --out runs/family --budget 12m
    """
    from training.machines.backend import choose_backend
    from training.machines.seen import announce, need_gpu

    check_apart(out, (data, given["unlabelled"]))
    if finish:
        choose_backend("tensorflow", "to measure finished runs")
        from training.runs.finish import finish_runs

        say(*finish_runs(out, data).split("\n"))
        return
    if device is not None:
        os.environ["JAX_PLATFORMS"] = {"cpu": "cpu", "gpu": "cuda,cpu"}[device]
    backend = choose_backend("jax", "to train the family")
    if device == "gpu":
        need_gpu(backend)
    announce(backend)
    from training.fast.run import run_family
    from workstation.progress import say_above

    say(*run_family(data, out, given, say_above).split("\n"))
