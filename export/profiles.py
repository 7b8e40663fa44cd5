"""What each kind of device gets: a table of profiles, which other packages may extend.

A package from outside names its profile in its pyproject.toml:

    [project.entry-points."edgeemo.export_targets"]
    mine = "my_package.profile:MINE"
"""

from contextlib import suppress
from dataclasses import dataclass

from edgeemo.contract.manifest import Format
from edgeemo.errors import BrokenDependency
from edgeemo.registry import Registry
from export.convert.artifacts import FP16_ONNX, FP32_ONNX, INT8_ONNX, INT8_TFLITE, Kind


@dataclass(frozen=True)
class Profile:
    """The artifacts of a bundle for one kind of device."""

    name: str
    """What `--profile` takes."""
    artifacts: tuple[Kind, ...]
    """int8 TFLite first; an int8 one may come out mixed, TFLite only with `wide_tflite`."""
    wide_tflite: bool
    """Whether layers of TFLite may have 16-bit activations: LiteRT runs them, our C does not."""
    for_whom: str
    """In words."""
    for_tensorrt: bool = False
    """Whether int8 ONNX is symmetric, with Q/DQ where TensorRT wants them."""

    @property
    def with_onnx(self) -> bool:
        """Whether ONNX files are among them."""
        return any(kind.format is Format.ONNX for kind in self.artifacts)

    @property
    def with_tflite(self) -> bool:
        """Whether TFLite files are among them."""
        return any(kind.format is Format.TFLITE for kind in self.artifacts)

    @property
    def files(self) -> tuple[str, ...]:
        """The artifacts' names in a bundle."""
        return tuple(kind.file for kind in self.artifacts)


_EVERYTHING = (INT8_TFLITE, INT8_ONNX, FP16_ONNX, FP32_ONNX)

ALL = Profile(
    "all", _EVERYTHING, False, "every device: full-int8 TFLite, and ONNX in int8, fp16 and fp32"
)
PI = Profile(
    "pi",
    (INT8_TFLITE,),
    True,
    "Raspberry Pi and other Linux boards: TFLite, layers of 16 bits if need be",
)
JETSON = Profile(
    "jetson",
    _EVERYTHING,
    True,
    "Jetson: ONNX files that TensorRT builds from, int8 as it wants it, TFLite for its processor",
    for_tensorrt=True,
)
MCU = Profile("mcu", (INT8_TFLITE,), False, "microcontrollers: full-int8 TFLite alone")

PROFILES: Registry[Profile] = Registry(
    "profile",
    "edgeemo.export_targets",
    {
        "all": "export.profiles:ALL",
        "pi": "export.profiles:PI",
        "jetson": "export.profiles:JETSON",
        "mcu": "export.profiles:MCU",
    },
    entry=Profile,
)
"""Profiles by name."""


def profile_summaries() -> str:
    """For whom each profile is, a sentence each.

    One of a package that cannot be imported is left out here, and named when it is asked for.
    """
    summaries = []
    for name in PROFILES:
        with suppress(BrokenDependency):
            summaries.append(f"{name}: {PROFILES.get(name).for_whom}.")
    return " ".join(summaries)
