"""What the network sees: size, channels, and the arithmetic between pixels and its first layer."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from edgeemo.contract.checked import strict
from edgeemo.contract.checked.words import Word
from edgeemo.contract.crop import Crop
from edgeemo.errors import InvalidInput

# Changes whenever the bytes that `face_to_input` makes from the same frame change.
PREPROCESS_VERSION = "luma15-area-bilinear/1"

MIN_SIDE, MAX_SIDE = 8, 512
CHANNELS = {1: "grey", 3: "RGB"}


class Arithmetic(Word):
    """Where pixel * scale + offset is computed."""

    GRAPH = "graph"
    """By the model's own first layer: it takes raw pixels 0..255. What our export makes."""
    RUNTIME = "runtime"
    """Before the model: it takes the scaled values. For models from elsewhere."""


@dataclass(frozen=True)
class InputSpec:
    """The network's input: `height` x `width` x `channels` uint8 pixels 0..255.

    Raises:
        InvalidInput: a size, channel count, scale or offset out of range.
    """

    height: int = 48
    """Pixels from top to bottom, 8 to 512."""
    width: int = 48
    """Pixels from left to right, 8 to 512."""
    channels: int = 1
    """1 for grey (BT.601 luma), 3 for RGB in this order."""
    scale: tuple[float, ...] = (1 / 127.5,)
    """Factor of a pixel in the network's arithmetic: one, or one a channel; not 0."""
    offset: tuple[float, ...] = (-1.0,)
    """What is added to the scaled pixel: one, or one a channel."""
    arithmetic: Arithmetic = Arithmetic.GRAPH
    """Whether the model file or the runtime computes pixel * scale + offset."""
    preprocess: str = PREPROCESS_VERSION
    """Version of the integer arithmetic of `edgeemo.contract.preprocess`."""

    def __post_init__(self) -> None:
        sides = (self.height, self.width)
        if min(sides) < MIN_SIDE or max(sides) > MAX_SIDE or self.channels not in CHANNELS:
            raise InvalidInput(
                f"expected an input of {MIN_SIDE} to {MAX_SIDE} pixels a side with 1 (grey) or 3 "
                f"(RGB) channels, received {self.height}x{self.width}x{self.channels}"
            )
        for name, values in (("scale", self.scale), ("offset", self.offset)):
            if len(values) not in (1, self.channels) or not all(-1e6 < v < 1e6 for v in values):
                raise InvalidInput(
                    f"expected one {name} or {self.channels}, one a channel; received {values}"
                )
        if 0 in self.scale:
            raise InvalidInput(f"expected a scale other than 0, received {self.scale}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of one input."""
        return self.height, self.width, self.channels

    @property
    def size(self) -> str:
        """In words, as `--input` takes it: `48x48-grey`, `112x96-rgb` (height x width)."""
        return f"{self.height}x{self.width}-{CHANNELS[self.channels].lower()}"

    @property
    def pixels(self) -> tuple[int, int, int, str]:
        """What decides the pixels of an input; scale and offset come after them."""
        return (*self.shape, self.preprocess)

    def to_dict(self) -> dict[str, Any]:
        """The spec as plain JSON values."""
        return asdict(self) | {
            "scale": list(self.scale),
            "offset": list(self.offset),
            "arithmetic": self.arithmetic.value,
        }

    def fingerprint(self) -> str:
        """16 hex digits that differ whenever anything that the network sees differs."""
        return _fingerprint(self.to_dict())


DEFAULT_SPEC = InputSpec()

_SIZE = re.compile(r"([1-9][0-9]{0,3})x([1-9][0-9]{0,3})-(grey|rgb)", re.IGNORECASE)


def parse_size(text: str) -> InputSpec:
    """The spec of a size in words, the reverse of `InputSpec.size`: `48x48-grey`, `112x96-rgb`.

    Height comes first; scale and offset are the defaults.

    Raises:
        InvalidInput: another form, or a side out of range.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InvalidInput(
            "expected an input as HEIGHTxWIDTH-grey or HEIGHTxWIDTH-rgb, such as 48x48-grey; "
            f"received {text[:40]!r}"
        )
    channels = 1 if match[3].lower() == "grey" else 3
    return InputSpec(int(match[1]), int(match[2]), channels)


def parse_spec(raw: Any, fingerprint: str, where: str) -> tuple[InputSpec, dict[str, Crop]]:
    """An input spec from parsed JSON, and the crops by detector that older files kept inside it.

    `fingerprint` is the one written beside it, which must be the spec's own.

    Raises:
        ValueError: a field that does not fit, or another fingerprint; names `where`.
    """
    crops: dict[str, Crop] = {}
    old = None
    if isinstance(raw, Mapping) and "crops" in raw:  # before a detector owned its crop
        old = strict.from_dict(_Spec1, dict(raw), where)
        crops = old.crops
        raw = {key: value for key, value in raw.items() if key != "crops"} | {
            "scale": [old.scale],
            "offset": [old.offset],
            "arithmetic": Arithmetic.GRAPH.value,
        }
    spec = strict.from_dict(InputSpec, raw, where)
    own = _fingerprint(asdict(old)) if old else spec.fingerprint()
    if spec.preprocess != PREPROCESS_VERSION:
        raise ValueError(
            f"{where}: made for the preprocessing {spec.preprocess[:40]!r}, this edgeemo has "
            f"{PREPROCESS_VERSION!r}"
        )
    if fingerprint != own:
        raise ValueError(f"{where}: fingerprint {fingerprint[:40]!r} is not its own ({own})")
    return spec, crops


@dataclass(frozen=True)
class _Spec1:
    """The spec as bundles of schema 1 and folders of their time hold it: crops were part of it."""

    height: int
    """As of `InputSpec`."""
    width: int
    """As of `InputSpec`."""
    channels: int
    """As of `InputSpec`."""
    scale: float
    """One for all channels."""
    offset: float
    """One for all channels."""
    preprocess: str
    """As of `InputSpec`."""
    crops: dict[str, Crop]
    """By detector."""


def _fingerprint(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(strict.dumps(values, indent=None).encode()).hexdigest()[:16]
