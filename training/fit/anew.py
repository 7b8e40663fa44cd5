"""A network fitted anew to some rows of prepared data, for studies: nothing is written."""

import time
from collections.abc import Iterator

import keras
import numpy as np
from numpy.typing import NDArray

from edgeemo.data.prepared import Prepared
from edgeemo.errors import RunError
from training.fit.loop import (
    averaged_weights,
    chosen_targets,
    fit_epoch,
    new_model,
    steps_per_epoch,
    training_faces,
)
from training.fit.recipe import Recipe
from training.fit.together import Learner, fit_together, together_of
from workstation.progress import time_left


def fitted_epochs(
    recipe: Recipe, data: Prepared, rows: NDArray[np.int64], title: str = ""
) -> Iterator[tuple[keras.Model, float]]:
    """Fit a network to some rows (n,) of prepared data as `train` does.

    With a `title` it says how far it is. Yields it and its loss after every epoch. Nothing is
    written and nothing validated, so the result is what the last epoch made.

    Raises:
        RunError: the recipe is of a run in simulated int8, which starts from a float run that has
            seen other rows.
        Diverged: the loss is no number.
        DataError: labels or balance ask for votes or classes that these rows do not hold.
    """
    if recipe.qat:
        raise RunError(
            "expected the recipe of a float run to fit anew, received one in simulated int8; take "
            f"that of {recipe.init}"
        )
    faces = training_faces(recipe, data, chosen_targets(recipe, data, rows, fitted=True))
    classes = len(data.class_names)
    steps = steps_per_epoch(recipe, len(faces.images), classes)
    model = new_model(recipe, steps, data.spec, classes)
    together = None
    if recipe.pipeline == "device":
        together = together_of([Learner(model, recipe, faces)])
    seconds: list[float] = []
    for epoch in range(recipe.epochs):
        start = time.monotonic()
        left = time_left(seconds, recipe.epochs - epoch)
        note = left and f"all epochs: {left}"
        if together is None:
            loss = fit_epoch(model, recipe, epoch, faces, title=title, note=note)
        else:
            (loss,) = fit_together(together, epoch, note, title)
        seconds.append(time.monotonic() - start)
        with averaged_weights(model):
            yield model, loss
