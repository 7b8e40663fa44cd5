"""What `predict` writes of pictures: each with its faces marked, and each face by itself."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click
import numpy as np
from numpy.typing import NDArray

from edgeemo.cli.given import Given, Pictures
from edgeemo.contract.checked.files import make_folder, translated
from edgeemo.contract.checked.outputs import Words, check_all_apart, check_output
from edgeemo.data.pictures import COMMON_SUFFIXES, write_picture
from edgeemo.errors import PictureError
from edgeemo.results import Face

if TYPE_CHECKING:
    from edgeemo.recognizer import Recognizer


@dataclass(frozen=True)
class Outputs:
    """Where what is written of each picture goes."""

    annotated: Mapping[Given, Path]
    """The copy with its faces marked; empty where none is asked for."""
    crops: Mapping[Given, Path]
    """Of each face's own picture: the path without `_1.png`, `_2.png`; empty: none asked for."""
    inputs: tuple[str, ...]
    """What must stay as it is."""
    language: str
    """Of the labels in pictures."""

    def write(
        self, given: Given, frame: NDArray[np.uint8], faces: Sequence[Face], model: "Recognizer"
    ) -> list[Path]:
        """Write what is asked for of uint8 (H, W, 3) RGB, and give the paths."""
        written = []
        if given in self.annotated:
            from edgeemo.drawing import annotate

            with translated(path := self.annotated[given], "--annotate"):
                path.parent.mkdir(parents=True, exist_ok=True)
                write_picture(path, annotate(frame, faces, self.language))
            written.append(path)
        if given in self.crops:
            stem = self.crops[given]
            for number, face in enumerate(faces, 1):
                path = stem.with_name(f"{stem.name}_{number}.png")
                check_all_apart([path], self.inputs)
                with translated(path, "--crops"):
                    path.parent.mkdir(parents=True, exist_ok=True)
                    write_picture(path, _crop(frame, face, model))
                written.append(path)
        return written


def planned(
    pictures: Pictures,
    annotate: Path | None,
    crops: Path | None,
    others: Words,
    language: str,
) -> Outputs:
    """Look at what is to be written before anything is read.

    `annotate` is a picture for one picture, a folder for several; `others` are inputs too.

    Raises:
        click.UsageError: one file for several pictures.
        PictureError: an ending that is none of a picture.
        InvalidInput: an output that is an input.
        StorageError: one that cannot be written.
    """
    inputs = (*(given.name for given in pictures.all), *(str(word) for word in others if word))
    annotated: dict[Given, Path] = {}
    if annotate and pictures.one and annotate.suffix and not annotate.is_dir():
        if annotate.suffix.lower() not in COMMON_SUFFIXES:
            raise PictureError(
                f"{annotate}: expected an ending of {', '.join(sorted(COMMON_SUFFIXES))}, or a "
                f"folder; received {annotate.suffix}"
            )
        check_output(annotate, inputs, option="--annotate")
        annotated = {pictures.all[0]: annotate}
    elif annotate:
        annotated = _in_folder(annotate, pictures, "--annotate")
        check_all_apart(annotated.values(), inputs)
    stems = _in_folder(crops, pictures, "--crops") if crops else {}
    return Outputs(annotated, {k: p.with_suffix("") for k, p in stems.items()}, inputs, language)


def _in_folder(folder: Path, pictures: Pictures, option: str) -> dict[Given, Path]:
    """A path of its own in `folder` for each picture, which says where the picture lay."""
    if folder.suffix.lower() in COMMON_SUFFIXES and not folder.is_dir():
        raise click.UsageError(
            f"{option}: expected a folder where several pictures may come, received {folder}"
        )
    if folder.exists() and not folder.is_dir():
        raise click.UsageError(f"{option}: expected a folder, received the file {folder}")
    with translated(folder, option):
        make_folder(folder)
    return {given: folder / name for given, name in _names(pictures.all).items()}


def _names(pictures: Iterable[Given]) -> dict[Given, Path]:
    """File names that differ in more than their ending, so that crops of none meet another's."""
    names: dict[Given, Path] = {}
    taken: set[str] = set()
    for given in pictures:
        if given in names:
            continue
        path, number = given.relative, 1
        suffix = path.suffix if path.suffix.lower() in COMMON_SUFFIXES else ".png"
        path = path.with_name(path.stem + suffix)
        stem = path.stem
        while os.path.normcase(path.with_suffix("")) in taken:
            number += 1
            path = path.with_name(f"{stem}-{number}{suffix}")
        taken.add(os.path.normcase(path.with_suffix("")))
        names[given] = path
    return names


def _crop(frame: NDArray[np.uint8], face: Face, model: "Recognizer") -> NDArray[np.uint8]:
    """The part of the frame that the network saw, in colour and at its own size."""
    region = model.crop.region(face.box.as_tuple(), model.spec.height, model.spec.width)
    top, left = max(0, region.top), max(0, region.left)
    bottom, right = region.top + region.height, region.left + region.width
    return np.ascontiguousarray(frame[top:bottom, left:right])
