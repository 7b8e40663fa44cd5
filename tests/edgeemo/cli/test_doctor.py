"""edgeemo doctor: one line to install for one need, nothing of what is not needed, OpenCV over
OpenCV.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgeemo.cli.doctor import opencv_packages
from edgeemo.cli.main import main
from tests import support
from tests.support import done_here


def checks_without(
    modules: tuple[str, ...], bundle: Path, folder: Path
) -> tuple[int, list[dict[str, Any]]]:
    """Exit code and checks of a doctor of whole faces, where these modules are not installed."""
    done = subprocess.run(
        [sys.executable, "-m", "edgeemo", "doctor", "--json", "--model", str(bundle),
         "--detector", "whole"],
        capture_output=True, text=True, timeout=120, env=support.without(modules, folder),
    )  # fmt: skip
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_all_that_is_missing_is_one_line_to_install(tiny_bundle: Path, tmp_path: Path) -> None:
    hidden = ("ai_edge_litert", "tflite_runtime", "onnxruntime", "PIL", "cv2")
    code, checks = checks_without(hidden, tiny_bundle, tmp_path)
    assert code == 1
    (packages,) = (check for check in checks if check["name"] == "packages")
    assert packages["state"] == "problem"
    assert packages["text"] == (
        "not installed: an interpreter of models, Pillow, which reads pictures"
    )
    assert packages["fix"].startswith("pip install ")
    assert packages["fix"].endswith("[pi]'")
    assert [check["fix"] for check in checks if "pip" in check["fix"]] == [packages["fix"]]
    assert not {"OpenCV", "Pillow", "TFLite", "ONNX Runtime"} & {check["name"] for check in checks}


def test_nothing_is_said_of_what_is_not_needed(tiny_bundle: Path, tmp_path: Path) -> None:
    code, checks = checks_without(("onnxruntime", "cv2"), tiny_bundle, tmp_path)
    assert code == 0
    words = json.dumps(checks)
    assert "OpenCV" not in words
    assert "opencv" not in words
    assert "ONNX" not in words
    assert [check["text"].split(",")[0] for check in checks if check["name"] == "self-test"] == [
        "int8.tflite"
    ] * 2
    assert {"TFLite", "Pillow"} <= {check["name"] for check in checks}


def installed(folder: Path, *names: str) -> None:
    for name in names:
        about = folder / f"{name.replace('-', '_')}-4.14.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 4.14.0\n")


def test_two_opencv_packages_over_each_other_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    installed(tmp_path, "opencv-python", "opencv_contrib.python-Headless", "opencv-pythonic")
    installed(other, "opencv-python-headless")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(other)
    found = opencv_packages()
    assert found[str(tmp_path)] == ["opencv-contrib-python-headless", "opencv-python"]
    assert found[str(other)] == ["opencv-python-headless"]  # in a folder of its own, so over none
    done = done_here(main, "edgeemo", "doctor", "--json", "--model", "gone.edgeemo")
    checks = [json.loads(line) for line in done.stdout.splitlines()]
    (clash,) = (check for check in checks if "lie over each other" in check["text"])
    assert (clash["name"], clash["state"]) == ("OpenCV", "note")
    assert clash["fix"].startswith(
        "pip uninstall -y opencv-contrib-python-headless opencv-python && pip install "
    )
    assert clash["fix"].endswith("[opencv]'")
