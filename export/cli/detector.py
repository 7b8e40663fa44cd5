"""`detector`: a trained face detector as a bundle."""

from pathlib import Path

import click

from edgeemo.cli.shell import say
from edgeemo.contract.checked.outputs import check_output


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--photos", type=click.Path(path_type=Path), multiple=True, required=True)
@click.option("--scenes", type=click.Path(path_type=Path), multiple=True, required=True)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The bundle to write.")
@click.option("--name", help="The detector's name [default: as trained].")
@click.option("--version", default="0.1.0", help="The bundle's version.")
@click.option("--licence", help="What one may do with it.")
def detector(
    run: Path,
    photos: tuple[Path, ...],
    scenes: tuple[Path, ...],
    out: Path,
    name: str | None,
    version: str,
    licence: str | None,
) -> None:
    """Quantize a trained face detector and write a bundle if int8 finds what float finds.

    \b
    python -m export detector runs/face --photos photos.zip \\
        --scenes scenes.zip --out face.edgeemo

    PHOTOS and SCENES are the archives that it was trained on; their test split has the last word.
    """
    from edgeemo.contract.detector_run import read_detector_run
    from export.detector.build import build_detector
    from export.manifest import Named

    check_output(out, (run, *photos, *scenes))
    named = Named(name or read_detector_run(run).name, version, licence)
    bundle, _ = build_detector(run, photos, scenes, out, named)
    say(repr(bundle))
