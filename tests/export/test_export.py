"""The export stage: what it converts, what it refuses, and that a refusal leaves nothing but the
report.
"""

import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
from click.testing import CliRunner
from onnx import numpy_helper

from edgeemo.cli.main import main as cli
from edgeemo.contract.bundle import read_bundle
from edgeemo.contract.input_spec import DEFAULT_SPEC, InputSpec
from edgeemo.contract.labels import LABELS
from edgeemo.data.ferplus import ferplus_majority, group_votes
from edgeemo.data.prepared import load_prepared
from edgeemo.errors import BackendError, DataError, GateFailed, RunError, SpecMismatch
from export.build import Settings, build
from export.cli.main import main
from export.convert.activations import min_max, record
from export.convert.calibration import calibration_set, faces_per_class
from export.convert.graph import activation_bytes, check_full_int8
from export.convert.onnx import convert_fp32
from export.convert.onnx import convert_int8 as convert_int8_onnx
from export.convert.tflite import convert_fp32 as convert_fp32_tflite
from export.convert.tflite import quantize
from export.prove.selftest import selftest_inputs
from tests import support
from tests.networks import quick
from training.networks import NETWORKS
from workstation.quiet import quiet

pytestmark = pytest.mark.rounding


def changed_copy(run: Path, out: Path, **config: object) -> Path:
    shutil.copytree(run, out)
    values = json.loads((out / "config.json").read_text()) | config
    (out / "config.json").write_text(json.dumps(values))
    return out


def converted(model: keras.Model, **settings: object) -> bytes:
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    for name, value in settings.items():
        setattr(converter, name, value)
    with quiet():
        return bytes(converter.convert())


def convert_int8(model: keras.Model, pictures: np.ndarray) -> bytes:
    """Full-int8 TFLite, calibrated by min-max."""
    fp32 = convert_fp32_tflite(model)
    return quantize(fp32, min_max(record(fp32, pictures, seed=0)))


@pytest.fixture(scope="module")
def small() -> keras.Model:
    keras.utils.set_random_seed(0)
    return NETWORKS.get("small")(DEFAULT_SPEC, len(LABELS))


@pytest.fixture(scope="module")
def calibration(prepared: Path) -> np.ndarray:
    return calibration_set(load_prepared(prepared, DEFAULT_SPEC), seed=1)


def test_small_becomes_full_int8_per_channel_tflite(
    small: keras.Model, calibration: np.ndarray
) -> None:
    model = convert_int8(small, calibration)
    check_full_int8(model)
    assert len(model) <= 400_000
    # 24x24x32 twice (skip and branch) and the addition's result are alive together at the peak.
    assert activation_bytes(model) == 3 * 24 * 24 * 32


def test_nano_fits_a_microcontroller(calibration: np.ndarray) -> None:
    keras.utils.set_random_seed(0)
    model = convert_int8(NETWORKS.get("nano")(DEFAULT_SPEC, len(LABELS)), calibration)
    check_full_int8(model)
    assert len(model) <= 64_000
    assert activation_bytes(model) == 3 * 24 * 24 * 16 <= 48_000


def test_report_compares_on_the_ferplus_majority_too(
    tiny_run: Path, voted: Path, tmp_path: Path
) -> None:
    bundle, _ = build(tiny_run, voted, tmp_path / "voted.edgeemo", settings=Settings(gate_min=1))
    report = bundle.report()
    data = load_prepared(voted, DEFAULT_SPEC)
    rows = data.indices("test")
    majority, known = ferplus_majority(group_votes(data)[rows], LABELS)
    predicted = support.quadrant_logits(np.asarray(data.images[rows])).argmax(axis=1)
    for file in ("int8.tflite", "int8.onnx"):
        found = report["artifacts"][file]["ferplus_majority"]
        assert found["float_card"]["n"] == known.sum() < len(rows)
        assert found["card"]["top1"] == (predicted == majority)[known].mean()
        assert "passed" not in found
    shown = CliRunner().invoke(cli, ["info", str(tmp_path / "voted.edgeemo")]).stdout
    assert (
        shown.count(
            f"against the FER+ majority (n {known.sum()}): top-1"
            f" {(predicted == majority)[known].mean():.2%}"
        )
        == 2
    )


