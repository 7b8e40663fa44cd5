"""The recipe of a run: every choice that changes the weights, frozen, saved with the run."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from edgeemo.contract import strict
from edgeemo.errors import InvalidInput

LABEL_CHOICES = ("fer2013", "ferplus", "mix")
OPTIMIZERS = ("adamw", "sgd")
PRECISIONS = ("float32", "bfloat16", "float16")
# Fields that came after the first runs, and what such a run was made with.
_LATER: dict[str, Any] = {
    "mix": 0.5, "balance": 0, "class_weight": False, "focal": 0.0, "optimizer": "adamw", "final_rate": 0.0, "ema": 0.0,
    "cutmix": 0.0, "precision": "float32", "patience": 0, "init": "", "teachers": (), "distill": 0.5, "temperature": 2.0,
    "qat": False, "informed": False,
    "views": 0, "with_validation": False,
}  # fmt: skip


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
        sane = (
            all(0 <= share <= 1 for share in shares)
            and all(limit >= 0 for limit in ranges)
            and self.zoom < 1
        )
        if not sane or self.cutout_side < 4:
            raise InvalidInput(
                "expected an augmentation with shares of 0 to 1, ranges of at least 0, a zoom below 1 and a cutout_side of "
                f"at least 4, received {self}"
            )


@dataclass(frozen=True)
class Recipe:
    """How a network is fitted: every choice that changes its weights.

    Optimizer: "adamw", or "sgd" with Nesterov momentum 0.9. learning_rate is the peak, reached by a linear warm-up of
    warmup_epochs from a twentieth of it; a cosine takes it from there to final_rate (a share of the peak; 1 keeps it constant).
    weight_decay is decoupled and spares biases and batch normalization. ema is the momentum (0..1) of an exponential moving
    average of the weights over the steps after the warm-up, which then is what is validated and kept; 0 for none. precision is what layers compute in on
    a GPU ("bfloat16" or "float16"; weights stay float32). patience stops after so many epochs without a better validation top-1;
    0 for never. init is the run whose weights training starts from; "" for random ones. qat simulates int8 while training, as
    `finetune` does with a finished float run.

    Pictures: mixup and cutmix are the alphas of their Beta distributions, 0 for none; with both, each picture gets one of the two.

    labels: "fer2013" (hard), "ferplus" (shares of the votes), or "mix" (`mix` parts of votes, 1 - `mix` of the hard label).
    label_smoothing (0..1) is for hard labels: "ferplus" has none, and "mix" smooths its hard part alone.

    Of these at most one, none by default: balance, pictures of each class an epoch, drawn anew each time (0 for all as they
    are); class_weight, each picture's loss times the expected weight n / (k n_c) of its target; focal, the gamma of the focal
    loss (Lin et al. 2017, alpha 1; 0 for plain cross-entropy).

    teachers are the runs whose scores, averaged, are soft targets beside the labels (Hinton et al. 2015); distill (0..1) is
    their share of the loss and temperature what both sides' logits are divided by. informed teachers also see what FER+'s
    taggers said of each training face (see `training.fit.distill.informed`); for hard labels alone. views is how many augmented variants
    of every picture the teachers score; the epochs take them in turn, so that teachers and student see the very same pixels (Beyer
    et al. 2022). With 0 they score each picture once, as it is and mirrored.

    with_validation fits the validation pictures too, for a last run after all choices are made: they choose nothing any more, and
    the last epoch's weights are kept.
    """

    model: str = "small"
    labels: str = "fer2013"
    mix: float = 0.5
    epochs: int = 120
    batch_size: int = 128
    optimizer: str = "adamw"
    learning_rate: float = 3e-3
    warmup_epochs: int = 3
    final_rate: float = 0.0
    weight_decay: float = 0.05
    ema: float = 0.998
    label_smoothing: float = 0.1
    mixup: float = 0.1
    cutmix: float = 0.0
    balance: int = 0
    class_weight: bool = False
    focal: float = 0.0
    precision: str = "float32"
    patience: int = 0
    init: str = ""
    teachers: tuple[str, ...] = ()
    distill: float = 0.5
    temperature: float = 2.0
    informed: bool = False
    views: int = 0
    with_validation: bool = False
    qat: bool = False
    seed: int = 1
    augmentation: Augmentation = field(default_factory=Augmentation)

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 2 or self.seed < 0:
            raise InvalidInput(
                f"expected at least 1 epoch, a batch of at least 2 and a seed of at least 0, received {self}"
            )
        if (
            self.labels not in LABEL_CHOICES
            or not 0 <= self.mix <= 1
            or not 0 <= self.label_smoothing < 1
        ):
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
        if self.informed and not (self.teachers and self.labels == "fer2013"):
            raise InvalidInput(
                "expected teachers and labels fer2013 for informed teachers, which guess the hard label from the votes, "
                f"received {len(self.teachers)} teachers and labels {self.labels}"
            )
        if self.views < 0 or (self.views and not self.teachers):
            raise InvalidInput(
                f"expected teachers for views, and at least 0 views, received {self.views} and {len(self.teachers)} teachers"
            )
        if self.with_validation and self.patience:
            raise InvalidInput(
                f"expected a patience of 0 with with_validation, which leaves nothing to stop early by, received {self.patience}"
            )
        if self.optimizer not in OPTIMIZERS or self.precision not in PRECISIONS:
            raise InvalidInput(
                f"expected an optimizer of {', '.join(OPTIMIZERS)} and a precision of {', '.join(PRECISIONS)}, "
                f"received {self.optimizer!r} and {self.precision!r}"
            )
        if self.qat and (not self.init or self.precision != "float32"):
            raise InvalidInput(
                f"expected a float run as init and precision float32 for qat, received {self.init!r} and {self.precision!r}"
            )
        for name in (
            "learning_rate",
            "warmup_epochs",
            "weight_decay",
            "mixup",
            "cutmix",
            "patience",
        ):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidInput(
                    f"expected a {name} of at least 0, received {getattr(self, name)}"
                )
        if not (
            0 <= self.final_rate <= 1
            and 0 <= self.ema < 1
            and 0 <= self.distill <= 1
            and 0 < self.temperature < math.inf
        ):
            raise InvalidInput(
                "expected a final_rate and a distill of 0 to 1, an ema of 0 to below 1 and a temperature above 0, "
                f"received {self.final_rate}, {self.distill}, {self.ema} and {self.temperature}"
            )

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain JSON values."""
        return asdict(self) | {"teachers": list(self.teachers)}

    @classmethod
    def from_dict(cls, value: object) -> "Recipe":
        """The recipe from parsed JSON; raises ValueError where a field does not fit."""
        if isinstance(value, dict):
            value = _LATER | value
        return strict.from_dict(cls, value, "recipe")
