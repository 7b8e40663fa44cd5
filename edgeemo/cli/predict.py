"""edgeemo predict"""

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from edgeemo.cli.options import (
    PlainPath,
    artifact_option,
    detector_options,
    isolated_option,
    model_option,
    prior_option,
    view_options,
)
from edgeemo.cli.shell import say
from edgeemo.contract.checked import strict
from edgeemo.contract.checked.files import translated
from edgeemo.contract.checked.outputs import check_output
from edgeemo.contract.operating_point import Prior
from edgeemo.data.view import View
from edgeemo.errors import MissingFile, PictureError
from edgeemo.results import Face

_CROP = 256  # pixels of a side; a picture up to that may be a face that was cut out


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...")
@model_option()
@artifact_option()
@isolated_option()
@prior_option()
@detector_options()
@view_options()
@click.option("--json", "as_json", is_flag=True, help="One JSON object a picture on stdout.")
@click.option(
    "--annotate",
    type=PlainPath(),
    metavar="OUT.png",
    help="Also write the picture with its faces marked.",
)
def predict(
    images: tuple[str, ...],
    model: str,
    artifact: str | None,
    isolated: bool,
    prior: Prior,
    detector: str,
    detector_model: str | None,
    as_json: bool,
    annotate: Path | None,
    view: View,
) -> None:
    """Find the faces in pictures and name each one's emotion.

    A picture without a face is no error. A file that is no picture is named on stderr; the others
    are still done, and the exit code is 1. One picture may have 50 million pixels, each of several
    25 million; EDGEEMO_MAX_PIXELS sets another number.

    \b
    edgeemo predict queue.jpg
    edgeemo predict *.jpg --model nano --json
    edgeemo predict queue.jpg --annotate marked.png
    edgeemo predict face.png --detector whole
    """
    from edgeemo.annotate import annotate as draw
    from edgeemo.data.pictures import (
        MAX_PIXELS,
        MAX_PIXELS_OF_MANY,
        pixel_bound,
        read_picture,
        write_picture,
    )
    from edgeemo.faces import open_detector
    from edgeemo.recognizer import Recognizer

    if annotate and len(images) > 1:
        raise click.UsageError("--annotate takes one picture at a time")
    if annotate:
        check_output(annotate, (*images, model, detector_model), option="--annotate")
    failed = 0
    most = pixel_bound(MAX_PIXELS_OF_MANY if len(images) > 1 else MAX_PIXELS)
    finder = open_detector(detector, detector_model)
    with Recognizer(
        model, detector=finder, artifact=artifact, prior=prior, isolated=isolated
    ) as recognizer:
        for image in images:
            try:
                frame = view.turned(read_picture(image, most))
                faces = recognizer.classify(frame, recognizer.detect(frame, view))
            except (PictureError, MissingFile) as error:
                say(f"edgeemo: {error}", err=True)
                failed += 1
                continue
            if as_json:
                say(
                    strict.dumps_line({"image": image, "faces": [face.to_dict() for face in faces]})
                )
            else:
                _print_faces(image, faces, crop=detector != "whole" and max(frame.shape) <= _CROP)
            if annotate:
                with translated(annotate, "--annotate"):
                    write_picture(annotate, draw(frame, faces))
                say(f"wrote {annotate}", err=as_json)
    if failed:
        if len(images) > 1:
            say(f"edgeemo: {failed} of {len(images)} pictures could not be read", err=True)
        sys.exit(1)


def _print_faces(image: str, faces: Sequence[Face], *, crop: bool) -> None:
    """A line a face; `crop`: the picture is as small as one that shows a cropped face."""
    if not faces:
        hint = "; is it a cropped face? Take it whole: --detector whole" if crop else ""
        say(f"{image}: no face found{hint}")
    for face in faces:
        x, y, width, height = face.box.as_tuple()
        say(
            f"{image}: {face.emotion:<8} {face.confidence:>4.0%}  box x {x} y {y} {width}x{height} "
            f" {face.latency_ms:.2f} ms"
        )