def test_float_dynamic_range_and_endless_models_are_refused(calibration: np.ndarray) -> None:
    small = quick(DEFAULT_SPEC, len(LABELS))
    with pytest.raises(BackendError, match="works on float32"):
        check_full_int8(converted(small))
    with pytest.raises(BackendError, match="expected int8 alone"):
        check_full_int8(converted(small, optimizations=[tf.lite.Optimize.DEFAULT]))
    with pytest.raises(BackendError, match="the calibration set must reach 0 and 255"):
        convert_int8(small, calibration[:-2].clip(1, 254))


def test_onnx_is_qdq_per_channel_in_seven_bits_with_a_fixed_batch(
    small: keras.Model, calibration: np.ndarray
) -> None:
    model = onnx.load_from_string(convert_int8_onnx(convert_fp32(small), calibration))
    onnx.checker.check_model(model)
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [1, 48, 48, 1]
    assert next(o.version for o in model.opset_import if o.domain == "") == 17
    tensors = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    weights = [
        n
        for n in model.graph.node
        if n.op_type == "DequantizeLinear"
        and n.input[0] in tensors
        and tensors[n.input[0]].ndim == 4
    ]
    assert len(weights) == 10
    for node in weights:
        assert np.abs(tensors[node.input[0]].astype(int)).max() <= 64
        assert tensors[node.input[1]].shape == (tensors[node.input[0]].shape[0],)


def test_calibration_is_drawn_by_class_from_train_alone(
    prepared: Path, calibration: np.ndarray
) -> None:
    data = load_prepared(prepared, DEFAULT_SPEC)
    train = data.indices("train")
    known = {data.images[row].tobytes(): int(data.labels[row]) for row in train}
    counts = np.bincount([known[picture.tobytes()] for picture in calibration[:-2]], minlength=7)
    assert counts.tolist() == [
        min(faces_per_class(7), int(np.sum(data.labels[train] == i))) for i in range(7)
    ]
    assert (calibration[-2] == 0).all()
    assert (calibration[-1] == 255).all()
    assert np.array_equal(calibration, calibration_set(data, seed=1))


def test_class_that_is_missing_from_train_is_named(tmp_path: Path) -> None:
    from training.data.prepare import prepare
    from training.data.sources import SOURCES

    archive = support.write_drawn_archive(tmp_path / "all.zip", train=4, test=2)
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(tmp_path / "six.zip", "w") as new:
        for name in old.namelist():
            if not name.startswith("train/disgust"):
                new.writestr(name, old.read(name))
    prepare([(SOURCES["fer2013"], tmp_path / "six.zip")], tmp_path / "six", progress=False)
    with pytest.raises(DataError, match="no disgust picture in the train split"):
        calibration_set(load_prepared(tmp_path / "six", DEFAULT_SPEC), seed=1)


def test_selftest_inputs_are_drawn_from_the_seed() -> None:
    inputs = selftest_inputs(3, DEFAULT_SPEC)
    assert np.array_equal(inputs, selftest_inputs(3, DEFAULT_SPEC))
    assert not np.array_equal(inputs, selftest_inputs(4, DEFAULT_SPEC))
    assert (inputs.min(), inputs.max()) == (0, 255)


def test_selftest_inputs_of_a_colour_spec_differ_between_channels() -> None:
    spec = InputSpec(height=20, width=36, channels=3)
    inputs = selftest_inputs(3, spec)
    assert inputs.shape == (32, 20, 36, 3)
    assert all((inputs[i] == value).all() for i, value in enumerate((0, 255)))
    for picture in inputs[2:]:
        assert not any(
            np.array_equal(picture[..., a], picture[..., b]) for a, b in ((0, 1), (1, 2), (0, 2))
        )


