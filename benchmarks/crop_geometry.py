"""Where detectors put their boxes on faces framed as FER-2013 frames them: the crop geometry of the input spec.

python -m benchmarks.crop_geometry prepared/ [--yunet FILE]

FER-2013 training faces are enlarged and set into a larger frame (edges repeated); each detector looks for the face, and
the median scale and shift that turn its box back into the original square are printed, in the input spec's Q10.
"""

from pathlib import Path

import click
import cv2
import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.prepared import load_prepared
from edgeemo.contract.preprocess import resize_grey
from edgeemo.errors import EdgeemoError
from edgeemo.faces import Detector, open_detector

_ENLARGED, _MARGIN = 192, 96  # pixels


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--yunet", type=click.Path(path_type=Path), help="YuNet's ONNX file.")
@click.option("--faces", default=1500, show_default=True, help="How many training faces.")
def main(data: Path, yunet: Path | None, faces: int) -> None:
    """Measure the crop geometry of each detector that opens here."""
    prepared = load_prepared(data, DEFAULT_SPEC)
    rows = np.random.default_rng(0).choice(prepared.indices("train"), faces, replace=False)
    for name in ("haar", "yunet"):
        try:
            detector = open_detector(name, yunet)
        except EdgeemoError as error:
            click.echo(f"{name}: left out, {error}")
            continue
        _measure(detector, [prepared.images[row, :, :, 0] for row in rows])


def _measure(detector: Detector, pictures: list[NDArray[np.uint8]]) -> None:
    found = []
    for picture in pictures:
        enlarged = resize_grey(np.asarray(picture), _ENLARGED)
        framed = cv2.copyMakeBorder(enlarged, _MARGIN, _MARGIN, _MARGIN, _MARGIN, cv2.BORDER_REPLICATE)
        boxes = detector.detect(np.repeat(framed[:, :, np.newaxis], 3, axis=2))
        if boxes:
            x, y, width, height = boxes[0].as_tuple()
            centre = _MARGIN + _ENLARGED / 2
            shift = (centre - x - width / 2, centre - y - height / 2)
            found.append((_ENLARGED / max(width, height), shift[0] / _ENLARGED, shift[1] / _ENLARGED))
    low, middle, high = np.percentile(np.array(found), [25, 50, 75], axis=0) * 1024
    click.echo(f"{detector.name}: found {len(found) / len(pictures):.1%} of {len(pictures)}")
    for what, *values in zip(("scale_q10", "shift_x_q10", "shift_y_q10"), low, middle, high, strict=True):
        click.echo(f"  {what:<12} median {values[1]:7.0f}   quartiles {values[0]:7.0f} {values[2]:7.0f}")


if __name__ == "__main__":
    main()
