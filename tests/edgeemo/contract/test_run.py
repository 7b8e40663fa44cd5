"""The contract of a run folder: what is written comes back, and nothing else is believed."""

import hashlib
import json
import shlex
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeemo.contract.checked import strict
from edgeemo.contract.input_spec import DEFAULT_SPEC, InputSpec
from edgeemo.contract.run import (
    CONFIG,
    Predictions,
    Progress,
    RestoredFrom,
    RunConfig,
    SourceRun,
    check_finished,
    predictions_name,
    read_predictions,
    read_run_config,
    write_predictions,
    write_run_config,
)
from edgeemo.errors import InvalidInput, MissingFile, RunError

EIGHT = ("angry", "neutral", "disgust", "fear", "happy", "sad", "surprise", "contempt")
COLOUR = InputSpec(112, 96, 3, scale=(0.01, 0.02, 0.03), offset=(-1.0, -2.0, -3.0))
FULL = RunConfig(
    recipe={"model": "nano", "seed": 3, "qat": True, "with_validation": True},
    labels=EIGHT,
    input_spec=COLOUR,
    split_hash="a" * 64,
    data_sets=("fer2013", "mine"),
    data="prepared",
    data_seed=4,
    edgeemo="1.0",
    keras="3.1",
    backend="jax",
    threads=2,
    devices=2,
    workers=3,
    parameters=10,
    multiply_accumulates=20,
    leaned_on=(SourceRun("teacher", "runs/base", "b" * 64, "base", "fer2013", 7),),
    faces={"train": 9},
    left_out={"train": {"votes not known": 2}},
    kept_hard={"train": {}},
    votes_dropped={"train": {"NF": 1}},
    class_weights=dict.fromkeys(EIGHT, 1.5),
    restored_from=RestoredFrom("base", "0.1", {"recipe": {}}),
    family={"views": 3},
    history=Progress(12, 9, 3.5),
)
PLAIN = RunConfig({"model": "small"}, ("no", "yes"), DEFAULT_SPEC, "0" * 64)


@pytest.mark.parametrize("config", [FULL, PLAIN])
def test_config_comes_back_as_it_was_written(config: RunConfig, tmp_path: Path) -> None:
    write_run_config(tmp_path / "run", config)
    assert read_run_config(tmp_path / "run") == config
    assert read_run_config(str(tmp_path / "run")) == config


def test_properties_say_what_the_recipe_holds() -> None:
    assert (FULL.model, FULL.simulates_int8, FULL.has_seen_validation) == ("nano", True, True)
    assert (PLAIN.model, PLAIN.simulates_int8, PLAIN.has_seen_validation) == (
        "small", False, False,
    )  # fmt: skip


def test_config_from_before_a_detector_owned_its_crop_is_read(tmp_path: Path) -> None:
    old = {
        "height": 48, "width": 48, "channels": 1, "scale": 1 / 127.5, "offset": -1.0,
        "preprocess": DEFAULT_SPEC.preprocess,
        "crops": {"yunet": {"scale_q10": 1126, "shift_x_q10": 0, "shift_y_q10": 41}},
    }  # fmt: skip
    fingerprint = hashlib.sha256(strict.dumps(old, indent=None).encode()).hexdigest()[:16]
    values = PLAIN.to_dict() | {"input_spec": old, "input_fingerprint": fingerprint}
    (tmp_path / CONFIG).write_text(json.dumps(values))
    assert read_run_config(tmp_path).input_spec == DEFAULT_SPEC


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ["one"]}, "2 to 64 distinct labels"),
        ({"labels": ["one", "one"]}, "distinct"),
        ({"labels": "no"}, "labels: expected a list"),
        ({"recipe": {"model": 3}}, "recipe.model"),
        ({"recipe": []}, "config.recipe: expected an object"),
        ({"recipe": {"model": "small", "qat": "yes"}}, "recipe.qat"),
        ({"recipe": {"model": "small", "with_validation": 1}}, "recipe.with_validation"),
        ({"split_hash": "0" * 63}, "split_hash"),
        ({"input_fingerprint": "0" * 16}, "fingerprint"),
        ({"input_spec": {"height": 48}}, "input_spec"),
        ({"input_spec": None}, "input_spec"),
        ({"devices": 1.5}, "config.devices: expected int"),
        ({"history": {"epochs": 3}}, "config.history: missing fields"),
        ({"leaned_on": [{"use": "init"}]}, r"config.leaned_on\[0\]"),
        ({"surprise": 1}, "unknown fields"),
    ],
)
def test_config_that_no_run_has_is_refused(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (tmp_path / CONFIG).write_text(json.dumps(PLAIN.to_dict() | change))
    with pytest.raises(RunError, match=message):
        read_run_config(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "not the config of a run"),
        (b"[]", "expected an object"),
        (b"\xff\xfe", "not the config of a run"),
        (b'{"recipe": 1, "recipe": 2}', "twice"),
        (b" " * (4 * 1024**2 + 1), "4,194,305 bytes, expected at most 4,194,304"),
    ],
)
def test_file_that_holds_no_config_is_refused(text: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / CONFIG).write_bytes(text)
    with pytest.raises(RunError, match=message):
        read_run_config(tmp_path)


