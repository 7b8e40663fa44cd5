"""The recipe of a run: every choice that changes the weights, frozen, saved with the run."""

from dataclasses import asdict, dataclass, field
from typing import Any

from edgeemo.contract import strict
from edgeemo.errors import InvalidInput


@dataclass(frozen=True)
class Augmentation:
    """Random changes of each training picture, drawn anew each epoch. Shares are probabilities 0..1.

    flip: share mirrored. rotation: standard deviation in degrees. zoom: largest relative change of size.
    shift: largest move as a share of the side. brightness, contrast: largest relative change.
    cutout: share with a patch blanked; cutout_side: its largest side in pixels. blur: share blurred.
    """

    flip: float = 0.5
    rotation: float = 9.0
    zoom: float = 0.15
    shift: float = 0.09
    brightness: float = 0.15
    contrast: float = 0.3
    cutout: float = 0.5
    cutout_side: int = 18
    blur: float = 0.1

    def __post_init__(self) -> None:
        shares = (self.flip, self.cutout, self.blur)
        ranges = (self.rotation, self.zoom, self.shift, self.brightness, self.contrast)
        # The smallest patch that is drawn has 4 pixels a side.
        sane = all(0 <= share <= 1 for share in shares) and all(limit >= 0 for limit in ranges) and self.zoom < 1
        if not sane or self.cutout_side < 4:
            raise InvalidInput(
                "expected an augmentation with shares of 0 to 1, ranges of at least 0, a zoom below 1 and a cutout_side of "
                f"at least 4, received {self}"
            )


@dataclass(frozen=True)
class Recipe:
    """How a network is fitted: AdamW with cosine decay after a linear warm-up.

    learning_rate is the peak; weight_decay is decoupled and spares biases and batch normalization; mixup is the
    alpha of its Beta distribution, 0 for none.
    """

    model: str = "small"
    labels: str = "fer2013"
    epochs: int = 120
    batch_size: int = 128
    learning_rate: float = 3e-3
    warmup_epochs: int = 3
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    mixup: float = 0.1
    seed: int = 1
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2 or self.seed < 0:
            raise InvalidInput(
                f"expected at least 1 epoch, a batch of at least 2 and a seed of at least 0, received {self}"
            )

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: object) -> "Recipe":
        """The recipe from parsed JSON; raises ValueError where a field does not fit."""
        return strict.from_dict(cls, value, "recipe")
