"""Networks that others have made: mini_XCEPTION as emotion packages ship it, which ends in a
softmax and has a channel without weights, and MobileNetV3 with HARD_SWISH."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgeemo.contract.input_spec import Arithmetic, InputSpec
from edgeemo.contract.labels import LABELS
from edgeemo.data.labelled import load_inputs
from edgeemo.firmware.image import build_image, read_header
from edgeemo.firmware.layers import Op
from edgeemo.firmware.network import bundle_network
from export.firmware.generate import generate
from tests.export.firmware.firmware_support import (
    MAIN,
    STRICT,
    Reference,
    compile_c,
    compiled,
    drawn_bundle,
    drawn_pixels,
    opened,
)
from tests.support import shared

XCEPTION = InputSpec(
    height=64, width=64, scale=(1 / 127.5,), offset=(-1.0,), arithmetic=Arithmetic.RUNTIME
)
# In the file's own order, which docs of the package have.
NAMES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
SANITIZED = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover", "-DEDGEEMO_NO_AVX2")
MOBILE = InputSpec(height=96, width=96, channels=3)


def xception() -> tuple[bytes, Reference]:
    model = shared("peers", "mini_xception_int8.tflite").read_bytes()
    return model, Reference(model, XCEPTION.scale, XCEPTION.offset)


def test_mini_xception_as_a_program_and_as_an_image_answers_as_litert(tmp_path: Path) -> None:
    model, reference = xception()
    bundle = drawn_bundle(model, XCEPTION, NAMES, tmp_path / "x.edgeemo")
    network = bundle_network(bundle)
    assert network.probabilities
    assert network.layers[-1].op is Op.SOFTMAX
    folder = tmp_path / "c"
    generate(bundle, folder)
    (folder / "main.c").write_text(MAIN)
    parts = ("main", "edgeemo_model", "edgeemo_kernels", "edgeemo_vectors", "edgeemo_preprocess")
    sources = [folder / f"{part}.c" for part in parts]
    compile_c("gcc", *SANITIZED, *STRICT, "-o", folder / "answer", *sources)
    pixels = drawn_pixels(XCEPTION, 6, seed=3)
    done = subprocess.run([folder / "answer"], input=pixels.tobytes(), capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    expected = [reference.logits(picture).tobytes() for picture in pixels]
    assert done.stdout == b"".join(expected)
    assert len(set(expected)) > 4
    image = build_image(bundle)
    assert read_header(image).layers == len(network.layers)
    text, logits = opened(bundle, image, tmp_path)
    assert text == "good"
    assert np.array_equal(logits, reference.logits(bundle.selftest().inputs[0]))


@pytest.mark.slow
def test_mini_xception_has_litert_s_bytes_on_all_of_publictest(tmp_path: Path) -> None:
    model, reference = xception()
    faces = load_inputs(shared("data", "fer2013.zip"), "test", XCEPTION, LABELS).inputs
    assert len(faces) > 3500
    ours = compiled(model, tmp_path, spec=XCEPTION)
    for face in faces:
        assert np.array_equal(ours.logits(face), reference.logits(face))


@pytest.mark.slow
@pytest.mark.parametrize("flags", [(), ("-DEDGEEMO_NO_AVX2",)], ids=["avx2", "plain"])
def test_each_layer_of_mobilenet_v3_equals_the_reference_kernel(
    flags: tuple[str, ...], tmp_path: Path
) -> None:
    import keras

    from export.convert import activations, tflite

    keras.utils.set_random_seed(1)
    inner = keras.applications.MobileNetV3Small(
        input_shape=MOBILE.shape, weights=None, classes=8, include_preprocessing=False
    )
    for layer in inner.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0  # one batch sets what it normalizes by
    pictures = drawn_pixels(MOBILE, 22, seed=1)
    pixels = keras.Input(MOBILE.shape)
    model = keras.Model(pixels, inner(keras.layers.Rescaling(1 / 127.5, -1.0)(pixels)))
    model(pictures.astype(np.float32), training=True)
    weights = inner.get_weights()
    weights[-2] = np.random.default_rng(2).normal(0, 0.2, weights[-2].shape)
    inner.set_weights(weights)
    fp32 = tflite.convert_fp32(model)
    seen = activations.record(fp32, pictures, seed=1)
    made = tflite.quantize(fp32, activations.min_max(seen))
    reference = Reference(made)
    ours = compiled(made, tmp_path, ("gcc", "-O2", *flags), MOBILE, 8)
    answers = set()
    for picture in drawn_pixels(MOBILE, 8, seed=5):
        expected = reference.logits(picture)
        for name, tensor, values in ours.layers(picture):
            assert np.array_equal(values, reference.tensor(tensor)), name
        assert np.array_equal(ours.logits(picture), expected)
        answers.add(expected.tobytes())
    assert len(answers) > 5
    assert {Op.MUL, Op.LOOKUP, Op.ADD, Op.SOFTMAX} <= {layer.op for layer in ours.network.layers}
