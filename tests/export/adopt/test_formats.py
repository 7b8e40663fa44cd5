"""A model of each format answers in our contract what NumPy computes, whatever its ends were."""

import warnings
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnx import TensorProto

from edgeemo.backends.litert import open_interpreter
from edgeemo.contract.input_spec import parse_size
from edgeemo.contract.manifest import Format, Precision
from edgeemo.contract.quantize import softmax
from edgeemo.errors import ModelError
from export.adopt.foreign import Foreign
from export.adopt.read import read_model
from export.adopt.wanted import RAW, Notes, Scaling, Scores, Wanted, with_scaling
from export.convert.artifacts import FP32_ONNX, Candidate, Kind, infer, open_candidate
from tests.foreign_models import NAMES, keras_model, onnx_model, pictures, scaled, sigmoid_model
from tests.other_inputs import EIGHT

WANTED = Wanted(NAMES)
SCALED = Scaling((1 / 127.5,), (-1.0,))
IMAGES, LABELS = pictures(24)
FP32_TFLITE = Kind(Precision.FP32, Format.TFLITE)


def as_tflite(model, **settings) -> bytes:  # type: ignore[no-untyped-def]
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    for name, value in settings.items():
        setattr(converter, name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the ranges come from pictures
        return bytes(converter.convert())


def as_int8(model, kind) -> bytes:  # type: ignore[no-untyped-def]
    values = scaled(pictures(64)[0])
    values[0], values[1] = -1, 1
    return as_tflite(
        model,
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=lambda: ([one[np.newaxis]] for one in values),
        inference_input_type=kind,
        inference_output_type=kind,
    )


def written(kind: str, folder: Path) -> Path:
    """The network as a file of that kind."""
    if kind == "saved_model":
        keras_model().export(folder / kind, verbose=False)
        return folder / kind
    path = folder / f"theirs.{kind}"
    if kind == "onnx":
        onnx.save(onnx_model(), path)
    elif kind == "tflite":
        path.write_bytes(as_tflite(keras_model()))
    else:
        keras_model().save(path)
    return path


def answers(
    model: Foreign, scaling: Scaling = SCALED, images: np.ndarray = IMAGES
) -> list[np.ndarray]:
    """Scores of each of its networks through the code that ships."""
    spec = with_scaling(model.size, scaling)
    made = [
        (Kind(Precision.INT8 if model.is_int8 else Precision.FP32, Format.TFLITE), model.tflite)
    ]
    made.append((FP32_ONNX, model.onnx))
    return [
        softmax(infer(open_candidate(Candidate(kind, data), spec, NAMES), images))
        for kind, data in made
        if data is not None
    ]


@pytest.mark.parametrize("kind", ["keras", "h5", "saved_model", "tflite", "onnx"])
def test_networks_answer_what_numpy_computes(kind: str, tmp_path: Path) -> None:
    notes = Notes()
    model = read_model(written(kind, tmp_path), WANTED, notes)
    expected = softmax(EIGHT.logits(IMAGES).astype(np.float32))
    assert model.size.shape == (48, 48, 1)
    assert model.scores is Scores.SOFTMAX
    assert any("ends in a softmax, which was cut off" in line for line in notes.read)
    made = answers(model)
    assert len(made) == {"onnx": 1, "tflite": 1}.get(kind, 2)
    for scores in (*made, model.probabilities(scaled(IMAGES))):
        assert np.abs(scores - expected).max() < 1e-4


def with_resizing() -> keras.Model:
    """Resizing, whose call has training=True by default, before batch normalization and dropout;
    Normalization holds constants that are no variables."""
    layers = keras.layers
    source = keras.Input((48, 48, 1))
    x = layers.Normalization(mean=[3.0], variance=[2.0])(layers.Resizing(24, 24)(source))
    normalization = layers.BatchNormalization()
    x = layers.Dropout(0.5)(normalization(layers.AveragePooling2D(12)(x)))
    dense = layers.Dense(len(NAMES), activation="softmax")
    model = keras.Model(source, dense(layers.Flatten()(x)))
    normalization.set_weights(list(np.array([[2.0], [0.5], [80.0], [900.0]])))
    dense.set_weights([EIGHT.weights.astype(np.float32) * 20, np.zeros(len(NAMES))])
    return model


@pytest.mark.parametrize("kind", ["keras", "saved_model"])
def test_a_network_with_resizing_answers_as_in_inference(kind: str, tmp_path: Path) -> None:
    theirs = with_resizing()
    images = IMAGES[:8]
    expected = np.asarray(theirs(images.astype(np.float32), training=False))
    if kind == "keras":
        theirs.save(path := tmp_path / "theirs.keras")
    else:
        archive = keras.export.ExportArchive()
        archive.track(theirs)
        archive.add_endpoint(
            "serve",
            lambda x: theirs(x, training=False),
            [keras.InputSpec(shape=(None, 48, 48, 1), dtype="float32")],
        )
        archive.write_out(path := tmp_path / "theirs", verbose=False)
    model = read_model(path, WANTED, Notes())
    for scores in (*answers(model, RAW, images), model.probabilities(images.astype(np.float32))):
        assert np.abs(scores - expected).max() < 1e-4
    assert np.ptp(expected, axis=0).max() > 0.01


def test_int8_from_elsewhere_keeps_every_bit(tmp_path: Path) -> None:
    (path := tmp_path / "int8.tflite").write_bytes(data := as_int8(keras_model(), tf.int8))
    model = read_model(path, WANTED, Notes())
    assert model.is_int8
    spec = with_scaling(model.size, SCALED)
    backend = open_candidate(
        Candidate(Kind(Precision.INT8, Format.TFLITE), model.tflite), spec, NAMES
    )
    before = open_interpreter(data, "before", kernels="plain", keep_tensors=True)
    ((operator,),) = ([o for o in before._get_ops_details() if o["op_name"] == "SOFTMAX"],)
    inside = int(operator["inputs"][0])
    scale, zero = next(
        t["quantization"] for t in before.get_tensor_details() if t["index"] == inside
    )
    source = before.get_input_details()[0]
    in_scale, in_zero = source["quantization"]
    for image in IMAGES:
        real = image.astype(np.float64) / 127.5 - 1
        stored = np.clip(
            np.sign(real) * np.floor(np.abs(real / in_scale) + 0.5) + in_zero, -128, 127
        )
        before.set_tensor(source["index"], stored[np.newaxis].astype(np.int8))
        before.invoke()
        logits = (before.get_tensor(inside).astype(np.float32) - zero) * np.float32(scale)
        assert (backend.infer(image[np.newaxis]) == logits).all()


def test_uint8_pixels_in_a_float_model_need_no_scaling(tmp_path: Path) -> None:
    inner = keras_model()
    source = tf.keras.Input((48, 48, 1), dtype="uint8")
    floats = tf.keras.layers.Rescaling(1 / 127.5, -1.0)(source)
    model = tf.keras.Model(source, inner(floats))
    model.save(path := tmp_path / "uint8.keras")
    notes = Notes()
    adopted = read_model(path, WANTED, notes)
    assert adopted.scaling == RAW
    expected = softmax(EIGHT.logits(IMAGES).astype(np.float32))
    for scores in answers(adopted, RAW):
        assert np.abs(scores - expected).max() < 1e-4


def test_uint8_and_int8_ends_of_a_quantized_model_are_the_same(tmp_path: Path) -> None:
    made = []
    for kind in (tf.int8, tf.uint8):
        (path := tmp_path / f"{kind.name}.tflite").write_bytes(as_int8(keras_model(), kind))
        model = read_model(path, WANTED, Notes())
        assert model.scaling is not None
        made.append(answers(model)[0])
    assert (made[0] == made[1]).all()


def test_one_sigmoid_becomes_two_logits(tmp_path: Path) -> None:
    sigmoid_model().save(path := tmp_path / "two.keras")
    notes = Notes()
    model = read_model(path, Wanted(("right", "left")), notes)
    values = scaled(IMAGES)
    x = 4 * (values[:, :, :24].mean(axis=(1, 2, 3)) - values[:, :, 24:].mean(axis=(1, 2, 3)))
    left = 1 / (1 + np.exp(-x.astype(np.float64)))
    spec = with_scaling(model.size, SCALED)
    for kind, data in ((FP32_TFLITE, model.tflite), (FP32_ONNX, model.onnx)):
        backend = open_candidate(Candidate(kind, data), spec, ("right", "left"))
        assert np.abs(softmax(backend.infer(IMAGES))[:, 1] - left).max() < 1e-4
    assert notes.assumed == ["one output is the score of 'left', the second of --labels"]


def test_sides_that_a_file_leaves_open_come_from_the_command_line(tmp_path: Path) -> None:
    keras_model(free=True).save(path := tmp_path / "free.keras")
    with pytest.raises(ModelError, match="leaves its input open .*--input 64x64-grey"):
        read_model(path, WANTED, Notes())
    model = read_model(path, Wanted(NAMES, parse_size("48x48-grey")), Notes())
    expected = softmax(EIGHT.logits(IMAGES).astype(np.float32))
    assert np.abs(answers(model)[0] - expected).max() < 1e-4


@pytest.mark.parametrize(
    "changed",
    [
        {"softmax": False},
        {"opset": 11},
        {"batch": 1},
        {"kind": TensorProto.FLOAT16},
        {"kind": TensorProto.DOUBLE},
    ],
    ids=lambda changed: str(*changed),
)
def test_onnx_files_as_exporters_write_them(changed: dict[str, Any], tmp_path: Path) -> None:
    onnx.save(onnx_model(**changed), path := tmp_path / "net.onnx")
    model = read_model(path, WANTED, Notes())
    expected = softmax(EIGHT.logits(IMAGES).astype(np.float32))
    bound = 2e-3 if changed.get("kind") == TensorProto.FLOAT16 else 1e-4
    assert np.abs(answers(model)[0] - expected).max() < bound
    session_input = onnx.load_from_string(model.onnx or b"").graph.input[0]
    assert session_input.name == "pixels"
    assert [d.dim_value for d in session_input.type.tensor_type.shape.dim] == [1, 48, 48, 1]


def test_onnx_weights_beside_the_file_are_read(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    onnx.save(onnx_model(), path, save_as_external_data=True, location="net.data", size_threshold=0)
    assert (tmp_path / "net.data").stat().st_size > 0
    model = read_model(path, WANTED, Notes())
    expected = softmax(EIGHT.logits(IMAGES).astype(np.float32))
    assert np.abs(answers(model)[0] - expected).max() < 1e-4
    (tmp_path / "net.data").unlink()
    with pytest.raises(ModelError, match="not beside it; copy both files"):
        read_model(path, WANTED, Notes())


def test_shares_without_a_softmax_become_logits_by_their_logarithm(tmp_path: Path) -> None:
    model = onnx_model()
    (last,) = (node for node in model.graph.node if node.op_type == "Softmax")
    last.output[0] = "shares"
    model.graph.node.append(onnx.helper.make_node("Mul", ["shares", "one"], ["scores"], "/mul"))
    one = onnx.numpy_helper.from_array(np.ones(1, np.float32), "one")
    model.graph.initializer.append(one)
    onnx.save(model, path := tmp_path / "shares.onnx")
    notes = Notes()
    made = read_model(path, Wanted(NAMES, scores=Scores.SOFTMAX), notes)
    expected = softmax(EIGHT.logits(IMAGES).astype(np.float32))
    assert np.abs(answers(made)[0] - expected).max() < 1e-4
    assert any("it ends in Mul and its outputs are shares of 1" in line for line in notes.read)
