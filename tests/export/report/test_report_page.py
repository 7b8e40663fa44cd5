"""What build leaves beside the numbers: the report's own consistency, and a page that stands by
itself.
"""

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from edgeemo.contract.answers import decode_ids, decode_labels, picture_ids
from edgeemo.contract.bundle import Bundle, read_bundle
from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.data.prepared import load_prepared
from edgeemo.proof.evaluation import psnr, wilson_interval
from export.build import Settings, build
from export.manifest import Named
from export.profiles import PROFILES
from tests.support import quadrant_logits

pytestmark = pytest.mark.rounding


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return read_bundle(tiny_bundle)


def test_profile_decides_what_is_in_the_bundle(
    tiny_run: Path, prepared: Path, tmp_path: Path
) -> None:
    for name in ("mcu", "pi"):
        bundle, _ = build(
            tiny_run,
            prepared,
            tmp_path / f"{name}.edgeemo",
            settings=Settings(profile=name, gate_min=1),
        )
        assert [artifact.file for artifact in bundle.manifest.artifacts] == ["int8.tflite"]


def test_whole_bundle_holds_four_files_with_static_shapes_and_their_opset(bundle: Bundle) -> None:
    found = {artifact.file: artifact for artifact in bundle.manifest.artifacts}
    assert set(found) == set(PROFILES.get("all").files) == set(PROFILES.get("jetson").files)
    assert [found[file].precision for file in PROFILES.get("all").files] == [
        "int8",
        "int8",
        "fp16",
        "fp32",
    ]
    for file, artifact in found.items():
        assert artifact.input.shape == (1, 48, 48, 1)
        assert artifact.opset == (17 if file.endswith(".onnx") else None)


def test_report_lists_pictures_labels_and_answers(bundle: Bundle, prepared: Path) -> None:
    report = bundle.report()
    data = load_prepared(prepared, DEFAULT_SPEC)
    rows = data.indices("test")
    n = report["n"]
    assert n == len(rows)
    assert decode_ids(report["pictures"]["ids"], n, "x") == picture_ids(data.images[rows])
    assert (
        decode_labels(report["pictures"]["labels"], n, 7, "x").tolist()
        == data.labels[rows].tolist()
    )
    expected = quadrant_logits(np.asarray(data.images[rows])).argmax(axis=1).tolist()
    assert decode_labels(report["float"]["answers"], n, 7, "x").tolist() == expected
    assert set(report["artifacts"]) == set(PROFILES.get("all").files)
    for measured in report["artifacts"].values():
        matrix = np.zeros((7, 7), int)
        np.add.at(matrix, (data.labels[rows], decode_labels(measured["answers"], n, 7, "x")), 1)
        assert measured["card"]["confusion"] == matrix.tolist()
        low, high = measured["recall_intervals"]["artifact"]["happy"]
        assert (low, high) == pytest.approx(
            wilson_interval(int(matrix[4, 4]), int(matrix[4].sum()))
        )
    assert [attempt["step"] for attempt in report["artifacts"]["int8.tflite"]["ladder"]] == [
        "min-max"
    ]
    assert report["artifacts"]["fp32.onnx"]["ladder"] == []


def test_psnr_is_of_the_reference_s_span() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 3, (50, 7)).astype(np.float32)
    noisy = (logits + rng.normal(0, 0.01, logits.shape)).astype(np.float32)
    difference = noisy.astype(float) - logits
    expected = 20 * np.log10((logits.max() - logits.min()) / np.sqrt((difference**2).mean()))
    assert psnr(logits, noisy) == pytest.approx(float(expected), rel=1e-6)
    assert psnr(logits, logits) is None


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        found = dict(attributes)
        if tag == "img":
            self.images.append(str(found["src"]))
        self.links += [str(found[key]) for key in ("href", "src") if key in found and tag != "img"]
        if tag not in ("img", "meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_page_is_whole_and_shows_each_picture_that_changed_its_label(
    tiny_run: Path, prepared: Path, tmp_path: Path
) -> None:
    bundle, made = build(
        tiny_run,
        prepared,
        tmp_path / "shown.edgeemo",
        named=Named(name="shown"),
        settings=Settings(gate_min=1),
    )
    text = (tmp_path / "shown.report.html").read_text()
    page = _Page()
    page.feed(text)
    assert page.open == []
    assert page.links == []
    assert "http" not in re.sub(r"data:image/png;base64,[A-Za-z0-9+/=]+", "", text)
    report = bundle.report()
    flips = sum(
        a != b
        for measured in report["artifacts"].values()
        for a, b in zip(report["float"]["answers"], measured["answers"], strict=True)
    )
    assert len(page.images) == flips
    assert "Every artifact passes the gate." in text
    assert report["gate"] == {"pictures_needed": 299, "pictures_minimum": 1}
    assert f"By --gate-min judged on {report['n']} pictures; 299 are asked for" in text
    assert text.count("difference, artifact less float") == len(made) == 4
    assert json.dumps(report)  # plain JSON values


def test_build_says_when_the_run_has_seen_validation(
    tiny_run: Path, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for seen in (False, True):
        run = tmp_path / f"run{seen}"
        shutil.copytree(tiny_run, run)
        config = json.loads((run / "config.json").read_text())
        config["recipe"]["with_validation"] = seen
        (run / "config.json").write_text(json.dumps(config))
        bundle, _ = build(
            run,
            prepared,
            tmp_path / f"seen-{int(seen)}.edgeemo",
            settings=Settings(profile="mcu", gate_min=1),
        )
        page = (tmp_path / f"seen-{int(seen)}.report.html").read_text()
        for said in (capsys.readouterr().out, page):
            assert ("The run was fitted to validation too" in said) is seen
        assert bundle.manifest.training["recipe"]["with_validation"] is seen


def test_bundle_holds_no_page_with_faces(bundle: Bundle) -> None:
    assert set(bundle.files) == {*PROFILES.get("all").files, "report.json", "selftest.npz"}
