"""The networks: counted sizes, what they are made of, and what they need on a device."""

import keras
import numpy as np
import pytest

from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import LABELS
from training.networks import NETWORKS
from training.networks.cost import multiply_accumulates


def of_convolution(side: int, fan_in: int, width: int, kernel: int = 3) -> tuple[int, int]:
    """Parameters and multiply-accumulates of a convolution without bias and its normalization, at
    its output's side.
    """
    weights = kernel * kernel * fan_in * width
    return weights + 4 * width, side * side * weights


def of_residual_plan(
    widths: tuple[int, ...], residuals: tuple[int, ...], first_side: int
) -> tuple[int, int]:
    """Of stages that halve the side (but for a first one at 48) and hold so many residual blocks,
    with the classifier.
    """
    side, channels, parameters, macs = first_side, 1, 0, 0
    for width, blocks in zip(widths, residuals, strict=True):
        for fan_in in [channels] + [width] * (2 * blocks):
            more = of_convolution(side, fan_in, width)
            parameters, macs = parameters + more[0], macs + more[1]
        side, channels = side // 2, width
    return parameters + channels * 7 + 7, macs + channels * 7


@pytest.mark.parametrize(
    ("name", "widths", "residuals", "first_side"),
    [
        ("small", (32, 64, 80, 112), (1, 1, 1, 0), 24),
        ("base", (48, 96, 160, 208), (1, 1, 1, 1), 24),
        ("teacher", (64, 128, 256, 384), (2, 2, 2, 2), 48),
        ("baseline5", (32, 64, 128, 128, 256), (0, 0, 0, 0, 0), 48),
    ],
)
def test_plain_networks_have_the_counted_size(
    name: str, widths: tuple[int, ...], residuals: tuple[int, ...], first_side: int
) -> None:
    model = NETWORKS.get(name)(DEFAULT_SPEC, len(LABELS))
    assert (model.count_params(), multiply_accumulates(model)) == of_residual_plan(
        widths, residuals, first_side
    )


def test_nano_has_the_counted_size() -> None:
    model = NETWORKS.get("nano")(DEFAULT_SPEC, len(LABELS))
    parts = [
        of_convolution(24, 1, 16), of_convolution(24, 16, 16), of_convolution(24, 16, 16),
        of_convolution(12, 16, 32), of_convolution(12, 32, 32), of_convolution(12, 32, 32),
        of_convolution(6, 32, 48),
        (9 * 48 + 4 * 48, 36 * 9 * 48),  # depthwise
        of_convolution(6, 48, 96, kernel=1),
        (96 * 7 + 7, 96 * 7),
    ]  # fmt: skip
    assert (model.count_params(), multiply_accumulates(model)) == tuple(np.sum(parts, axis=0))


def test_vgg16_has_the_published_convolutions() -> None:
    model = NETWORKS.get("vgg16")(DEFAULT_SPEC, len(LABELS))
    biases = 64 * 2 + 128 * 2 + 256 * 3 + 512 * 6
    # 14,714,688 is the count of VGG16's convolutions on three channels, biases included
    # (keras.applications, no top).
    convolutions = 14_714_688 - biases - 2 * 9 * 64 + 4 * biases
    dense = 512 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 7 + 7
    assert model.count_params() == convolutions + dense
    assert (
        sum(isinstance(layer, (keras.layers.Conv2D, keras.layers.Dense)) for layer in model.layers)
        == 16
    )


@pytest.mark.parametrize("name", list(NETWORKS))
def test_every_network_takes_raw_pixels_and_gives_seven_logits(name: str) -> None:
    model = NETWORKS.get(name)(DEFAULT_SPEC, len(LABELS))
    assert model.name == name
    assert (model.input_shape, model.output_shape) == ((None, 48, 48, 1), (None, len(LABELS)))
    rescale = model.layers[1]
    assert isinstance(rescale, keras.layers.Rescaling)
    assert (rescale.scale, rescale.offset) == (1 / 127.5, -1.0)
    # Logits, no scores: the last layer has no activation.
    assert model.layers[-1].activation is keras.activations.linear
