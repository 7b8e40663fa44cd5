"""Generated C of inputs and labels other than the shipped models': sides, three channels, another
scale and zero point, and 2 to 64 labels, all bit for bit LiteRT's reference kernels."""

import ctypes
import struct
import subprocess
from pathlib import Path

import numpy as np
import pytest

from edgeemo.backends import RuntimeOptions
from edgeemo.backends.litert import LiteRtBackend
from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.quantize import softmax
from edgeemo.errors import BackendError
from edgeemo.firmware.image import build_image, labels_crc32, read_header
from edgeemo.firmware.network import bundle_network, read_network
from export.firmware.generate import generate
from tests.export.firmware.drawn_networks import (
    EIGHT,
    NETWORKS,
    TABLES,
    bundle_of,
    reference_of,
    tflite,
)
from tests.export.firmware.firmware_support import (
    MAIN,
    STRICT,
    compile_c,
    compiled,
    drawn_bundle,
    drawn_pixels,
    opened,
    program,
)


@pytest.mark.parametrize("flags", [(), ("-DEDGEEMO_NO_AVX2",)], ids=["avx2", "plain"])
@pytest.mark.parametrize("name", NETWORKS)
def test_each_layer_equals_the_reference_kernel(
    name: str, flags: tuple[str, ...], tmp_path: Path
) -> None:
    drawn, reference = NETWORKS[name], reference_of(name)
    compiler = ("gcc", "-O2", *flags)
    ours = compiled(tflite(name), tmp_path, compiler, drawn.spec, len(drawn.labels))
    assert len(ours.network.pixel_table) == TABLES.get(name, 0)
    answers = set()
    for pixels in drawn_pixels(drawn.spec, 10):
        expected = reference.logits(pixels)
        for layer, tensor, values in ours.layers(pixels):
            assert np.array_equal(values, reference.tensor(tensor)), layer
        assert np.array_equal(ours.logits(pixels), expected)
        answers.add(expected.tobytes())
    assert len(answers) > 3


@pytest.mark.parametrize("name", TABLES)
def test_the_input_is_not_pixel_minus_128(name: str) -> None:
    quantization = reference_of(name).quantization
    assert (quantization.scale, quantization.zero_point) != (1.0, -128)


SANITIZED = "-O1 -fsanitize=address,undefined -fno-sanitize-recover"


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        *((name, "-O2") for name in NETWORKS),
        *((name, SANITIZED) for name in ("rgb 112x112", "rgb 96x64", "scaled by channel")),
        ("rgb 96x64", f"{SANITIZED} -DEDGEEMO_NO_AVX2"),
    ],
)
def test_generated_programs_answer_as_the_reference_kernels(
    name: str, flags: str, tmp_path: Path
) -> None:
    program("gcc")
    bundle, folder = bundle_of(name, tmp_path), tmp_path / "c"
    generate(bundle, folder)
    (folder / "main.c").write_text(MAIN)
    parts = ("main", "edgeemo_model", "edgeemo_kernels", "edgeemo_vectors", "edgeemo_preprocess")
    sources = [folder / f"{part}.c" for part in parts]
    compile_c("gcc", *flags.split(), *STRICT, "-o", folder / "answer", *sources)
    pixels = drawn_pixels(bundle.spec, 12, seed=3)
    done = subprocess.run([folder / "answer"], input=pixels.tobytes(), capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    reference = reference_of(name)
    assert done.stdout == b"".join(reference.logits(picture).tobytes() for picture in pixels)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_runtime_and_the_c_code_give_the_same_logits(name: str, tmp_path: Path) -> None:
    drawn = NETWORKS[name]
    ours = compiled(tflite(name), tmp_path, spec=drawn.spec, classes=len(drawn.labels))
    options = RuntimeOptions(reference_kernels=True)
    backend = LiteRtBackend(tflite(name), "int8.tflite", drawn.spec, drawn.labels, options)
    pixels = drawn_pixels(drawn.spec, 6, seed=9)
    logits = np.stack([ours.network.logits.dequantize(ours.logits(p)) for p in pixels])
    assert np.array_equal(backend.infer(pixels), logits)


@pytest.mark.parametrize("name", NETWORKS)
def test_an_image_runs_in_firmware_of_its_own_labels_and_input(name: str, tmp_path: Path) -> None:
    bundle = bundle_of(name, tmp_path)
    image = build_image(bundle)
    assert read_header(image).labels_crc32 == labels_crc32(bundle.labels)
    assert struct.unpack_from("<I", image, 200)[0] == TABLES.get(name, 0)
    text, logits = opened(bundle, image, tmp_path)
    assert text == "good"
    assert np.array_equal(logits, reference_of(name).logits(bundle.selftest().inputs[0]))


def test_firmware_refuses_an_image_of_other_labels_and_of_another_input(tmp_path: Path) -> None:
    bundle = bundle_of("scaled by the runtime", tmp_path)
    model = tflite("scaled by the runtime")
    swapped = drawn_bundle(model, bundle.spec, bundle.labels[::-1], tmp_path / "swapped.edgeemo")
    text, _ = opened(bundle, build_image(swapped), tmp_path)
    assert text == "made for another order of labels"
    pixels = bundle_of("pixels of another scale", tmp_path)
    eight = drawn_bundle(
        tflite("pixels of another scale"), pixels.spec, EIGHT, tmp_path / "eight.edgeemo"
    )
    text, _ = opened(bundle, build_image(eight), tmp_path)
    assert text == "made for another order of labels"


def test_the_model_is_found_by_format_and_precision_and_not_by_its_name(tmp_path: Path) -> None:
    drawn = NETWORKS["64 labels"]
    bundle = drawn_bundle(
        tflite("64 labels"), drawn.spec, drawn.labels, tmp_path / "b.edgeemo", file="model.bin"
    )
    assert (
        bundle_network(bundle).tensor_bytes
        == bundle_network(bundle_of("64 labels", tmp_path)).tensor_bytes
    )
    assert generate(bundle, tmp_path / "c").table_bytes > 0


def test_another_input_or_number_of_logits_is_refused() -> None:
    drawn = NETWORKS["64 labels"]
    with pytest.raises(BackendError, match="expected 7 logits, received a tensor of shape"):
        read_network(tflite("64 labels"), drawn.spec, 7)
    with pytest.raises(BackendError, match=r"expected an input of \(24, 16, 1\), received one of"):
        read_network(tflite("64 labels"), InputSpec(height=24, width=16), 64)


@pytest.mark.parametrize("name", ["64 labels", "scaled by the runtime"])
def test_scores_are_the_contracts_softmax_for_any_number_of_labels(
    name: str, tmp_path: Path
) -> None:
    drawn = NETWORKS[name]
    ours = compiled(tflite(name), tmp_path, spec=drawn.spec, classes=len(drawn.labels))
    rng = np.random.default_rng(0)
    for logits in rng.integers(-128, 128, (50, len(drawn.labels))).astype(np.int8):
        scores = np.empty(len(drawn.labels), np.uint16)
        ours.c.edgeemo_softmax_q15(
            ctypes.c_void_p(logits.ctypes.data), ctypes.c_void_p(scores.ctypes.data)
        )
        expected = softmax(ours.network.logits.dequantize(logits))
        assert np.abs(scores / 32768 - expected).max() < 2e-4
