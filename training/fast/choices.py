"""The recipes of the family: what was chosen for teachers, for students, and for students in
simulated int8.
"""

from dataclasses import dataclass, field
from typing import Any

from training.fast.engine import Shape, schedule
from training.fit.recipe import Augmentation


@dataclass(frozen=True)
class Choice:
    """A recipe but for its epochs, its network and its seed."""

    batch: int
    """Faces a gradient step."""
    peak: float
    """Learning rate of AdamW at the warm-up's end."""
    warmup: float
    """Epochs of linear warm-up."""
    mixup: float
    """Alpha of its Beta distribution, 0 for none."""
    momentum: float
    """Of the weights' moving average a step, 0 for none."""
    decay: float = 0.05
    """Decoupled weight decay."""
    precision: str = "bfloat16"
    """What layers compute in on a GPU; weights are float32, and so is everything on a CPU."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    """How strongly pictures are changed."""

    def shape(self, slots: int) -> Shape:
        """What programs for a list of so many faces are compiled for."""
        batch = min(self.batch, slots)
        return Shape(batch, slots, self.augmentation, Augmentation(), scored=batch)

    def numbers(self, shape: Shape, epochs: int) -> dict[str, Any]:
        """The schedule of so many epochs."""
        return schedule(
            shape,
            epochs,
            peak=self.peak,
            warmup=min(self.warmup, epochs / 4),
            decay=self.decay,
            momentum=self.momentum,
            mixup=self.mixup,
        )


# Stronger than a student's: 24,000 faces are few for ten million weights.
_STRONG = Augmentation(rotation=12.0, zoom=0.18, contrast=0.35, cutout=0.6, blur=0.15)
TEACHER = Choice(256, 2.5e-3, 2, mixup=0.3, momentum=0.998, decay=0.1, augmentation=_STRONG)
STUDENT = Choice(512, 5e-3, 3, mixup=0.2, momentum=0.998)
FINE = Choice(256, 4e-4, 0.5, mixup=0.0, momentum=0.0, precision="float32")
SOFT_SHARE = 0.8  # of what teachers say in a student's targets
