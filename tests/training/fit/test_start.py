"""A bundle's network goes on for labels of the same names in any order, and for new ones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeemo.backends import open_backend
from edgeemo.contract.bundle import read_bundle
from edgeemo.contract.input_spec import parse_size
from edgeemo.contract.labels import LABELS
from edgeemo.data.prepared import Prepared, load_prepared
from edgeemo.errors import BundleError, MissingFile, RunError, SpecMismatch
from edgeemo.models import find_model
from training.fit.recipe import Recipe
from training.fit.start import Start, fine_tuning, put_weights, start_line, start_of
from training.networks import NETWORKS
from training.runs.predict import predict

NANO = fine_tuning("nano")


@pytest.fixture(scope="module")
def own(prepared: Path) -> Prepared:
    """The drawn pictures as those of a set that the shipped models never saw."""
    return of_set(load_prepared(prepared), "mine")


@pytest.fixture(scope="module")
def start(own: Prepared) -> Start:
    """The shipped nano."""
    return start_of(NANO, own)


def of_set(data: Prepared, name: str) -> Prepared:
    return replace(data, dataset=data.dataset | {"sources": [{"name": name}]})


def logits(start: Start, labels: tuple[str, ...], data: Prepared) -> np.ndarray:
    """float32 (n, labels): what a network of `labels` answers that starts there."""
    model = NETWORKS.get("nano")(data.spec, len(labels))
    put_weights(model, start, NANO, labels)
    return predict(model, np.asarray(data.images[:20]))


def test_same_labels_answer_as_the_bundle_in_any_order(start: Start, own: Prepared) -> None:
    bundle = read_bundle(find_model("nano"))
    point = bundle.manifest.operating_point
    assert point is not None
    answers = open_backend(bundle, "fp32.onnx").infer(np.asarray(own.images[:20]))
    # One goes on from what was trained, without the bundle's operating point.
    expected = (answers + point.adjustment * point.log_prior) * point.temperature
    span = 0.01 * np.ptp(expected)
    assert np.abs(logits(start, LABELS, own) - expected).max() < span
    turned = LABELS[::-1]
    assert np.abs(logits(start, turned, own) - expected[:, ::-1]).max() < span


def test_other_labels_keep_the_weights_of_the_names_that_are_the_same(
    start: Start, own: Prepared
) -> None:
    labels = ("bored", "happy", "wink", "sad")
    full, other = logits(start, LABELS, own), logits(start, labels, own)
    for name in ("happy", "sad"):
        kept = full[:, LABELS.index(name)]
        assert np.allclose(other[:, labels.index(name)], kept, atol=1e-4)
    assert start_line(start, labels) == (
        "starts from nano; last layer: keeps happy, sad; new bored, wink"
    )
    assert start.identity.data_sets == ("fer2013",)


def test_other_words_for_the_same_labels_take_their_weights(start: Start, own: Prepared) -> None:
    labels = ("Joie", "joy", "anger", "wink")
    full, other = logits(start, LABELS, own), logits(start, labels, own)
    for place, name in ((0, "happy"), (2, "angry")):
        assert np.allclose(other[:, place], full[:, LABELS.index(name)], atol=1e-4)
    # A second word for what has its place already starts anew.
    assert not np.allclose(other[:, 1], full[:, LABELS.index("happy")], atol=1e-2)
    assert start_line(start, labels) == (
        "starts from nano; last layer: keeps Joie (of happy), anger (of angry); new joy, wink"
    )


def test_defaults_of_fine_tuning_are_gentle() -> None:
    assert (NANO.model, NANO.epochs, NANO.batch_size, NANO.learning_rate) == ("nano", 20, 32, 1e-3)
    assert (NANO.warmup_epochs, NANO.mixup, NANO.ema) == (1, 0.0, 0.0)


@pytest.mark.parametrize("name", ["fer2013", "facial-emotion-dataset"])
def test_a_bundle_that_may_have_seen_the_test_pictures_is_refused(name: str, own: Prepared) -> None:
    message = f"another split of {name}, and may have seen 56 of the 56 test .*--split-from nano"
    with pytest.raises(RunError, match=message):
        start_of(NANO, of_set(own, name))


def test_what_cannot_be_started_from_is_refused_in_words(own: Prepared, tiny_bundle: Path) -> None:
    with pytest.raises(RunError, match="is a nano, a small cannot start from it; add --model nano"):
        start_of(replace(NANO, model="small"), own)
    with pytest.raises(BundleError, match="expected a bundle with fp32.onnx"):
        start_of(Recipe(model="base", init="base"), own)
    with pytest.raises(MissingFile, match="gone: no such bundle"):
        start_of(replace(NANO, init="gone"), own)
    with pytest.raises(
        SpecMismatch, match="sees 48x48-grey, .* prepare it with --input 48x48-grey"
    ):
        start_of(NANO, replace(own, spec=parse_size("64x64-rgb")))
    with pytest.raises(BundleError, match="does not hold a network that training knows"):
        fine_tuning(str(tiny_bundle))
