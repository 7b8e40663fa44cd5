"""python -m export inspect."""

from dataclasses import asdict
from pathlib import Path

import click

from edgeemo.cli.shell import say
from edgeemo.contract.checked import strict
from edgeemo.contract.checked.outputs import check_output
from edgeemo.contract.run import read_run_config, run_files
from edgeemo.data.prepared import prepared_files
from export.cli.options import PATH, RunPath, as_json
from export.prove.steps import METHODS


@click.command()
@click.argument("run", type=RunPath())
@click.option(
    "--data",
    type=PATH,
    help="The prepared folder that the run was trained on [default: where the run says it was].",
)
@click.option(
    "--ranges",
    type=click.Choice(METHODS),
    default=METHODS[0],
    help="How ranges are chosen; a run of quantization-aware training has its own.",
)
@click.option(
    "--pictures",
    type=click.IntRange(1, 500),
    default=64,
    help="About how many calibration pictures to look at.",
)
@click.option(
    "--worst", "count", type=click.IntRange(1), default=5, help="How many layers to name."
)
@click.option("--plot", type=PATH, help="Where to draw it [default: int8_layers.png in RUN].")
@click.option("--seed", type=click.IntRange(0), default=1, help="Seed of the calibration draw.")
@as_json("One JSON object a layer on stdout, in the order of execution.")
def inspect(
    run: Path,
    data: Path | None,
    ranges: str,
    pictures: int,
    count: int,
    plot: Path | None,
    seed: int,
    as_json: bool,
) -> None:
    """Show where RUN loses what in int8: its layers in float and in int8, the worst ones, advice.

    SQNR is signal to quantization noise in dB: 30 and more is good, below 20 is poor. A layer's
    noise comes from those before it and from itself; `adds` is its own part. Advice is given where
    int8 answers something else than float, by the gate's limits; noise that changes no answer needs
    none.

    \b
    python -m export inspect runs/small --data prepared/
    python -m export inspect runs/small --ranges percentile --worst 3
    """
    from export.prove.inspect import inspect_run, plot_layers
    from export.prove.layers import advised
    from export.report.tables import layer_lines

    picture = plot or run / "int8_layers.png"
    read_run_config(run)  # what is no run at all is told before where its picture would go
    check_output(
        picture, (*run_files(run), *(prepared_files(data) if data else ())), option="--plot"
    )
    detail, layers, answers = inspect_run(run, data, ranges, pictures, seed)
    advice = advised(layers, len(layers), answers)
    plot_layers(picture, f"{run}: {detail}", layers, count)
    if as_json:
        for layer in layers:
            # JSON has no infinity: nothing was lost.
            lossless = {"sqnr_db": None} if layer.sqnr_db == float("inf") else {}
            say(strict.dumps_line(asdict(layer) | {"advice": advice.get(layer.name)} | lossless))
        return
    say(f"{run}: {detail}")
    for line in layer_lines(layers, count, answers):
        say(line)
    say(f"wrote {picture}")
