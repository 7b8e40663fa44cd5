"""What a newcomer adds works end to end, by the commands that a user types (docs/architecture.md).

A detector and a camera from another package: tests/edgeemo/cli/test_watch_outside.py. Here: bundles
of eight labels and of 112x112 RGB.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeemo import EmotionSensor, FakeCamera, Recognizer, load_bundle
from edgeemo.errors import UnknownLabel
from edgeemo.live.options import SensorOptions
from export.build import Settings, build
from tests.other_inputs import COLOUR, EIGHT, Case, write_prepared, write_run
from tests.support import REPOSITORY

PLAIN = SensorOptions(smoothing=False)


class Made:
    """A case, its prepared data and the bundle that export built of it."""

    def __init__(self, case: Case, folder: Path) -> None:
        self.case, self.data = case, write_prepared(case, folder / "data")
        self.bundle = folder / "made.edgeemo"
        build(
            write_run(case, self.data, folder / "run"),
            self.data,
            self.bundle,
            settings=Settings(gate_min=1),
        )

    def picture(self, label: int, folder: Path) -> Path:
        """A picture file of that label, at twice the network's size."""
        (pixels,) = self.case.pictures(np.array([label]), seed=label)
        large = np.repeat(np.repeat(pixels, 2, axis=0), 2, axis=1)
        path = folder / f"{label}.png"
        cv2.imwrite(str(path), large[..., ::-1] if large.shape[2] == 3 else large)
        return path


@pytest.fixture(scope="module", params=[EIGHT, COLOUR], ids=["eight-labels", "112x112-rgb"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    return Made(request.param, tmp_path_factory.mktemp("newcomer"))


def run(*arguments: object, module: str = "edgeemo") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        cwd=REPOSITORY,
        env={**os.environ, "COLUMNS": "200"},
    )


def lines(done: subprocess.CompletedProcess[str]) -> list[dict]:  # type: ignore[type-arg]
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_predict_names_each_of_the_bundles_labels(made: Made, tmp_path: Path) -> None:
    names = made.case.names
    pictures = [made.picture(label, tmp_path) for label in range(len(names))]
    found = lines(
        run("predict", *pictures, "--model", made.bundle, "--detector", "whole", "--json")
    )
    faces = [row["faces"][0] for row in found]
    assert [face["emotion"] for face in faces] == list(names)
    assert all(list(face["scores"]) == list(names) for face in faces)


def test_watch_reads_a_folder_of_pictures(made: Made, tmp_path: Path) -> None:
    for label in (1, 0):
        made.picture(label, tmp_path)
    readings = lines(
        run(
            *("watch", "--camera", tmp_path, "--model", made.bundle, "--detector", "whole"),
            *("--smoothing", "off", "--json"),
        )
    )
    assert [reading["emotion"] for reading in readings] == list(made.case.names[:2])


def test_sensor_calls_the_handler_of_the_bundles_own_label(made: Made) -> None:
    last = len(made.case.names) - 1
    pictures = made.case.pictures(np.array([0, last]), seed=0)
    if pictures.shape[3] == 1:
        pictures = np.repeat(pictures, 3, axis=3)
    calls: list[str | None] = []
    recognizer = Recognizer(made.bundle, detector="whole")
    camera = FakeCamera([frame for frame in pictures for _ in range(3)])
    with EmotionSensor(camera, recognizer=recognizer, options=PLAIN) as sensor:
        sensor.when(made.case.names[last], lambda reading: calls.append(reading.emotion))
        with pytest.raises(UnknownLabel, match=made.case.names[0]):
            sensor.when("disgusted by the eighth", lambda: None)
        assert sensor.wait(timeout=20)
    assert calls == [made.case.names[last]]


def test_evaluate_counts_by_the_bundles_labels(made: Made, tmp_path: Path) -> None:
    done = run("evaluate", made.bundle, made.data, "--json", tmp_path / "out.json")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "out.json").read_text())
    assert result["labels"] == list(made.case.names)
    assert result["per_class_recall"] == dict.fromkeys(made.case.names, 1.0)
    assert result["n"] == 12 * len(made.case.names)


def test_the_report_agrees_with_this_machine(made: Made) -> None:
    done = run("evaluate", made.bundle, made.data, "--against", "report")
    assert done.returncode == 0, done.stderr
    assert "it agrees" in done.stdout


def test_doctor_replays_the_self_test(made: Made) -> None:
    checks = lines(run("doctor", "--model", made.bundle, "--json"))
    states = [check["state"] for check in checks if check["name"] in ("bundle", "self-test")]
    assert states == ["ok"] * 6


def test_generated_c_answers_its_self_test(made: Made, tmp_path: Path) -> None:
    if not shutil.which("cc") or not shutil.which("make"):
        pytest.skip("needs a C compiler and make, which ./scripts/system-packages installs")
    done = run("firmware", made.bundle, "--out", tmp_path / "c", module="export")
    assert done.returncode == 0, done.stderr
    checked = subprocess.run(
        ["make", "-C", str(tmp_path / "c"), "check"], capture_output=True, text=True, timeout=120
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    settings = (tmp_path / "c" / "model_settings.h").read_text()
    assert f"LABEL_COUNT {len(made.case.names)}" in settings
    assert f"INPUT_CHANNELS {made.case.spec.channels}" in settings


def test_bundles_of_seven_and_eight_labels_and_of_grey_and_rgb_live_in_one_process(
    made: Made,
) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (150, 150, 3), np.uint8)
    with (
        Recognizer("nano", detector="whole") as seven,
        Recognizer(made.bundle, detector="whole") as other,
    ):
        before = seven.predict(frame)
        assert list(other.predict(frame)[0].scores) == list(made.case.names)
        assert seven.predict(frame)[0].scores == before[0].scores
        assert list(before[0].scores) == list(load_bundle("nano").labels)
