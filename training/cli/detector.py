"""`detector`: one of our own face detectors, from pictures with known faces."""

from pathlib import Path

import click

from edgeemo.contract.checked.outputs import check_apart


@click.command()
@click.argument("name", type=click.Choice(["face", "face-nano"]))
@click.option(
    "--photos",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="Archive of photos of one face each, with an index.csv.",
)
@click.option(
    "--scenes",
    type=click.Path(path_type=Path),
    multiple=True,
    required=True,
    help="Archive of pictures with and without faces, with an index.csv.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The folder to write.")
@click.option("--epochs", type=click.IntRange(2), default=24)
@click.option("--steps", type=click.IntRange(1), default=250, help="Gradient steps an epoch.")
@click.option("--seed", type=click.IntRange(0, 2**31), default=1)
def detector(
    name: str,
    photos: tuple[Path, ...],
    scenes: tuple[Path, ...],
    out: Path,
    epochs: int,
    steps: int,
    seed: int,
) -> None:
    """Train a face detector on frames made of photos and scenes.

    \b
    python -m training detector face --photos photos.zip \\
        --scenes scenes.zip --out runs/face

    An index.csv has the columns file, faces (x,y,w,h,...,score of each, blank-separated) and
    person or scene, by which pictures are split. Start it again to go on where it stopped.
    """
    from training.machines.backend import choose_backend

    check_apart(out, (*photos, *scenes))
    choose_backend()
    from training.detector.fit import Recipe
    from training.detector.run import train_detector

    train_detector(name, photos, scenes, out, Recipe(epochs=epochs, steps=steps, seed=seed))
