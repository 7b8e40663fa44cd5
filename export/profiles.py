"""What each kind of device gets."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Profile:
    """The artifacts of a bundle for one kind of device.

    Attributes:
        artifacts: files, int8 first; those of int8 may come out as mixed ones where `wide_tflite` or ONNX allow it.
        wide_tflite: whether layers of the TFLite file may have 16-bit activations: LiteRT runs them, generated C does not.
        for_whom: in words.
    """

    name: str
    artifacts: tuple[str, ...]
    wide_tflite: bool
    for_whom: str


_EVERYTHING = ("int8.tflite", "int8.onnx", "fp16.onnx", "fp32.onnx")
PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            "all",
            _EVERYTHING,
            False,
            "every device: full-int8 TFLite, and ONNX in int8, fp16 and fp32",
        ),
        Profile(
            "pi",
            ("int8.tflite",),
            True,
            "Raspberry Pi and other Linux boards: TFLite, layers of 16 bits if need be",
        ),
        Profile(
            "jetson",
            _EVERYTHING,
            True,
            "Jetson: the ONNX files that TensorRT builds from, and TFLite for its processor",
        ),
        Profile("mcu", ("int8.tflite",), False, "microcontrollers: full-int8 TFLite alone"),
    )
}
