"""Layer by layer: figures against NumPy, and a planted fault that is found and named."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeemo.backends.litert import open_interpreter
from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.data.prepared import load_prepared
from edgeemo.errors import BackendError
from edgeemo.proof.limits import LIMITS
from export.cli.main import main
from export.convert import activations, tflite
from export.prove.layers import Answers, advised, compare_answers, compare_layers, worst
from export.report.tables import layer_lines
from tests.support import REPOSITORY, done_here, drawn_faces, drawn_network

pytestmark = pytest.mark.rounding

PICTURES = drawn_faces(20)
PLANTED = "depth_relu/"


@pytest.fixture(scope="module")
def fp32() -> bytes:
    return tflite.convert_fp32(drawn_network())


@pytest.fixture(scope="module")
def ranges(fp32: bytes) -> dict[str, tuple[float, float]]:
    return activations.min_max(activations.record(fp32, PICTURES, seed=1))


def test_figures_of_the_output_are_those_of_numpy(
    fp32: bytes, ranges: dict[str, tuple[float, float]]
) -> None:
    int8 = tflite.quantize(fp32, ranges)
    layer = compare_layers(fp32, int8, PICTURES)[-1]
    real, stored = [], []
    for model, kept in ((fp32, real), (int8, stored)):
        interpreter = open_interpreter(model, "x", kernels="plain")
        source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
        for picture in PICTURES[:, np.newaxis]:
            value = (
                picture.astype(np.float32)
                if model is fp32
                else (picture.astype(int) - 128).astype(np.int8)
            )
            interpreter.set_tensor(source["index"], value)
            interpreter.invoke()
            kept.append(interpreter.get_tensor(target["index"])[0].astype(np.float64))
    scale, zero_point = target["quantization"]
    x, q = np.concatenate(real), (np.concatenate(stored) - zero_point) * scale
    assert layer.operator == "FULLY_CONNECTED"
    assert layer.sqnr_db == pytest.approx(
        10 * np.log10((x**2).sum() / ((x - q) ** 2).sum()), rel=1e-9
    )
    assert layer.cosine == pytest.approx(
        float(x @ q / np.linalg.norm(x) / np.linalg.norm(q)), rel=1e-9
    )
    assert (layer.range_low, layer.range_high) == pytest.approx(
        ((-128 - zero_point) * scale, (127 - zero_point) * scale)
    )
    assert layer.range_used == pytest.approx(np.ptp(x) / (255 * scale), abs=0.01)
    assert layer.saturated == 0


def test_exact_layer_loses_nothing_and_needs_no_infinity_of_steps(
    fp32: bytes, ranges: dict[str, tuple[float, float]]
) -> None:
    first = compare_layers(fp32, tflite.quantize(fp32, ranges), PICTURES)[0]
    assert first.operator == "MUL"
    assert first.sqnr_db > 100
    assert first.added_noise < 1e-9


def test_planted_saturated_layer_is_named_first_with_what_to_do(
    fp32: bytes, ranges: dict[str, tuple[float, float]]
) -> None:
    name = next(name for name in ranges if name.startswith(PLANTED))
    low, high = ranges[name]
    layers = compare_layers(
        fp32, tflite.quantize(fp32, ranges | {name: (low, 0.3 * high)}), PICTURES
    )
    first = worst(layers, 5)[0]
    assert first.name == name
    assert first.saturated > 0.01
    assert "values are cut off" in first.remedy
    assert max(layer.saturated for layer in layers if layer.name != name) < 0.001


def test_planted_empty_range_is_named_first_with_what_to_do(
    fp32: bytes, ranges: dict[str, tuple[float, float]]
) -> None:
    name = next(name for name in ranges if name.startswith(PLANTED))
    layers = compare_layers(
        fp32, tflite.quantize(fp32, ranges | {name: (0.0, 30 * ranges[name][1])}), PICTURES
    )
    first = worst(layers, 5)[0]
    assert first.name == name
    assert first.range_used == pytest.approx(1 / 30, rel=0.1)
    assert "mostly empty" in first.remedy


def test_answers_are_those_of_both_files_and_judged_by_the_gates_limits(
    fp32: bytes, ranges: dict[str, tuple[float, float]]
) -> None:
    name = next(name for name in ranges if name.startswith(PLANTED))
    good = tflite.quantize(fp32, ranges)
    bad = tflite.quantize(fp32, ranges | {name: (0.0, 0.02 * ranges[name][1])})
    same = compare_answers(fp32, fp32, PICTURES)
    assert (same.n, same.same, same.mean_kl) == (len(PICTURES), len(PICTURES), 0)
    assert not same.suffer
    assert not compare_answers(fp32, good, PICTURES).suffer
    broken = compare_answers(fp32, bad, PICTURES)
    assert broken.suffer
    assert broken.mean_kl > LIMITS["max_mean_kl"]


def test_advice_is_given_only_where_it_would_change_an_answer(
    fp32: bytes, ranges: dict[str, tuple[float, float]]
) -> None:
    name = next(name for name in ranges if name.startswith(PLANTED))
    bad = tflite.quantize(fp32, ranges | {name: (0.0, 0.02 * ranges[name][1])})
    for int8, planted in ((tflite.quantize(fp32, ranges), None), (bad, name)):
        layers = compare_layers(fp32, int8, PICTURES)
        answers = compare_answers(fp32, int8, PICTURES)
        advice = advised(layers, 5, answers)
        told = list(layer_lines(layers, 5, answers))
        if planted is None:
            assert advice == {}
            assert told[-1] == f"{answers.words}: nothing to do"
            assert not any("too coarse" in line for line in told)
        else:
            assert next(iter(advice)) == planted
            assert "values are cut off" in advice[planted]
            assert any(f"{planted}: " in line and "values are cut off" in line for line in told)
    # Layers of 34 to 36 dB are not at fault, even where the answers suffer.
    quiet = [replace(layer, added_noise=10**-3.4, saturated=0.0) for layer in layers]
    suffering = Answers(100, 90, 0.1)
    assert advised(quiet, 5, suffering) == {}
    last = list(layer_lines(quiet, 5, suffering))[-1]
    assert "no single layer is loud; python -m training finetune --qat" in last


def test_two_different_networks_are_not_compared(fp32: bytes, tiny_int8: bytes) -> None:
    with pytest.raises(
        BackendError, match="expected the same operators in float and int8, received MUL, ADD"
    ):
        compare_layers(fp32, tiny_int8, PICTURES)


@pytest.fixture
def tiny_int8(tiny_bundle: Path) -> bytes:
    from edgeemo.contract.bundle import read_bundle

    return read_bundle(tiny_bundle).files["int8.tflite"]


def inspect(run: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return done_here(main, "export", "inspect", run, *options)


def test_command_names_the_worst_layers_and_draws_them(
    tiny_run: Path, prepared: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(tiny_run, tmp_path / "run"))
    done = inspect(run)
    assert done.returncode == 1
    assert "name the prepared folder with --data" in done.stderr
    config = json.loads((run / "config.json").read_text()) | {"data": str(prepared)}
    (run / "config.json").write_text(json.dumps(config))
    done = inspect(run, "--worst", "2")
    assert done.returncode == 0, done.stderr
    assert "the 2 worst, by the noise that they add" in done.stdout
    assert done.stdout.splitlines()[-2].startswith("answers: ")
    assert done.stdout.splitlines()[-2].endswith(": nothing to do")
    assert "finetune --qat" not in done.stdout
    assert "logits/output" in done.stdout
    assert (run / "int8_layers.png").read_bytes().startswith(b"\x89PNG")
    # In a process of its own, whose output TensorFlow could write into.
    words = ["inspect", str(run), "--data", str(prepared), "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "export", *words, "--plot", str(tmp_path / "x.png")],
        capture_output=True, text=True, timeout=300, cwd=REPOSITORY,
    )  # fmt: skip
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["operator"] for row in rows][:3] == ["MUL", "ADD", "AVERAGE_POOL_2D"]
    # It answers as float does, so that no layer needs anything, however loud.
    assert all(row["bits"] == 8 and row["advice"] is None for row in rows)


def test_training_notes_where_its_data_is(prepared: Path) -> None:
    import keras

    from training.fit.recipe import Recipe
    from training.fit.train import run_config

    data = load_prepared(prepared, DEFAULT_SPEC)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    assert run_config(Recipe(model="nano"), data, model).data == str(prepared)
