"""The recipe of a run: every choice that changes the weights, frozen, saved with the run."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from edgeemo.contract import strict
from edgeemo.errors import InvalidInput

LABEL_CHOICES = ("fer2013", "ferplus", "mix")
# Fields that came after the first runs; a run without them was made as their defaults say.
_LATER = ("mix", "balance", "class_weight", "focal")


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

    labels: "fer2013" (hard), "ferplus" (shares of the votes), or "mix" (`mix` parts of votes, 1 - `mix` of the hard label).
    label_smoothing (0..1) is for hard labels: "ferplus" has none, and "mix" smooths its hard part alone.

    Of these at most one, none by default: balance, pictures of each class an epoch, drawn anew each time (0 for all as they
    are); class_weight, each picture's loss times the expected weight n / (k n_c) of its target; focal, the gamma of the focal
    loss (Lin et al. 2017, alpha 1; 0 for plain cross-entropy).
    """

    model: str = "small"
    labels: str = "fer2013"
    mix: float = 0.5
    epochs: int = 120
    batch_size: int = 128
    learning_rate: float = 3e-3
    warmup_epochs: int = 3
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    mixup: float = 0.1
    balance: int = 0
    class_weight: bool = False
    focal: float = 0.0
    seed: int = 1
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2 or self.seed < 0:
            raise InvalidInput(
                f"expected at least 1 epoch, a batch of at least 2 and a seed of at least 0, received {self}"
            )
        if self.labels not in LABEL_CHOICES or not 0 <= self.mix <= 1 or not 0 <= self.label_smoothing < 1:
            raise InvalidInput(
                f"expected labels of {', '.join(LABEL_CHOICES)}, a mix of 0 to 1 and a label_smoothing of 0 to below 1, "
                f"received {self.labels!r}, {self.mix} and {self.label_smoothing}"
            )
        if self.balance < 0 or not 0 <= self.focal < math.inf:
            raise InvalidInput(
                f"expected a balance and a focal gamma of at least 0, received {self.balance} and {self.focal}"
            )
        chosen = [name for name in ("balance", "class_weight", "focal") if getattr(self, name)]
        if len(chosen) > 1:
            raise InvalidInput(
                f"expected at most one of balance, class_weight and focal, received {' and '.join(chosen)}"
            )

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: object) -> "Recipe":
        """The recipe from parsed JSON; raises ValueError where a field does not fit."""
        if isinstance(value, dict):
            defaults = cls().to_dict()
            value = {name: defaults[name] for name in _LATER} | value
        return strict.from_dict(cls, value, "recipe")
