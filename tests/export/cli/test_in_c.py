"""Firmware of a bundle whose C nobody has measured is told as such."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgeemo.models import find_model
from export.cli.main import main
from tests.support import matching_hashes, rezip


@pytest.mark.parametrize(("verb", "out"), [("firmware", "c"), ("flash-image", "x.img")])
def test_c_that_was_not_measured_is_told(tmp_path: Path, verb: str, out: str) -> None:
    def unmeasured(entries: dict[str, bytes]) -> None:
        report = json.loads(entries["report.json"])
        report["artifacts"]["int8.tflite"]["in_c"] = None
        entries["report.json"] = json.dumps(report).encode()
        matching_hashes(entries, json.loads(entries["manifest.json"]))

    pi = rezip(find_model("nano"), tmp_path / "pi.edgeemo", unmeasured)
    for bundle, told in ((find_model("nano"), False), (pi, True)):
        words = [verb, str(bundle), "--out", str(tmp_path / bundle.stem / out)]
        (tmp_path / bundle.stem).mkdir()
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, done.output
        assert ("says nothing of what C computes" in done.stderr) == told