def test_same_seed_gives_the_same_model_files(
    tiny_run: Path, prepared: Path, tiny_bundle: Path, tmp_path: Path
) -> None:
    again, _ = build(tiny_run, prepared, tmp_path / "tiny.edgeemo", settings=Settings(gate_min=1))
    before = read_bundle(tiny_bundle)
    # tf2onnx names the float graph's nodes anew in each call; what it computes is in the
    # self-test's logits.
    assert again.files["int8.tflite"] == before.files["int8.tflite"]
    assert again.files["selftest.npz"] == before.files["selftest.npz"]
    assert again.manifest.calibration == before.manifest.calibration


@pytest.mark.parametrize("name", ["model.weights.h5", "model.keras", "predictions_test.npz"])
def test_unfinished_run_is_refused(
    tiny_run: Path, prepared: Path, tmp_path: Path, name: str
) -> None:
    run = changed_copy(tiny_run, tmp_path / "run")
    (run / name).unlink()
    with pytest.raises(RunError, match=f"the run has no {name}; finish it with"):
        build(run, prepared, tmp_path / "x.edgeemo", settings=Settings(gate_min=1))


def test_run_that_does_not_fit_the_data_is_refused(
    tiny_run: Path, prepared: Path, tmp_path: Path
) -> None:
    with pytest.raises(RunError, match="trained on another split"):
        build(
            changed_copy(tiny_run, tmp_path / "a", split_hash="0" * 64),
            prepared,
            tmp_path / "x.edgeemo",
            settings=Settings(gate_min=1),
        )
    with pytest.raises(RunError, match="in this order"):
        build(
            changed_copy(tiny_run, tmp_path / "b", labels=list(reversed(LABELS))),
            prepared,
            tmp_path / "x.edgeemo",
            settings=Settings(gate_min=1),
        )
    other = InputSpec(height=64, width=64)
    run = changed_copy(
        tiny_run,
        tmp_path / "c",
        input_spec=other.to_dict(),
        input_fingerprint=other.fingerprint(),
    )
    with pytest.raises(SpecMismatch, match=rf"{other.fingerprint()}.*{DEFAULT_SPEC.fingerprint()}"):
        build(run, prepared, tmp_path / "x.edgeemo", settings=Settings(gate_min=1))
    assert not (tmp_path / "x.edgeemo").exists()


def test_float_predictions_of_another_model_prove_nothing(
    tiny_run: Path, prepared: Path, tmp_path: Path
) -> None:
    run = changed_copy(tiny_run, tmp_path / "run")
    with np.load(run / "predictions_test.npz") as stored:
        arrays = {name: stored[name] for name in stored.files}
    np.savez(run / "predictions_test.npz", **(arrays | {"logits": arrays["logits"] + 0.01}))
    with pytest.raises(
        RunError, match="stored float predictions differ from its model's by up to 0.01"
    ):
        build(run, prepared, tmp_path / "x.edgeemo", settings=Settings(gate_min=1))
    np.savez(run / "predictions_test.npz", **(arrays | {"rows": arrays["rows"] + 1}))
    with pytest.raises(RunError, match="are not those of the test split"):
        build(run, prepared, tmp_path / "x.edgeemo", settings=Settings(gate_min=1))


def lossy_run(run: Path, prepared: Path, out: Path) -> Path:
    """The tiny run with one logit so large on all-255 pictures that seven bits are left for nothing
    else.
    """
    changed_copy(run, out)
    model = keras.models.load_model(out / "model.keras")
    weights, bias = model.layers[-1].get_weights()
    scale = 1 / 4000
    model.layers[-1].set_weights([weights * scale, bias])
    pixels = model.inputs[0]
    spike = keras.layers.Dense(7, kernel_initializer="zeros", name="spike")
    brightest = keras.layers.ReLU(negative_slope=0.0, threshold=0.0)(
        keras.layers.Rescaling(1 / 127.5, -1.99)(
            keras.layers.Flatten()(keras.layers.AveragePooling2D(48)(pixels))
        )
    )
    lossy = keras.Model(pixels, keras.layers.Add()([model.output, spike(brightest)]), name="tiny")
    spike.set_weights([np.full((1, 7), 1000.0, np.float32), np.zeros(7, np.float32)])
    support.store_model(out, lossy, prepared)
    return out


