"""The networks that find faces: anchor-free, one row of five numbers for each cell of each grid.

A row is the logit that a face's middle lies in the cell, and how far the face's left, top, right
and bottom edges are from the cell's middle, in strides of the grid (as FCOS, Tian et al. 2019, in a
network of depthwise and pointwise convolutions as BlazeFace's, Bazarevsky et al. 2019). Distances
are linear, not exponentials, so that integers decode them.
"""

from dataclasses import dataclass

import keras
from keras import layers

from edgeemo.contract.face_rows import ROW
from edgeemo.contract.input_spec import InputSpec
from training.networks.blocks import convolution, depthwise, rescaled_input

START = (-4.6, 1.0, 1.0, 1.0, 1.0)
"""A cell's row at first: a face is rare (probability 0.01, Lin et al. 2017), a box two strides."""


@dataclass(frozen=True)
class Shape:
    """What a detector's network is made of."""

    stem: tuple[int, int, int]
    """Kernel, stride and channels of the first convolution."""
    stages: tuple[tuple[int, int, int, bool], ...]
    """Of each stage: stride on entry, channels, depthwise blocks, and whether a grid reads it."""


SHAPES = {
    "face": Shape(
        (3, 2, 16), ((2, 24, 2, False), (2, 48, 4, True), (2, 80, 4, True), (2, 112, 3, True))
    ),
    "face-nano": Shape((3, 2, 8), ((2, 24, 2, False), (2, 48, 4, True), (2, 64, 3, True))),
}


def detector(name: str, spec: InputSpec) -> keras.Model:
    """float32 (batch, *spec.shape) raw pixels 0..255 -> float32 (batch, cells, 5) rows, the grid of
    the smallest stride first, cells by rows from the top left.
    """
    shape = SHAPES[name]
    pixels, x = rescaled_input(spec)
    kernel, stride, width = shape.stem
    x = convolution(x, width, "stem", kernel=kernel, stride=stride)
    rows = []
    for number, (down, channels, blocks, read) in enumerate(shape.stages, start=1):
        for block in range(blocks):
            here = f"stage{number}_{block}"
            x = _block(x, channels, here, down if block == 0 else 1)
        if read:
            head = layers.Conv2D(ROW, 1, name=f"rows{number}", dtype="float32")
            rows.append(layers.Reshape((-1, ROW), name=f"rows{number}_flat")(head(x)))
            head.bias.assign(START)
    return keras.Model(pixels, layers.Concatenate(axis=1, name="rows")(rows), name=name)


def _block(x: keras.KerasTensor, channels: int, name: str, stride: int) -> keras.KerasTensor:
    """Depthwise 3x3 and pointwise convolution; the input added where the shapes allow it."""
    y = depthwise(x, f"{name}_depth", stride=stride)
    y = convolution(y, channels, f"{name}_point", kernel=1, relu=False)
    if stride == 1 and x.shape[-1] == channels:
        y = layers.Add(name=f"{name}_add")([x, y])
    return layers.ReLU(name=f"{name}_relu")(y)
