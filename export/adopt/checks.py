"""What is asked of a model from elsewhere on labelled pictures, before int8 is made of it."""

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.quantize import looked_up, scaled_pixels, softmax
from edgeemo.data.prepared import Prepared
from edgeemo.errors import ModelError
from export.adopt.foreign import Foreign
from export.adopt.wanted import USUAL, Notes, Scaling, Wanted, with_scaling

TOLERANCE = 1e-4
"""Most that a score, 0..1, of the network in our contract may differ from the file's own."""
_COMPARED = 256  # pictures that are looked at
_MOST_COMPARED = 10_000  # pictures that near copies are looked for among


def settled_scaling(
    model: Foreign, given: Foreign | None, wanted: Wanted, data: Prepared, notes: Notes
) -> Scaling:
    """What the first layer takes for a pixel: as the command line says, as the file says, or the
    usual scaling with which the model is right most often.
    """
    if wanted.scaling is not None:
        return wanted.scaling
    for source in (model, given):
        if source is not None and source.scaling is not None:
            own = "pixels as they are" if source.scaling.is_none else str(source.scaling)
            notes.read.append(f"its input takes {own}")
            return source.scaling
    rows = np.flatnonzero(data.splits != "test")
    rows = rows if len(rows) else np.arange(len(data.labels))
    rows = np.random.default_rng(0).permutation(rows)[:_COMPARED]
    pictures, labels = np.asarray(data.images[rows]), data.labels[rows]
    shares = []
    for scaling in USUAL:
        values = looked_up(scaled_pixels(with_scaling(model.size, scaling)), pictures)
        shares.append(float((model.probabilities(values).argmax(axis=1) == labels).mean()))
    best = int(np.argmax(shares))
    tried = "; ".join(
        f"{scaling} {share:.0%}" for scaling, share in zip(USUAL, shares, strict=True)
    )
    notes.assumed.append(
        f"{USUAL[best]} of the pixels, with which it is right most often on "
        f"{count_of(len(rows), 'picture')} ({tried}); say it with --scale and --offset, or --mean "
        "and --std, if you know"
    )
    return USUAL[best]


def check_same_scores(
    model: Foreign,
    spec: InputSpec,
    pictures: NDArray[np.uint8],
    logits: NDArray[np.float32],
) -> None:
    """Raise ModelError unless the network in our contract gives the scores that its file gives."""
    some = slice(None, None, max(1, len(pictures) // _COMPARED))
    own = model.probabilities(looked_up(scaled_pixels(spec), pictures[some]))
    if not np.isfinite(own).all():
        raise ModelError(
            f"{model.path}: answers numbers that are not finite to "
            f"{count_of(len(own), 'test picture')}, or to some of them; are its weights whole, and "
            "--scale and --offset right?"
        )
    difference = float(np.abs(own - softmax(logits[some])).max())
    if not difference <= TOLERANCE:
        raise ModelError(
            f"{model.path}: what was made of it answers otherwise than the file itself (a score "
            f"differs by {difference:.2g}, allowed {TOLERANCE:g}); are its outputs logits or "
            "shares of 1? Say so with --scores"
        )


def near_copies(pictures: NDArray[np.uint8]) -> str:
    """How many of the test pictures, uint8 (N, H, W, C), are near copies of another, in words."""
    try:
        from training.data.duplicates import find_duplicates
    except ImportError:
        return "not looked for; install edgeemo[train]"
    if len(pictures) > _MOST_COMPARED:
        return f"not looked for among more than {_MOST_COMPARED:,} pictures"
    groups = find_duplicates(pictures, progress=False, warped=False).groups
    copies = len(groups) - len(np.unique(groups))
    if not copies:
        return f"none among {count_of(len(groups), 'test picture')}"
    return (
        f"{copies:,} of {len(groups):,} test pictures {'is' if copies == 1 else 'are'} a near "
        "copy of another, so that they tell less than as many different ones would"
    )
