"""Made sets in the shapes that people bring: names and tables as documented, drawn pictures."""

import functools
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edgeemo.contract.input_spec import DEFAULT_SPEC, InputSpec
from tests import support
from training.data.own.layout import Asked
from training.data.own.own_set import OwnSource, open_own
from training.data.own.words import read_rules
from training.data.read import Faces, read_faces


@functools.cache
def picture(number: int, suffix: str = ".png", side: int = 48) -> bytes:
    """A drawn picture's file; another for each number."""
    drawn = support.drawn_picture(number % 7, np.random.default_rng(number))
    return support.encoded(np.asarray(cv2.resize(drawn, (side, side)), np.uint8), suffix)


def write(folder: Path, names: Iterable[str], side: int = 48) -> Path:
    """Files of drawn pictures, of the format that each name says."""
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number, path.suffix.lower(), side))
    return folder


class Read:
    """Own sets as `prepare` reads them."""

    def __init__(
        self,
        path: Path,
        out: Path,
        *,
        asked: Asked | None = None,
        faces: str = "auto",
        classes: tuple[str, ...] | None = None,
        labels: Path | str | None = None,
        drop: tuple[str, ...] = (),
        allow_left_out: bool = False,
        spec: InputSpec = DEFAULT_SPEC,
    ) -> None:
        rules = read_rules(classes, None if labels is None else str(labels), drop)
        source = OwnSource("mine", asked or Asked(), faces)
        with ExitStack() as stack:
            opened, names = open_own([(source, path)], rules, out, stack)
            assert names is not None
            self.class_names = names
            self.described: dict[str, Any] = opened[0][0].described()
            self.faces: Faces = read_faces(
                opened, None, names, spec, allow_left_out=allow_left_out, progress=False
            )

    @property
    def rows(self) -> dict[str, tuple[str, str | None]]:
        """Label and part of each picture, by path."""
        return {p.path: (self.class_names[p.label], p.given) for p in self.faces.pictures}
