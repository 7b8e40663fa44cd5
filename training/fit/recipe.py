"""The recipe of a run: every choice that changes the weights, frozen, saved with the run."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from edgeemo.contract.checked import strict
from edgeemo.errors import InvalidInput

LABEL_CHOICES = ("fer2013", "ferplus", "mix")
OPTIMIZERS = ("adamw", "sgd")
PRECISIONS = ("float32", "bfloat16", "float16")
PIPELINES = ("host", "device")
_CUTOUT_INPUT = 48  # pixels a side of the input that `cutout_side` is meant for
# Fields that came after the first runs, and what such a run was made with.
_LATER: dict[str, Any] = {
    "mix": 0.5, "balance": 0, "class_weight": False, "focal": 0.0, "optimizer": "adamw",
    "final_rate": 0.0, "ema": 0.0, "cutmix": 0.0, "precision": "float32", "patience": 0, "init": "",
    "teachers": (), "distill": 0.5, "temperature": 2.0, "qat": False, "informed": False,
    "views": 0, "with_validation": False, "pipeline": "host",
}  # fmt: skip
_AT_LEAST_0 = ("learning_rate", "warmup_epochs", "weight_decay", "mixup", "cutmix", "patience")


@dataclass(frozen=True)
class Augmentation:
    """Random changes of each training picture, drawn anew each epoch. Shares are 0..1.

    Raises:
        InvalidInput: a share or range that cannot be drawn from.
    """

    flip: float = 0.5
    """Share of the pictures that are mirrored."""
    rotation: float = 9.0
    """Standard deviation of the angle, in degrees."""
    zoom: float = 0.15
    """Largest relative change of size, below 1."""
    shift: float = 0.09
    """Largest move, as a share of the side."""
    brightness: float = 0.15
    """Largest change of brightness, as a share of the pixel range."""
    contrast: float = 0.3
    """Largest relative change of contrast."""
    cutout: float = 0.5
    """Share of the pictures with a patch blanked."""
    cutout_side: int = 18
    """Largest side of the patch in pixels of a 48x48 input, at least 4; it grows with the input."""
    blur: float = 0.1
    """Share of the pictures that are blurred."""

    def __post_init__(self) -> None:
        shares = (self.flip, self.cutout, self.blur)
        ranges = (self.rotation, self.zoom, self.shift, self.brightness, self.contrast)
        # The smallest patch that is drawn has 4 pixels a side.
        _expect(
            all(0 <= share <= 1 for share in shares)
            and all(limit >= 0 for limit in ranges)
            and self.zoom < 1
            and self.cutout_side >= 4,
            "an augmentation with shares of 0 to 1, ranges of at least 0, a zoom below 1 and a "
            "cutout_side of at least 4",
            self,
        )

    def largest_cutout(self, sides: Sequence[int]) -> int:
        """The largest side of a patch, in pixels of pictures of these `sides`."""
        return max(4, round(self.cutout_side * min(sides) / _CUTOUT_INPUT))


@dataclass(frozen=True)
class Recipe:
    """How a network is fitted: every choice that changes its weights.

    Of `balance`, `class_weight` and `focal` at most one may be chosen.

    Raises:
        InvalidInput: a value out of range, or choices that contradict each other.
    """

    model: str = "small"
    """Name of the network."""
    labels: str = "fer2013"
    """What is fitted to: "fer2013" (hard labels), "ferplus" (shares of the votes), or "mix"."""
    mix: float = 0.5
    """With labels "mix", parts of the votes; the hard label has the rest."""
    epochs: int = 120
    """Passes over the training pictures."""
    batch_size: int = 128
    """Pictures a gradient step, at least 2."""
    optimizer: str = "adamw"
    """"adamw", or "sgd" with Nesterov momentum 0.9."""
    learning_rate: float = 3e-3
    """Peak of the schedule."""
    warmup_epochs: int = 3
    """Epochs in which the rate grows linearly from a twentieth of the peak."""
    final_rate: float = 0.0
    """What a cosine takes the rate to, as a share of the peak; 1 keeps it constant."""
    weight_decay: float = 0.05
    """Decoupled weight decay, which spares biases and batch normalization."""
    ema: float = 0.998
    """Momentum (0..1) of the weights' exponential moving average over the steps after the warm-up.

    The average then is what is validated and kept; 0 for none."""
    label_smoothing: float = 0.1
    """Smoothing (0..1) of hard labels: "ferplus" has none, "mix" smooths its hard part alone."""
    mixup: float = 0.1
    """Alpha of mixup's Beta distribution, 0 for none; with cutmix too, a picture gets one of
    both."""
    cutmix: float = 0.0
    """Alpha of CutMix's Beta distribution, 0 for none."""
    balance: int = 0
    """Pictures of each class an epoch, drawn anew each time; 0 for all as they are."""
    class_weight: bool = False
    """Whether a picture's loss is multiplied by the expected weight n / (k n_c) of its target."""
    focal: float = 0.0
    """Gamma of the focal loss (Lin et al. 2017, alpha 1); 0 for plain cross-entropy."""
    precision: str = "float32"
    """What layers compute in: "float32", "bfloat16" or "float16"; weights stay float32."""
    patience: int = 0
    """Stop after so many epochs without a better validation top-1; 0 for never."""
    init: str = ""
    """The run whose weights training starts from; "" for random ones."""
    teachers: tuple[str, ...] = ()
    """Runs whose averaged scores are soft targets beside the labels (Hinton et al. 2015)."""
    distill: float = 0.5
    """The teachers' share (0..1) of the loss."""
    temperature: float = 2.0
    """What the logits of both sides are divided by, for the teachers' part of the loss."""
    informed: bool = False
    """Whether the teachers also see FER+'s votes for each training face, for hard labels alone.

    See `training.fit.distill.informed`."""
    views: int = 0
    """Augmented variants of every picture that the teachers score; the epochs take them in turn.

    So teachers and student see the very same pixels (Beyer et al. 2022). With 0 they score each
    picture once, as it is and mirrored."""
    with_validation: bool = False
    """Whether the validation pictures are fitted too, for a last run after all choices are made.

    They choose nothing any more, and the last epoch's weights are kept."""
    qat: bool = False
    """Whether int8 is simulated while training, as `finetune` does with a finished float run."""
    pipeline: str = "host"
    """Where pictures are augmented and mixed: on the "host" in OpenCV, or on the "device" inside the
    compiled step, under JAX on one device. The same distributions, other draws."""
    seed: int = 1
    """Of weights, order and augmentation."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    """Random changes of the training pictures."""

    def __post_init__(self) -> None:
        self._check_fit()
        self._check_targets()
        self._check_teachers()

    def to_dict(self) -> dict[str, Any]:
        """The recipe as plain JSON values."""
        return asdict(self) | {"teachers": list(self.teachers)}

    @classmethod
    def from_dict(cls, value: object) -> "Recipe":
        """The recipe from parsed JSON; raises ValueError where a field does not fit."""
        if isinstance(value, dict):
            value = _LATER | value
        return strict.from_dict(cls, value, "recipe")

    def _check_fit(self) -> None:
        """Raise InvalidInput unless length, optimizer and schedule are possible."""
        _expect(
            self.epochs >= 1 and self.batch_size >= 2 and self.seed >= 0,
            "at least 1 epoch, a batch of at least 2 and a seed of at least 0",
            self,
        )
        _expect(
            self.optimizer in OPTIMIZERS
            and self.precision in PRECISIONS
            and self.pipeline in PIPELINES,
            f"an optimizer of {', '.join(OPTIMIZERS)}, a precision of {', '.join(PRECISIONS)} and a "
            f"pipeline of {', '.join(PIPELINES)}",
            f"{self.optimizer!r}, {self.precision!r} and {self.pipeline!r}",
        )
        for name in _AT_LEAST_0:
            value = getattr(self, name)
            _expect(0 <= value < math.inf, f"a {name} of at least 0", value)
        _expect(
            0 <= self.final_rate <= 1 and 0 <= self.ema < 1,
            "a final_rate of 0 to 1 and an ema of 0 to below 1",
            f"{self.final_rate} and {self.ema}",
        )
        _expect(
            not self.qat or (bool(self.init) and self.precision == "float32"),
            "a float run as init and precision float32 for qat",
            f"{self.init!r} and {self.precision!r}",
        )
        _expect(
            not (self.with_validation and self.patience),
            "a patience of 0 with with_validation, which leaves nothing to stop early by",
            self.patience,
        )

    def _check_targets(self) -> None:
        """Raise InvalidInput unless the labels and the ways to weigh classes go together."""
        _expect(
            self.labels in LABEL_CHOICES and 0 <= self.mix <= 1 and 0 <= self.label_smoothing < 1,
            f"labels of {', '.join(LABEL_CHOICES)}, a mix of 0 to 1 and a label_smoothing of 0 to "
            "below 1",
            f"{self.labels!r}, {self.mix} and {self.label_smoothing}",
        )
        _expect(
            self.balance >= 0 and 0 <= self.focal < math.inf,
            "a balance and a focal gamma of at least 0",
            f"{self.balance} and {self.focal}",
        )
        chosen = [name for name in ("balance", "class_weight", "focal") if getattr(self, name)]
        _expect(
            len(chosen) <= 1, "at most one of balance, class_weight and focal", " and ".join(chosen)
        )

    def _check_teachers(self) -> None:
        """Raise InvalidInput unless what is asked of teachers is possible."""
        _expect(
            not self.informed or (bool(self.teachers) and self.labels == "fer2013"),
            "teachers and labels fer2013 for informed teachers, which guess the hard label from "
            "the votes",
            f"{len(self.teachers)} teachers and labels {self.labels}",
        )
        _expect(
            self.views == 0 or (self.views > 0 and bool(self.teachers)),
            "teachers for views, and at least 0 views",
            f"{self.views} and {len(self.teachers)} teachers",
        )
        _expect(
            0 <= self.distill <= 1 and 0 < self.temperature < math.inf,
            "a distill of 0 to 1 and a temperature above 0",
            f"{self.distill} and {self.temperature}",
        )


def _expect(holds: bool, expected: str, received: object) -> None:
    if not holds:
        raise InvalidInput(f"expected {expected}, received {received}")
