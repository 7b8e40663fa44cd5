"""Models from elsewhere as bundles, through the real gate and the command line."""

import json
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner

from edgeemo.backends import open_backend
from edgeemo.cli.main import main as edgeemo
from edgeemo.contract.bundle import read_bundle
from edgeemo.contract.input_spec import Arithmetic, parse_size
from edgeemo.contract.quantize import softmax
from edgeemo.data.pictures import write_picture
from edgeemo.data.prepared import load_prepared
from edgeemo.firmware.image import labels_crc32, read_header
from edgeemo.firmware.network import bundle_network
from edgeemo.proof.agreement import Answered, agree
from edgeemo.proof.promise import promise_faults
from edgeemo.proof.selftest import run_selftest
from export.adopt.pictures import load_labelled, most_pictures
from export.cli.main import main
from tests.foreign_models import NAMES, SPEC, keras_model, onnx_model, pictures, write_pictures
from tests.other_inputs import COUNTS, EIGHT, write_prepared
from tests.support import done_here

LABELS = ",".join(NAMES)
IMAGES, NUMBERS = pictures(24)


def adopt(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["adopt", *map(str, words)])
    assert done.exception is None or isinstance(done.exception, SystemExit) or done.exit_code
    text = done.output if done.exit_code == 0 else f"{done.output}{done.exception}"
    return done.exit_code, text


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("faces") / "faces.zip")


