"""edgeemo doctor: one line to install for one need, nothing of what is not needed, OpenCV over
OpenCV.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgeemo.cli import checks
from edgeemo.cli.doctor import OPENCV, packages_by_folder
from edgeemo.cli.main import main
from tests import support
from tests.support import done_here


def checks_without(
    modules: tuple[str, ...], bundle: Path, folder: Path, detector: str = "whole"
) -> tuple[int, list[dict[str, Any]]]:
    """Exit code and checks of a doctor, where these modules are not installed."""
    done = subprocess.run(
        [sys.executable, "-m", "edgeemo", "doctor", "--json", "--model", str(bundle),
         "--detector", detector],
        capture_output=True, text=True, timeout=120, env=support.without(modules, folder),
    )  # fmt: skip
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("detector", ["whole", "auto"])
def test_all_that_is_missing_is_one_line_to_install(
    detector: str, tiny_bundle: Path, tmp_path: Path
) -> None:
    hidden = ("ai_edge_litert", "tflite_runtime", "onnxruntime", "PIL", "cv2")
    code, checks = checks_without(hidden, tiny_bundle, tmp_path, detector)
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


def test_a_network_without_a_detector_is_told_which_interpreter_is_missing(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    hidden = ("ai_edge_litert", "tflite_runtime", "cv2")
    code, checks = checks_without(hidden, tiny_bundle, tmp_path, "auto")
    assert code == 1
    (found,) = (check for check in checks if check["name"] == "detector")
    assert (found["state"], found["fix"][-9:]) == ("problem", "[litert]'")


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
    found = packages_by_folder(OPENCV)
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


def test_measure_says_what_this_device_does(tiny_bundle: Path) -> None:
    done = done_here(main, "edgeemo", "doctor", "--measure", "--json", "--model", str(tiny_bundle),
                     "--detector", "whole")  # fmt: skip
    assert done.returncode == 0, done.stdout
    checks = [json.loads(line) for line in done.stdout.splitlines()]
    speed = checks[-1]
    assert (speed["name"], speed["state"]) == ("speed", "ok")
    ms, face, fps = (speed["measured"][name] for name in ("detection_ms", "face_ms", "fps"))
    assert 0 <= ms < 50  # the whole frame is the face: nothing is looked for
    assert 0 < face
    assert fps == pytest.approx(1000 / (ms + face), rel=0.05)
    for words in ("whole", "640x480", "int8.tflite", "in one thread", "without camera"):
        assert words in speed["text"]
    assert all("measured" not in check for check in checks[:-1])


def test_measure_says_why_it_cannot(tmp_path: Path) -> None:
    done = done_here(main, "edgeemo", "doctor", "--measure", "--json", "--model", "gone.edgeemo")
    assert done.returncode == 1
    speed = json.loads(done.stdout.splitlines()[-1])
    assert (speed["name"], speed["state"]) == ("speed", "problem")
    assert "gone.edgeemo" in speed["text"]


GPU_RUNTIME = """
__version__ = "1.23.0"
def get_available_providers():
    return [{providers}]
"""
LOOK = """
import json, sys
from edgeemo.cameras import csi
csi.machine = lambda: sys.argv[1]
from edgeemo.cli.accelerators import accelerators
for check in accelerators():
    print(json.dumps([check.name, check.state, check.text, check.fix]))
"""


def seen(folder: Path, machine: str, providers: str, tensorrt: str) -> list[list[str]]:
    """What `accelerators` says of stand-ins for the two packages on a machine."""
    for name, code in {
        "onnxruntime": GPU_RUNTIME.format(providers=providers), "tensorrt": tensorrt,
    }.items():  # fmt: skip
        if code:
            (folder / name).mkdir(exist_ok=True)
            (folder / name / "__init__.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "-c", LOOK, machine],
        capture_output=True, text=True, env=os.environ | {"PYTHONPATH": f"{folder}:{support.REPOSITORY}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_nvidias_software_is_seen(tmp_path: Path) -> None:
    both = '"TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"'
    assert seen(tmp_path, "jetson", both, "__version__ = '10.3.0'") == [
        ["GPU", "ok", 'ONNX Runtime has Tensorrt and CUDA, for Recognizer(providers="auto")', ""],
        ["TensorRT", "ok", "10.3.0", ""],
    ]
    cpu = '"AzureExecutionProvider", "CPUExecutionProvider"'
    gpu, tensorrt = seen(tmp_path, "jetson", cpu, "raise ImportError('libnvinfer.so.10')")
    assert gpu[:2] == ["GPU", "note"]
    assert gpu[3] == (
        "pip uninstall -y onnxruntime && pip install --index-url"
        " https://pypi.jetson-ai-lab.io/jp6/cu126 onnxruntime-gpu"
    )
    assert tensorrt[:2] == ["TensorRT", "note"]
    assert "libnvinfer.so.10" in tensorrt[2]
    assert [name for name, *_ in seen(tmp_path, "pi", cpu, "")] == ["TensorRT"]


def test_two_onnx_runtimes_over_each_other_are_noticed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(tmp_path, "onnxruntime", "onnxruntime-gpu")
    monkeypatch.syspath_prepend(tmp_path)
    done = done_here(main, "edgeemo", "doctor", "--json", "--model", "gone.edgeemo")
    checks = [json.loads(line) for line in done.stdout.splitlines()]
    (clash,) = (check for check in checks if "lie over each other" in check["text"])
    assert (clash["name"], clash["state"]) == ("ONNX Runtime", "note")


def test_checks_fit_the_terminal_and_fixes_stay_in_one_piece(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "largest difference 3, allowed 16; " * 4 + "/a/path/as/long/as/a/line/" + "x" * 70
    fix = "pip install " + "--upgrade " * 10 + "edgeemo"
    shown = {}
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    for terminal in (True, False):
        monkeypatch.setattr(sys.stdout, "isatty", lambda terminal=terminal: terminal)
        checks.show([checks.Check("self-test", "note", words, fix)], "edgeemo", False)
        shown[terminal] = capsys.readouterr().out.splitlines()
    # in a pipe a line is a line
    assert shown[False] == [f"note    self-test    {words}", f"{' ' * 21}fix: {fix}"]
    *narrow, last = shown[True]
    assert len(narrow) == 4
    assert all(len(line) <= 80 for line in narrow[:-1])
    assert " ".join(line.strip() for line in narrow) == shown[False][0]
    assert last == shown[False][1]