def test_folder_without_a_run_is_missing(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="expected a run folder with config.json"):
        read_run_config(tmp_path)


def test_finished_run_holds_weights_model_and_test_predictions(tmp_path: Path) -> None:
    for name in ("model.weights.h5", "model.keras", "predictions_test.npz"):
        with pytest.raises(RunError, match=f"the run has no {name}"):
            check_finished(tmp_path)
        (tmp_path / name).touch()
    check_finished(tmp_path)


def drawn(count: int = 5, classes: int = 3) -> Predictions:
    rng = np.random.default_rng(0)
    logits, mirrored = rng.normal(size=(2, count, classes)).astype(np.float32)
    return Predictions(logits, mirrored, rng.integers(0, classes, count), 2 * np.arange(count))


def test_predictions_come_back_as_they_were_written(tmp_path: Path) -> None:
    predictions = drawn()
    write_predictions(tmp_path, "test", predictions)
    read = read_predictions(tmp_path, "test", 3)
    for name in ("logits", "mirrored", "labels", "rows"):
        np.testing.assert_array_equal(getattr(read, name), getattr(predictions, name))
        assert getattr(read, name).dtype == getattr(predictions, name).dtype


@pytest.mark.parametrize(
    "change",
    [
        {"logits": np.zeros((5, 3))},
        {"logits": np.full((5, 3), np.nan, np.float32)},
        {"mirrored": np.full((5, 3), np.inf, np.float32)},
        {"mirrored": np.zeros((4, 3), np.float32)},
        {"labels": np.array([0, 1, 2, 3, 0])},
        {"labels": np.array([0, -1, 2, 1, 0])},
        {"rows": np.array([0, 2, 2, 3, 4])},
        {"rows": np.array([-1, 2, 3, 4, 5])},
        {"rows": np.arange(4)},
    ],
)
def test_predictions_that_do_not_fit_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        replace(drawn(), **change)
    arrays = {name: getattr(drawn(), name) for name in Predictions.__dataclass_fields__} | change
    np.savez(tmp_path / predictions_name("test"), **arrays)
    with pytest.raises(RunError, match="not readable as predictions"):
        read_predictions(tmp_path, "test", 3)


def test_damaged_or_foreign_predictions_are_refused(tmp_path: Path) -> None:
    file = tmp_path / predictions_name("test")
    with pytest.raises(RunError, match="predictions_test.npz: not readable"):
        read_predictions(tmp_path, "test", 3)
    write_predictions(tmp_path, "test", drawn())
    with pytest.raises(RunError, match="logits of 3 classes, not of 4"):
        read_predictions(tmp_path, "test", 4)
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError, match="not readable"):
        read_predictions(tmp_path, "test", 3)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("logits.npy", b"\x80\x04.")
    with pytest.raises(RunError, match=r"no \.npy file"):
        read_predictions(tmp_path, "test", 3)


def test_the_commands_that_messages_name_work_for_a_folder_with_blanks(tmp_path: Path) -> None:
    run = tmp_path / "my run's"
    with pytest.raises(MissingFile) as none:
        read_run_config(run)
    run.mkdir()
    with pytest.raises(RunError) as unfinished:
        check_finished(run)
    with pytest.raises(RunError) as unread:
        (run / predictions_name("test")).write_bytes(b"no zip")
        read_predictions(run, "test", 7)
    for raised in (none, unfinished, unread):
        command = str(raised.value).split("python -m training ")[1]
        assert str(run) in shlex.split(command)
