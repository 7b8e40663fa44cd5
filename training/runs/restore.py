"""A run again from a bundle whose run folder is gone: its float weights, as a run to go on from."""

from dataclasses import replace
from pathlib import Path

import keras

from edgeemo.contract.answers import picture_ids
from edgeemo.contract.bundle import Bundle
from edgeemo.contract.checked.files import make_folder
from edgeemo.contract.run import Progress, RestoredFrom, write_run_config
from edgeemo.data.prepared import Prepared, load_prepared
from edgeemo.errors import RunError
from edgeemo.trust import read_bundle
from training.fit.recipe import Recipe
from training.fit.train import run_config
from training.runs.evaluate import write_split
from training.runs.from_bundle import float_network, recipe_of
from training.runs.run import check_free, write_model, write_weights
from workstation.seen import unlisted


def restore(
    bundle_path: Path, data_path: Path, out: Path, seed: int = 0, pictures: bool = True
) -> float:
    """Write the float run `out` of a bundle's fp32.onnx; top-1 on validation.

    `pictures` draws confusion matrices and reliability diagrams (about two seconds).

    Raises:
        BundleError: no fp32.onnx inside, or not one of our networks.
        SpecMismatch, DataError: the folder was prepared for another input or other labels.
        RunError: `out` holds a run; trained on another split than the folder holds, or the two do
            not answer the same.
    """
    check_free(out)
    bundle = read_bundle(bundle_path)
    data = load_prepared(data_path, bundle.spec, bundle.labels)
    _check_split(bundle, data)
    model = float_network(bundle, data, seed)
    _write(model, recipe_of(bundle), data, bundle, out)
    card = write_split(model, data, "validation", out, pictures)
    write_split(model, data, "test", out, pictures)
    return card.top1


def _check_split(bundle: Bundle, data: Prepared) -> None:
    ids = picture_ids(data.images[data.indices("test")])
    if not (count := unlisted(bundle, data.split_hash, ids)):
        return
    raise RunError(
        f"{bundle.path}: was trained on another split than {data.path} holds (hashes "
        f"{bundle.manifest.data.split_hash[:12]} and {data.split_hash[:12]}), and may have seen "
        f"{count:,} of its test pictures; restore it on the data that it was trained on, or "
        f"prepare them with --split-from {bundle.path.name}"
    )


def _write(model: keras.Model, recipe: Recipe, data: Prepared, bundle: Bundle, out: Path) -> None:
    make_folder(out)
    manifest = bundle.manifest
    restored = RestoredFrom(manifest.name, manifest.version, dict(manifest.training))
    config = run_config(recipe, data, model)
    write_run_config(out, replace(config, restored_from=restored, history=Progress(0, 0, 0.0)))
    write_weights(out, model)
    write_model(out, model)