@pytest.fixture(scope="module")
def adopted(faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that was adopted for microcontrollers."""
    folder = tmp_path_factory.mktemp("adopted")
    keras_model().save(model := folder / "theirs.keras")
    code, text = adopt(
        model, "--labels", LABELS, "--scale", "1/127.5", "--offset", -1, "--data", faces,
        "--calibration", faces, "--profile", "mcu", "--out", folder / "t.edgeemo",
    )  # fmt: skip
    assert code == 0, text
    assert "  in C" in text
    return folder / "t.edgeemo"


def check_bundle(path: Path, files: list[str]) -> dict:  # type: ignore[type-arg]
    """The bundle keeps its promise, and its models answer what NumPy computes."""
    bundle = read_bundle(path)
    assert sorted(a.file for a in bundle.manifest.artifacts) == sorted(files)
    assert promise_faults(bundle) == []
    assert all(result.passed for result in run_selftest(bundle))
    expected = softmax(EIGHT.logits(IMAGES).astype(np.float32))
    for file in files:
        scores = softmax(open_backend(bundle, file).infer(IMAGES))
        bound = {"fp32.onnx": 1e-4, "fp16.onnx": 5e-3}.get(file, 0.1)
        assert np.abs(scores - expected).max() < bound
        assert (scores.argmax(axis=1) == NUMBERS).all()
    assert bundle.manifest.licence == "unknown; ask who made the model"
    assert bundle.manifest.training["recipe"]["training_data"] == "unknown"
    return bundle.report()


def test_a_keras_file_becomes_a_bundle_of_both_formats(faces: Path, tmp_path: Path) -> None:
    keras_model().save(model := tmp_path / "theirs.keras")
    code, text = adopt(model, "--labels", LABELS, "--data", faces, "--out", tmp_path / "t.edgeemo")
    assert code == 0, text
    assert "assumed: scale 0.00784314, offset -1 of the pixels, with which it is right" in text
    report = check_bundle(
        tmp_path / "t.edgeemo", ["int8.tflite", "int8.onnx", "fp16.onnx", "fp32.onnx"]
    )
    assert report["adopted"]["training_data"] == "unknown"
    assert "of 360 test pictures are a near copy" in report["adopted"]["near_copies"]
    page = (tmp_path / "t.report.html").read_text()
    assert "Training data unknown: the model may have seen the test pictures." in page
    bundle = read_bundle(tmp_path / "t.edgeemo")
    assert bundle.spec.arithmetic is Arithmetic.RUNTIME
    assert (bundle.manifest.calibration.n, report["n"]) == (8 * 14 + 2, 8 * (70 - 14 - 11))
    assert "drawn by the seed and not tested on: what calibrates and what chooses" in text


def test_an_onnx_file_becomes_a_bundle_of_onnx_alone(faces: Path, tmp_path: Path) -> None:
    onnx.save(onnx_model(), model := tmp_path / "net.onnx")
    code, text = adopt(
        model, "--labels", LABELS, "--mean", 127.5, "--std", 127.5,
        "--data", faces, "--out", tmp_path / "t.edgeemo",
    )  # fmt: skip
    assert code == 0, text
    assert "not made, because net.onnx cannot become it: int8.tflite" in text
    assert "read: pictures are channels first (NCHW)" in text
    check_bundle(tmp_path / "t.edgeemo", ["int8.onnx", "fp16.onnx", "fp32.onnx"])
    code, text = adopt(
        model, "--labels", LABELS, "--data", faces, "--profile", "mcu",
        "--out", tmp_path / "m.edgeemo",
    )  # fmt: skip
    assert code == 1
    assert "none of the files of profile mcu (int8.tflite) can be made of it" in text


def test_an_int8_file_is_judged_against_its_float_one(faces: Path, tmp_path: Path) -> None:
    import tensorflow as tf

    from tests.export.adopt.test_formats import as_int8, as_tflite

    (int8 := tmp_path / "int8.tflite").write_bytes(as_int8(keras_model(), tf.int8))
    (full := tmp_path / "float.tflite").write_bytes(as_tflite(keras_model()))
    words = ["--labels", LABELS, "--data", faces, "--out", tmp_path / "t.edgeemo"]
    code, text = adopt(int8, *words)
    assert code == 1
    assert "is int8 already, and is judged against the float model that it was made from" in text
    code, text = adopt(full, "--reference", full, *words)
    assert code == 1
    assert "is a float model, of which int8 is made here; leave --reference out" in text
    code, text = adopt(int8, "--reference", full, *words)
    assert code == 0, text
    report = check_bundle(tmp_path / "t.edgeemo", ["int8.tflite"])
    bundle = read_bundle(tmp_path / "t.edgeemo")
    assert bundle.manifest.calibration.n == 0
    assert report["n"] == 8 * 70
    answers = open_backend(bundle, "int8.tflite").infer(IMAGES).argmax(axis=1)
    here = Answered(IMAGES, NUMBERS, answers, bundle.labels)
    assert agree(report, "int8.tflite", here, "report").n in (0, 24)


def test_pictures_to_calibrate_with_may_be_named(adopted: Path) -> None:
    manifest = read_bundle(adopted).manifest
    assert (manifest.calibration.n, manifest.evaluation[0].n) == (504 + 2, 8 * (70 - 14))
    assert json.dumps(manifest.calibration.split) == '"pictures of faces.zip"'


def test_the_report_holds_what_a_microcontroller_computes(adopted: Path) -> None:
    part = read_bundle(adopted).report()["artifacts"]["int8.tflite"]["in_c"]
    assert (part["passed"], part["by"], part["card"]["n"]) == (True, "C", 8 * (70 - 14))
    assert part["agreement"] >= 0.97


def test_an_adopted_bundle_watches(adopted: Path, tmp_path: Path) -> None:
    for i, image in enumerate(IMAGES[: len(NAMES)]):
        write_picture(tmp_path / f"{i}.png", np.repeat(image, 3, axis=2))
    done = done_here(
        edgeemo, "edgeemo", "watch", tmp_path, "--model", adopted, "--detector", "whole",
        "--smoothing", "off", "--json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    seen = [json.loads(line)["emotion"] for line in done.stdout.splitlines()]
    assert seen == [NAMES[number] for number in NUMBERS[: len(NAMES)]]


def test_an_adopted_bundle_becomes_firmware_and_a_flash_image(
    adopted: Path, tmp_path: Path
) -> None:
    out = tmp_path / "firmware"
    done = done_here(main, "python -m export", "firmware", adopted, "--out", out)
    assert done.returncode == 0, done.stderr
    settings = (out / "model_settings.h").read_text()
    assert all(f'"{name}"' in settings for name in NAMES)
    image = tmp_path / "model.bin"
    done = done_here(main, "python -m export", "flash-image", adopted, "--out", image)
    assert done.returncode == 0, done.stderr
    network = bundle_network(read_bundle(adopted))
    header = read_header(image.read_bytes())
    assert (header.layers, header.labels_crc32) == (len(network.layers), labels_crc32(NAMES))


def test_a_command_line_that_does_not_fit(faces: Path, tmp_path: Path) -> None:
    keras_model().save(model := tmp_path / "theirs.keras")
    out = tmp_path / "t.edgeemo"
    for words, message in (
        (["--labels", "a,a", "--data", faces], "--labels: expected 2 to 64 distinct labels"),
        (["--labels", "a,\x1b[31mb", "--data", faces], "--labels: expected labels of 1 to 48"),
        (["--labels", LABELS, "--data", tmp_path / "none"], "no such folder or archive"),
        (["--labels", "1,2,3,4,5,6,7,8", "--data", faces], "not a single usable picture"),
        (["--labels", LABELS, "--data", faces, "--scale", "x"], "--scale: expected a number"),
        (["--labels", LABELS, "--data", faces, "--scale", ""], "an empty word after --scale"),
        (["--labels", LABELS, "--data", faces, "--input", ""], "an empty word after --input"),
        (["--labels", LABELS, "--data", faces, "--name", "../x"], "expected a name of a-z"),
        (["--labels", LABELS, "--data", faces, "--version", "x"], "expected a version like 1.2.3"),
        (["--labels", LABELS, "--data", faces, "--licence", "\x1b[1m"], "expected printable text"),
        (["--labels", LABELS, "--data", faces, "--custom", "none.py"], "none.py: no such file"),
    ):
        code, text = adopt(model, *words, "--out", out)
        assert code != 0
        assert message in text
        assert list(tmp_path.iterdir()) == [model]


@pytest.mark.parametrize(
    ("parts", "needed", "counts"),
    [
        ((), ("train", "validation"), {"train": 16, "validation": 8, "test": 56}),
        ((), ("validation",), {"validation": 16, "test": 64}),
        ((), (), {"test": 80}),
        (("train/", "test/"), ("train", "validation"),
         {"train": 40, "validation": 40, "test": 80}),
        (("train/", "validation/", "test/"), ("train", "validation"),
         {"train": 80, "validation": 80, "test": 80}),
        (("train/", "valid/"), ("validation", "train"),
         {"train": 40, "validation": 40, "test": 80}),
        (("train/", "test/"), (), {"test": 80}),
    ],
)  # fmt: skip
def test_parts_are_the_data_s_own_or_drawn_of_each_class_alike(
    parts: tuple[str, ...], needed: tuple[str, ...], counts: dict[str, int], tmp_path: Path
) -> None:
    with zipfile.ZipFile(path := tmp_path / "all.zip", "w") as archive:
        for part in parts or ("",):
            with zipfile.ZipFile(write_pictures(tmp_path / "one.zip", 10, part)) as one:
                for name in one.namelist():
                    archive.writestr(name, one.read(name))
    data = load_labelled(path, SPEC, NAMES, 1, needed).data
    assert dict(Counter(data.splits.tolist())) == counts
    for part in counts:
        assert len(set(Counter(data.labels[data.splits == part].tolist()).values())) == 1
    again = load_labelled(path, SPEC, NAMES, 1, needed).data
    assert again.split_hash == data.split_hash
    assert set(data.rows[0]) >= {"sha256", "label", "split"}


def test_a_prepared_folder_brings_its_own_parts(tmp_path: Path) -> None:
    prepared = write_prepared(EIGHT, tmp_path / "prepared")
    labelled = load_labelled(prepared, SPEC, NAMES, 1, ("train", "validation"))
    expected = {split: 8 * count for split, count in COUNTS.items()}
    assert dict(Counter(labelled.data.splits.tolist())) == expected
    assert labelled.words == "the data's own parts"
    whole = load_prepared(prepared)
    assert (labelled.data.images == whole.images).all()
    assert (labelled.data.labels == whole.labels).all()
    some = load_labelled(prepared, SPEC, NAMES[:7], 1, ())  # a class fewer, and two parts fewer
    assert len(some.data.labels) == 7 * COUNTS["test"]
    assert sum(some.left_out.values()) == sum(COUNTS.values())


def test_of_large_pictures_fewer_are_read() -> None:
    assert most_pictures("test", parse_size("224x224-rgb")) == (1 << 29) // (224 * 224 * 3)
    assert most_pictures("test", parse_size("512x512-rgb")) == 682
    assert most_pictures("test", SPEC) == 20_000