def test_gate_refuses_keeps_the_report_and_leaves_the_old_bundle(
    tiny_run: Path, prepared: Path, tmp_path: Path
) -> None:
    run = lossy_run(tiny_run, prepared, tmp_path / "lossy")
    out = tmp_path / "lossy.edgeemo"
    out.write_bytes(b"old bundle")
    with pytest.raises(GateFailed, match="int8.tflite: .*agreement"):
        build(run, prepared, out, settings=Settings(gate_min=1))
    assert out.read_bytes() == b"old bundle"
    report = json.loads((tmp_path / "lossy.report.json").read_text())
    assert report["artifacts"]["int8.tflite"]["passed"] is False
    assert report["artifacts"]["int8.tflite"]["float_card"]["top1"] == 1.0
    # Every step was tried, but for the 16 bits that not every device of the profile "all" runs.
    steps = [attempt["step"] for attempt in report["artifacts"]["int8.tflite"]["ladder"]]
    assert steps == ["min-max", "least-error", "percentile", "entropy", "bias"]
    quantized = next(
        m for file, m in report["artifacts"].items() if file in ("int8.onnx", "mixed.onnx")
    )
    onnx_steps = [attempt["step"] for attempt in quantized["ladder"]]
    assert onnx_steps == ["min-max", "percentile", "bias", "mixed"]
    words = ["build", run, "--data", prepared, "--out", out, "--gate-min", "1"]
    words += ["--profile", "mcu", "--max-step", "min-max"]
    done = support.done_here(main, "python -m export", *words)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("python -m export: the gate refuses")
    assert (
        "let it climb further (--max-step mixed), or train it in simulated int8: python -m"
        f" training finetune --qat {run}" in done.stderr
    )
    (measured,) = json.loads((tmp_path / "lossy.report.json").read_text())["artifacts"].values()
    assert [attempt["step"] for attempt in measured["ladder"]] == ["min-max"]
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "lossy", "lossy.edgeemo", "lossy.report.html", "lossy.report.json",
    ]  # fmt: skip


