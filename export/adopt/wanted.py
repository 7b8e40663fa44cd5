"""What the command line says of a model from elsewhere, and what its file leaves open."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.checked.words import Word
from edgeemo.contract.input_spec import MAX_SIDE, MIN_SIDE, Arithmetic, InputSpec
from edgeemo.errors import InvalidInput, ModelError


class Scores(Word):
    """What the outputs of a model's file are."""

    LOGITS = "logits"
    """Numbers whose softmax are the scores."""
    SOFTMAX = "softmax"
    """The scores themselves: shares of 1."""


@dataclass(frozen=True)
class Scaling:
    """What a network's first layer takes for a pixel: pixel * scale + offset, each one number or
    one a channel.
    """

    scale: tuple[float, ...]
    """Factors."""
    offset: tuple[float, ...]
    """What is added."""

    @property
    def is_none(self) -> bool:
        """Whether pixels are taken as they are."""
        return set(self.scale) == {1.0} and set(self.offset) == {0.0}

    def __str__(self) -> str:
        if self.is_none:
            return "no scaling"
        return f"scale {_numbers(self.scale)}, offset {_numbers(self.offset)}"


RAW = Scaling((1.0,), (0.0,))
USUAL = (Scaling((1 / 127.5,), (-1.0,)), Scaling((1 / 255,), (0.0,)), RAW)
"""What networks are usually trained on."""


@dataclass(frozen=True)
class Wanted:
    """What the command line says of a model; None where it leaves that to the file."""

    labels: tuple[str, ...]
    """Names of the classes, in the order of the outputs."""
    size: InputSpec | None = None
    """Height, width and channels of the input."""
    scaling: Scaling | None = None
    """What the first layer takes for a pixel."""
    scores: Scores | None = None
    """What the outputs are."""
    trust_code: bool = False
    """Whether code that the file carries may run (Keras Lambda layers)."""
    custom: tuple[str, ...] = ()
    """Python files that define custom layers, which are run."""


@dataclass
class Notes:
    """What was read off a file, and what had to be assumed, in words and in order."""

    read: list[str] = field(default_factory=list)
    """What the file says itself."""
    assumed: list[str] = field(default_factory=list)
    """What it does not say and was guessed."""


def settled_size(name: str, sides: Sequence[int | None], wanted: Wanted, notes: Notes) -> InputSpec:
    """Height, width and channels of an input: the file's, with what it leaves open by --input.

    Args:
        name: of the file, for messages.
        sides: (height, width, channels) as the file has them, None where any will do.

    Raises:
        ModelError: the file wants another input than --input, or a size is open.
        InvalidInput: a size that no bundle has.
    """
    asked = wanted.size.shape if wanted.size else (None, None, None)
    for own, other in zip(sides, asked, strict=True):
        if own is not None and other is not None and own != other:
            raise ModelError(
                f"{name}: expects an input of {_sides(sides)} (height x width x channels), "
                f"--input says {_sides(asked)}; leave --input out, or give the size it wants"
            )
    height, width, channels = (
        other if own is None else own for own, other in zip(sides, asked, strict=True)
    )
    if height is None or width is None or channels is None:
        raise ModelError(
            f"{name}: leaves its input open ({_sides(sides)}); say what it was trained on, "
            f"such as --input 64x64-grey (sides of {MIN_SIDE} to {MAX_SIDE})"
        )
    try:
        spec = InputSpec(height, width, channels)
    except InvalidInput as error:
        raise InvalidInput(f"{name}: {error}") from None
    source = "read from the file" if None not in sides else "of --input"
    notes.read.append(f"input {spec.size}, {source}")
    return spec


def with_scaling(size: InputSpec, scaling: Scaling) -> InputSpec:
    """The spec of a model that takes pixels of `size`, scaled so by the runtime.

    Raises InvalidInput.
    """
    where = Arithmetic.GRAPH if scaling.is_none else Arithmetic.RUNTIME
    return replace(size, scale=scaling.scale, offset=scaling.offset, arithmetic=where)


def check_outputs(name: str, outputs: int, wanted: Wanted, notes: Notes) -> None:
    """Raise ModelError unless so many outputs fit the labels; one output stands for two labels."""
    if outputs == 1 and len(wanted.labels) == 2:
        notes.assumed.append(
            f"one output is the score of {wanted.labels[1]!r}, the second of --labels"
        )
        return
    if outputs != len(wanted.labels):
        raise ModelError(
            f"{name}: has {count_of(outputs, 'output')}, --labels names {len(wanted.labels)} "
            f"({', '.join(wanted.labels)}); name the classes that it was trained on, in the order "
            "of its outputs"
        )


def scaling_of(
    scale: str | None, offset: str | None, mean: str | None, std: str | None
) -> Scaling | None:
    """What --scale and --offset, or --mean and --std, say: numbers or quotients, comma-separated.

    (pixel - mean) / std is pixel * (1 / std) - mean / std. Mean and deviation of pixels of 0..1, as
    torchvision has them, are recognized by lying in 0..1, and count for pixel / 255.

    Raises InvalidInput.
    """
    by_scale, by_mean = ((a, b) != (None, None) for a, b in ((scale, offset), (mean, std)))
    if by_scale and by_mean:
        raise InvalidInput("expected --scale and --offset, or --mean and --std, received both")
    if by_mean:
        means = _parsed("0" if mean is None else mean, "--mean")
        deviations = _parsed("1" if std is None else std, "--std")
        if 0 in deviations:
            raise InvalidInput("--std: expected numbers other than 0")
        width = max(len(means), len(deviations))
        means, deviations = _wide(means, width, "--mean"), _wide(deviations, width, "--std")
        unit = 255.0 if max(map(abs, (*means, *deviations))) <= 1 else 1.0
        pairs = list(zip(means, deviations, strict=True))
        return Scaling(tuple(1 / (unit * d) for _, d in pairs), tuple(-m / d for m, d in pairs))
    if by_scale:
        return Scaling(
            _parsed("1" if scale is None else scale, "--scale"),
            _parsed("0" if offset is None else offset, "--offset"),
        )
    return None


def _wide(values: tuple[float, ...], width: int, option: str) -> tuple[float, ...]:
    if len(values) not in (1, width):
        raise InvalidInput(f"{option}: expected one number or {width}, received {len(values)}")
    return values * width if len(values) == 1 else values


def _parsed(text: str, option: str) -> tuple[float, ...]:
    """Numbers such as -1, 0.5 and 1/127.5, comma-separated."""
    try:
        numbers = tuple(_number(word) for word in text.split(","))
    except (ValueError, ZeroDivisionError, OverflowError):
        raise InvalidInput(
            f"{option}: expected a number such as -1 or 1/127.5, or one a channel with commas "
            f"between, received {text[:60]!r}"
        ) from None
    return numbers


def _number(word: str) -> float:
    top, bar, bottom = word.strip().partition("/")
    number = float(top) / float(bottom) if bar else float(top)
    if not abs(number) < 1e6:
        raise ValueError
    return number


def _sides(sides: Sequence[int | None]) -> str:
    return "x".join("?" if side is None else str(side) for side in sides)


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
