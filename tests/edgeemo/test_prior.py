"""`Recognizer(prior=)` and `--prior`: how frequent the emotions are where a model looks."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import edgeemo
from edgeemo.cli.main import main
from edgeemo.contract.bundle import Bundle, read_bundle
from edgeemo.contract.quantize import softmax
from edgeemo.errors import BundleError, InvalidInput
from edgeemo.recognizer import Recognizer
from tests.support import drawn_faces, rezip

PRIOR = np.array([0.1, 0.4, 0.02, 0.03, 0.3, 0.1, 0.05])


def with_point(bundle: Path, out: Path, point: object) -> Path:
    """A copy of a bundle whose manifest has another operating point."""

    def change(entries: dict[str, bytes]) -> None:
        manifest = json.loads(entries["manifest.json"]) | {"operating_point": point}
        entries["manifest.json"] = json.dumps(manifest).encode()

    return rezip(bundle, out, change)


@pytest.fixture
def bundle(tiny_bundle: Path, tmp_path: Path) -> Bundle:
    """The tiny bundle, a quarter of PRIOR taken off."""
    point = {"prior": PRIOR.tolist(), "temperature": 0.5, "adjustment": 0.25}
    return read_bundle(with_point(tiny_bundle, tmp_path / "prior.edgeemo", point))


@pytest.mark.parametrize(
    ("prior", "more"),
    [
        ("default", np.zeros(7)),
        ("training", 0.25 * np.log(PRIOR)),
        ("balanced", -0.75 * np.log(PRIOR)),
        (dict(zip(edgeemo.LABELS, [0.04] * 6 + [0.76], strict=True)),
         0.25 * np.log(PRIOR) - np.log(PRIOR) + np.log([0.04] * 6 + [0.76])),
    ],
)  # fmt: skip
def test_scores_are_those_of_the_prior(bundle: Bundle, prior: object, more: np.ndarray) -> None:
    faces = drawn_faces(5)
    with Recognizer(bundle, detector="whole") as default:
        expected = softmax(default.infer(faces) + more.astype(np.float32))
    with Recognizer(bundle, detector="whole", prior=prior) as recognizer:  # type: ignore[arg-type]
        np.testing.assert_allclose(softmax(recognizer.infer(faces)), expected, atol=1e-5)
        face = recognizer.predict(np.repeat(faces[0], 3, axis=2))[0]
    scores = [face.scores[label] for label in edgeemo.LABELS]
    np.testing.assert_allclose(scores, expected[0], atol=1e-5)


def test_a_bundle_that_knows_no_prior_says_so(tiny_bundle: Path, tmp_path: Path) -> None:
    old = with_point(tiny_bundle, tmp_path / "old.edgeemo", None)
    with Recognizer(str(old), detector="whole") as recognizer:
        assert len(recognizer.predict(np.repeat(drawn_faces(1)[0], 3, axis=2))) == 1
    with pytest.raises(InvalidInput, match=r"old.edgeemo: expected a bundle that knows the prior"):
        Recognizer(str(old), detector="whole", prior="balanced")
    with pytest.raises(InvalidInput, match="this backend: expected a bundle"):
        Recognizer(backend=edgeemo.FakeBackend(), prior="balanced")


@pytest.mark.parametrize(
    "point",
    [
        {"prior": [0.5, 0.5], "temperature": 1.0, "adjustment": 0.0},
        {"prior": [1 / 7] * 7, "temperature": 0.0, "adjustment": 0.0},
        {"prior": [1 / 7] * 7, "temperature": 1.0, "adjustment": 2.0},
        {"prior": [1 / 7] * 7, "temperature": 1.0},
        {"prior": "even", "temperature": 1.0, "adjustment": 0.0},
        {"prior": [-1, 2, 0, 0, 0, 0, 0], "temperature": 1.0, "adjustment": 0.0},
        [],
    ],
)
def test_a_manifest_with_another_point_is_refused(
    tiny_bundle: Path, tmp_path: Path, point: object
) -> None:
    with pytest.raises(BundleError, match="manifest is not valid"):
        read_bundle(with_point(tiny_bundle, tmp_path / "bad.edgeemo", point))


def test_evaluate_shows_and_takes_priors(bundle: Bundle, prepared: Path, tmp_path: Path) -> None:
    def evaluated(*more: str) -> tuple[str, dict[str, dict[str, dict[str, float]]]]:
        out = tmp_path / "out.json"
        done = CliRunner().invoke(
            main, ["evaluate", str(bundle.path), str(prepared), "--json", str(out), *more]
        )
        assert done.exit_code == 0, done.output
        return done.output, json.loads(out.read_text())["by_prior"]

    shown, default = evaluated()
    for prior, at in default["labels"].items():
        assert f"\n{prior:<10}{at['top1']:>8.2%}  {at['mean_recall']:>11.2%}" in shown
    assert set(default["labels"]) == {"training", "default", "balanced"}
    for prior in ("training", "balanced"):
        _, alone = evaluated("--prior", prior)
        assert alone == {"labels": {prior: default["labels"][prior]}}
    _, given = evaluated("--prior", "happy=0.9")
    assert list(given["labels"]) == ["given"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--prior", "evn"], "expected default, training, balanced or LABEL=SHARE"),
        (["--prior", "happy=1.5"], "shares between 0 and 1"),
        (["--prior", "balanced", "--against", "report"], "drop --prior"),
    ],
)
def test_a_prior_that_cannot_be_is_one_line(
    bundle: Bundle, prepared: Path, words: list[str], message: str
) -> None:
    done = CliRunner().invoke(main, ["evaluate", str(bundle.path), str(prepared), *words])
    assert done.exit_code == 2
    assert message in done.output