def test_command_line_builds_and_refuses_bad_places(
    tiny_run: Path, prepared: Path, tmp_path: Path
) -> None:
    words = ["build", str(tiny_run), "--data", str(prepared), "--gate-min", "56", "--out"]
    done = subprocess.run(
        [sys.executable, "-m", "export", *words, str(tmp_path / "good.edgeemo")],
        capture_output=True, text=True, timeout=300, cwd=support.REPOSITORY,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    wrote, after = done.stdout.splitlines()[-2:]
    assert wrote.startswith(f"wrote {tmp_path / 'good.edgeemo'}: good 0.1.0")
    assert after.startswith(f"next: edgeemo evaluate {tmp_path / 'good.edgeemo'} ")
    assert after.endswith(" --against report")
    assert support.done_here(main, "export", *words, "good.zip").returncode == 2
    done = support.done_here(main, "export", *words, "/proc/good.edgeemo")
    assert (done.returncode, done.stdout) == (1, "")  # before the minutes of work
    assert "/proc/good.edgeemo: cannot be written" in done.stderr.splitlines()[-1]


def test_run_of_another_keras_that_cannot_be_loaded_names_both_versions(
    tiny_run: Path, prepared: Path, tmp_path: Path
) -> None:
    run = changed_copy(tiny_run, tmp_path / "run", keras="9.9.9")
    # A run of another version that loads all the same is measured like any other.
    assert (
        build(run, prepared, tmp_path / "x.edgeemo", settings=Settings(profile="mcu", gate_min=1))[
            0
        ].manifest.training["keras"]
        == "9.9.9"
    )
    with (
        zipfile.ZipFile(tiny_run / "model.keras") as old,
        zipfile.ZipFile(run / "model.keras", "w") as new,
    ):
        for name in old.namelist():
            content = old.read(name)
            new.writestr(
                name,
                (
                    content.replace(b'"Rescaling"', b'"Rescaled"')
                    if name == "config.json"
                    else content
                ),
            )
    with pytest.raises(
        RunError,
        match=(
            rf"trained with Keras 9.9.9 and this is {keras.__version__}; run: pip install"
            r" keras==9.9.9"
        ),
    ):
        build(run, prepared, tmp_path / "x.edgeemo", settings=Settings(profile="mcu", gate_min=1))


def test_data_without_a_test_split_is_named_before_anything_is_converted(
    tiny_run: Path, prepared: Path, tmp_path: Path
) -> None:
    from edgeemo.data.prepared import DATASET, INDEX, file_sha256

    data = Path(shutil.copytree(prepared, tmp_path / "data"))
    text = (data / INDEX).read_text()
    (data / INDEX).write_text(text.replace(",test,", ",train,"))
    assert (data / INDEX).read_text() != text
    dataset = json.loads((data / DATASET).read_text()) | {"index_sha256": file_sha256(data / INDEX)}
    (data / DATASET).write_text(json.dumps(dataset))
    with pytest.raises(
        DataError, match="holds no picture in the split 'test'; prepare the data again"
    ):
        build(tiny_run, data, tmp_path / "x.edgeemo", settings=Settings(gate_min=1))


@pytest.mark.rounding
def test_float_onnx_file_that_differs_is_said_before_the_ladder(
    tiny_run: Path, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    pixels = keras.Input(DEFAULT_SPEC.shape, name="pixels")
    means = keras.layers.Conv2D(1, 24, strides=24, kernel_initializer="ones", name="means")(pixels)
    dense = keras.layers.Dense(len(LABELS), name="logits")
    model = keras.Model(pixels, dense(keras.layers.Flatten()(means / 576 / 127.5 - 1)))
    # Logits in the millions: sums in another order differ by more than 1e-3.
    weights = 1e6 * (support.tiny_weights() + np.random.default_rng(0).normal(0, 0.1, (4, 7)))
    dense.set_weights([weights, support.tiny_bias()])
    support.store_model(run, model, prepared)
    with pytest.raises(BackendError, match=r"fp32.onnx: differs from .*try another version"):
        build(run, prepared, tmp_path / "x.edgeemo", settings=Settings(gate_min=1))
    assert "min-max" not in capsys.readouterr().out


def test_missing_onnx_runtime_is_said_first_and_not_needed_for_every_profile(
    tiny_run: Path, prepared: Path, tmp_path: Path
) -> None:
    code = (
        "import sys; sys.modules['onnxruntime'] = None\n"
        "from edgeemo.cli import shell; from export.cli.main import main\n"
        "shell.run(main, 'export', sys.argv[1:])"
    )

    def run(profile: str) -> subprocess.CompletedProcess[str]:
        words = [
            "build",
            str(tiny_run),
            "--data",
            str(prepared),
            "--out",
            str(tmp_path / "x.edgeemo"),
            "--profile",
            profile,
            "--gate-min",
            "1",
        ]
        return subprocess.run(
            [sys.executable, "-c", code, *words],
            capture_output=True,
            text=True,
            timeout=300,
            cwd=support.REPOSITORY,
        )

    done = run("jetson")
    assert done.returncode == 1
    assert done.stdout == ""
    assert "run: pip install 'edgeemo[export]'" in done.stderr.splitlines()[-1]
    done = run("mcu")
    assert done.returncode == 0, done.stderr
