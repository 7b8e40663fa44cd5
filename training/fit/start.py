"""What a run starts from: another run's weights, or those of a bundle, for the same labels or for
others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from edgeemo.contract.answers import picture_ids
from edgeemo.contract.bundle import Bundle
from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.container import sha256
from edgeemo.contract.labels import match_label_or_none
from edgeemo.contract.run import SourceRun, has_config
from edgeemo.data.prepared import Prepared
from edgeemo.errors import RunError, SpecMismatch
from edgeemo.models import find_model
from edgeemo.trust import read_bundle
from training.fit.distill import common_sets, run_identity, trusted_run
from training.fit.recipe import Recipe
from training.networks.qat import simulated
from training.runs.from_bundle import FP32, float_network, recipe_of
from training.runs.seeds import holds_seeds
from workstation.seen import unlisted

LAST_LAYER = "logits"


def is_bundle(init: str) -> bool:
    """Whether `--init` names a bundle: by its file or shipped name, and not a folder of a run or of
    several.
    """
    return bool(init) and not has_config(init) and not holds_seeds(init)


def fine_tuning(init: str) -> Recipe:
    """How a bundle's network is trained on: short, gently, on whole pictures.

    In small batches and without a moving average, because few pictures give few steps.

    Raises:
        MissingFile, BundleError: no such bundle, or not one of training.
    """
    model = recipe_of(read_bundle(find_model(init))).model
    return Recipe(
        model=model,
        init=init,
        epochs=20,
        batch_size=32,
        learning_rate=1e-3,
        warmup_epochs=1,
        mixup=0.0,
        ema=0.0,
    )


@dataclass(frozen=True)
class Start:
    """A network to start from."""

    model: keras.Model
    """With its weights, in float."""
    labels: tuple[str, ...]
    """What its outputs mean."""
    identity: SourceRun
    """For config.json."""


def start_of(recipe: Recipe, data: Prepared) -> Start:
    """What `recipe.init` names, if it cannot have seen the test pictures of `data`.

    Raises:
        MissingFile: neither a run folder nor a bundle.
        RunError, SpecMismatch, BundleError: it does not fit the recipe or the data.
    """
    if is_bundle(recipe.init):
        return _of_bundle(recipe, data)
    run = trusted_run(recipe.init, data, recipe, any_labels=not recipe.qat)
    _check_network(recipe, run.recipe.model)
    if run.recipe.qat:
        raise RunError(
            f"{recipe.init}: was trained in simulated int8, its normalization is gone; start from "
            f"the float run {run.recipe.init}"
        )
    return Start(run.build(), run.class_names, run_identity("init", run))


def put_weights(model: keras.Model, start: Start, recipe: Recipe, labels: Sequence[str]) -> None:
    """Give `model`, whose outputs are `labels`, the weights of `start`.

    The last layer's weights go by the labels, in whatever known word each is said ("joy" takes
    those of "happy"): those of a label that is new are drawn, as in a network that starts from
    nothing.
    """
    trained = simulated(start.model) if recipe.qat else start.model
    if tuple(labels) == start.labels:
        model.set_weights(trained.get_weights())
        return
    for layer in model.layers:
        if layer.name != LAST_LAYER and layer.weights:
            layer.set_weights(trained.get_layer(layer.name).get_weights())
    last = model.get_layer(LAST_LAYER)
    kernel, bias = (np.array(values) for values in last.get_weights())
    old_kernel, old_bias = trained.get_layer(LAST_LAYER).get_weights()
    for name, old in _kept(start, labels).items():
        i, place = list(labels).index(name), start.labels.index(old)
        kernel[:, i], bias[i] = old_kernel[:, place], old_bias[place]
    last.set_weights([kernel, bias])


def start_line(start: Start, labels: Sequence[str]) -> str:
    """What of the last layer is kept, in words."""
    places = _kept(start, labels)
    kept = [name if name == old else f"{name} (of {old})" for name, old in places.items()]
    new = [name for name in labels if name not in places]
    parts = [
        f"{word} {', '.join(names)}" for word, names in (("keeps", kept), ("new", new)) if names
    ]
    return f"starts from {start.identity.run}; last layer: {'; '.join(parts)}"


def _kept(start: Start, labels: Sequence[str]) -> dict[str, str]:
    """For each of `labels` that `start` knows, by name or by meaning, what it is called there.

    None of the start's labels is taken twice; the same name comes before the same meaning.
    """
    kept = {name: name for name in labels if name in start.labels}
    for name in labels:
        old = match_label_or_none(name, start.labels)
        if name not in kept and old is not None and old not in kept.values():
            kept[name] = old
    return {name: kept[name] for name in labels if name in kept}


def _of_bundle(recipe: Recipe, data: Prepared) -> Start:
    bundle = read_bundle(find_model(recipe.init))
    own = recipe_of(bundle)
    _check_network(recipe, own.model)
    if bundle.spec != data.spec:
        raise SpecMismatch(
            f"{recipe.init} sees {bundle.spec.size}, {data.path} was prepared for "
            f"{data.spec.size}; prepare it with --input {bundle.spec.size}"
        )
    _check_unseen(recipe.init, bundle, data)
    identity = SourceRun(
        use="init",
        run=recipe.init,
        weights_sha256=sha256(bundle.files[FP32]) if FP32 in bundle.files else "",
        model=own.model,
        labels=own.labels,
        seed=own.seed,
        data_sets=bundle.manifest.data.sets,
    )
    return Start(float_network(bundle, data), bundle.labels, identity)


def _check_network(recipe: Recipe, model: str) -> None:
    if model != recipe.model:
        raise RunError(
            f"{recipe.init}: is a {model}, a {recipe.model} cannot start from it; add --model "
            f"{model}"
        )


def _check_unseen(init: str, bundle: Bundle, data: Prepared) -> None:
    """Raise RunError where the bundle may have learned from test pictures of `data`: where both
    are of the same set, and its report does not list them as its own test pictures.
    """
    shared = common_sets(bundle.manifest.data.sets, data)
    if not shared:
        return
    ids = picture_ids(data.images[data.indices("test")])
    if count := unlisted(bundle, data.split_hash, ids):
        raise RunError(
            f"{init}: was trained on another split of {', '.join(shared)}, and may have seen "
            f"{count:,} of the {count_of(len(ids), 'test picture')} of {data.path}; prepare them "
            f"with --split-from {Path(bundle.path).name}, or, if they are other pictures, under "
            "another --source NAME"
        )


def leaned_on(recipe: Recipe, data: Prepared, start: Start | None) -> tuple[SourceRun, ...]:
    """For config.json: each run that the recipe names, what it is for, and what its weights are."""
    teachers = (trusted_run(path, data, recipe) for path in recipe.teachers)
    first = (start.identity,) if start else ()
    return (*first, *(run_identity("teacher", run) for run in teachers))
