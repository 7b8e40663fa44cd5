"""The networks, each a short function of its own: float32 pixels 0..255 in, a logit a class out.

This table is what `--model`, the sweep and run folders go by. Keras is imported with the first
network.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from edgeemo.contract.input_spec import InputSpec
from edgeemo.registry import Registry

if TYPE_CHECKING:
    import keras

NETWORKS: "Registry[Callable[[InputSpec, int], keras.Model]]" = Registry(
    "network",
    "edgeemo.networks",
    {
        "nano": "training.networks.nano:nano",
        "small": "training.networks.small:small",
        "base": "training.networks.base:base",
        "teacher": "training.networks.teacher:teacher",
        "baseline5": "training.networks.baseline5:baseline5",
        "vgg16": "training.networks.vgg16:vgg16",
    },
)
"""Makers by name: of an input spec and a number of classes they make a network with drawn
weights."""
