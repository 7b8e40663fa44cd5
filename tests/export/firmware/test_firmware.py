"""Generated C answers as LiteRT's reference kernels do, bit for bit, and what it cannot hold is
refused by name."""

import ctypes
import json
import subprocess
import sys
import warnings
import zlib
from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from edgeemo.backends.litert import parse_model
from edgeemo.contract.bundle import read_bundle
from edgeemo.contract.checked.folders import OURS
from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import LABELS
from edgeemo.contract.quantize import Quantization, softmax
from edgeemo.data.labelled import load_inputs
from edgeemo.errors import BackendError, BundleError, InvalidInput, StorageError
from edgeemo.firmware.fixed_point import fixed_point, requantized
from edgeemo.firmware.graph import Graph
from edgeemo.firmware.image import exponentials
from edgeemo.firmware.layers import Layer, Network, Op
from edgeemo.firmware.network import bundle_network, read_network
from edgeemo.firmware.plan import plan_arena
from edgeemo.models import find_model, shipped_models
from export.convert import activations, tflite
from export.firmware.generate import generate
from export.firmware.source import model_source
from tests.export.firmware.firmware_support import (
    MAIN,
    STRICT,
    C,
    Reference,
    compile_c,
    compiled,
    program,
    run,
)
from tests.support import REPOSITORY, drawn_faces, rezip, shared

FACES = drawn_faces(28)


def quantized(model: keras.Model, *, wide: str | None = None) -> bytes:
    """A Keras model's int8 .tflite, with weights drawn here; the layer `wide` gets activations of
    16 bits."""
    rng = np.random.default_rng(5)
    model.set_weights(
        [rng.normal(0.02, 0.4, w.shape).astype(np.float32) for w in model.get_weights()]
    )
    fp32 = tflite.convert_fp32(model)
    seen = activations.record(fp32, drawn_faces(12), seed=1)
    names = [name for name in seen if wide and name.startswith(f"{wide}/")]
    return tflite.quantize(fp32, activations.min_max(seen), wide=names)


def network(*middle: keras.layers.Layer, name: str = "n") -> keras.Model:
    pixels = keras.Input((48, 48, 1), name="pixels")
    x = layers.Rescaling(1 / 127.5, -1.0, name="rescale")(pixels)
    for layer in middle:
        x = layer(x)
    if len(x.shape) > 2:
        x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(pixels, layers.Dense(len(LABELS), name="logits")(x), name=name)


def residual() -> keras.Model:
    pixels = keras.Input((48, 48, 1), name="pixels")
    x = layers.Rescaling(1 / 127.5, -1.0, name="rescale")(pixels)
    x = layers.Conv2D(6, 3, strides=4, padding="same", activation="relu", name="first")(x)
    y = layers.Conv2D(6, 3, padding="same", name="second")(x)
    x = layers.ReLU(name="relu")(layers.Add(name="add")([x, y]))
    x = layers.Add(name="again")([x, layers.Conv2D(6, 1, activation="relu6", name="point")(x)])
    x = layers.GlobalAveragePooling2D(name="pool")(x)
    return keras.Model(pixels, layers.Dense(7, name="logits")(x), name="residual")


# Every kernel, with odd sizes, both paddings, strides, windows at the edge, and channels that fill
# no vector.
NETWORKS = {
    "residual": residual,
    "valid": lambda: network(
        layers.Conv2D(5, 5, strides=3, name="a"), layers.Conv2D(9, 3, activation="relu", name="b")
    ),
    "rectangular": lambda: network(
        layers.Conv2D(4, (3, 5), strides=2, padding="same", name="a"),
        layers.Conv2D(3, (1, 3), name="b"),
    ),
    "depthwise": lambda: network(
        layers.Conv2D(4, 3, strides=4, name="a"),
        layers.DepthwiseConv2D(3, padding="same", name="d"),
        layers.DepthwiseConv2D(5, strides=2, padding="same", activation="relu", name="e"),
    ),
    "multiplied": lambda: network(
        layers.Conv2D(3, 3, strides=4, name="a"),
        layers.DepthwiseConv2D(3, depth_multiplier=3, name="d"),
    ),
    "pools": lambda: network(
        layers.Conv2D(6, 3, activation="relu", name="a"),
        layers.MaxPooling2D(3, strides=2, padding="same", name="m"),
        layers.AveragePooling2D(3, strides=2, padding="same", name="v"),
        layers.MaxPooling2D(2, name="m2"),
    ),
    "flattened": lambda: network(
        layers.AveragePooling2D(8, name="coarse"),
        layers.Flatten(name="flat"),
        layers.Dense(11, activation="relu", name="hidden"),
    ),
    "padded": lambda: network(
        layers.ZeroPadding2D(((2, 1), (0, 3)), name="zeros"),
        layers.Conv2D(8, 3, strides=5, name="a"),
    ),
    "lonely": lambda: network(
        layers.Conv2D(5, 3, strides=4, name="a"),
        layers.ZeroPadding2D(1, name="zeros"),
        layers.ReLU(name="lone"),
        layers.MaxPooling2D(2, name="m"),
    ),
    "wide": lambda: network(
        layers.Conv2D(24, 3, strides=6, name="a"), layers.Conv2D(36, 3, padding="same", name="b")
    ),
}


@cache
def drawn_tflite(name: str) -> bytes:
    return quantized(NETWORKS[name]())


@pytest.mark.parametrize("flags", [(), ("-DEDGEEMO_NO_AVX2",)], ids=["avx2", "plain"])
@pytest.mark.parametrize("name", NETWORKS)
def test_each_layer_equals_the_reference_kernel(
    name: str, flags: tuple[str, ...], tmp_path: Path
) -> None:
    reference = Reference(drawn_tflite(name))
    ours = compiled(drawn_tflite(name), tmp_path, ("gcc", "-O2", *flags))
    for face in FACES:
        expected = reference.logits(face)
        for layer, tensor, values in ours.layers(face):
            assert np.array_equal(values, reference.tensor(tensor)), layer
        assert np.array_equal(ours.logits(face), expected)


def test_layers_equal_the_reference_kernels_in_a_file_of_tensorflows_own_converter(
    tmp_path: Path,
) -> None:
    import tensorflow as tf

    model = network(
        layers.Conv2D(5, 3, strides=4, name="a"),
        layers.ZeroPadding2D(1, name="zeros"),
        layers.ReLU(6.0, name="six"),
        layers.Conv2D(6, 3, padding="same", name="b"),
        layers.Flatten(name="flat"),
        layers.Dense(9, name="hidden"),
    )
    rng = np.random.default_rng(5)
    model.set_weights(
        [rng.normal(0.02, 0.4, w.shape).astype(np.float32) for w in model.get_weights()]
    )
    converter = tf.lite.TFLiteConverter.from_keras_model(tflite._batch_of_one(model))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
        [face[np.newaxis].astype(np.float32)] for face in drawn_faces(12)
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that ranges come from the pictures
        made = bytes(converter.convert())
    reference, ours = Reference(made), compiled(made, tmp_path)
    assert "RELU6" in {operator["op_name"] for operator in reference.interpreter._get_ops_details()}
    for face in FACES:
        reference.logits(face)
        for name, tensor, values in ours.layers(face):
            assert np.array_equal(values, reference.tensor(tensor)), name


def test_the_networks_above_use_every_kernel_that_sums() -> None:
    used = {
        layer.op
        for name in NETWORKS
        for layer in read_network(drawn_tflite(name), DEFAULT_SPEC, 7).layers
    }
    # Each of the others is compared alone in test_operators.py.
    assert used == {op for op in Op if op <= Op.FULLY_CONNECTED}


@pytest.mark.parametrize("name", shipped_models())
def test_shipped_model_equals_the_reference_kernels(name: str, tmp_path: Path) -> None:
    model = read_bundle(find_model(name)).files["int8.tflite"]
    noise = np.random.default_rng(1).integers(0, 256, (60, 48, 48, 1), dtype=np.uint8)
    reference, ours = Reference(model), compiled(model, tmp_path)
    for face in (*FACES, *noise):
        assert np.array_equal(ours.logits(face), reference.logits(face))


@pytest.mark.slow
@pytest.mark.parametrize("name", shipped_models())
def test_shipped_model_equals_the_reference_kernels_on_all_of_publictest(
    name: str, tmp_path: Path
) -> None:

    archive = shared("data", "fer2013.zip")
    faces = load_inputs(archive, "test", DEFAULT_SPEC, LABELS).inputs
    assert len(faces) > 3500
    model = read_bundle(find_model(name)).files["int8.tflite"]
    reference, ours = Reference(model), compiled(model, tmp_path)
    assert [
        i
        for i, face in enumerate(faces)
        if not np.array_equal(ours.logits(face), reference.logits(face))
    ] == []


BUILDS = [
    *((compiler, level) for compiler in ("gcc", "clang") for level in ("-O0", "-O2", "-Os")),
    ("gcc", "-O1 -fsanitize=address,undefined -fno-sanitize-recover"),
    ("gcc", "-O1 -fsanitize=address,undefined -fno-sanitize-recover -DEDGEEMO_NO_AVX2"),
    ("gcc", "-O3"),
]


@pytest.fixture(scope="module")
def nano_sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("firmware") / "nano"
    generate(read_bundle(find_model("nano")), out)
    (out / "main.c").write_text(MAIN)
    return out


@pytest.mark.parametrize(("compiler", "flags"), BUILDS)
def test_every_compiler_and_level_gives_the_same_answers_without_a_warning(
    compiler: str, flags: str, nano_sources: Path, tmp_path: Path
) -> None:
    program(compiler)
    parts = [
        nano_sources / f"{n}.c"
        for n in (
            "main",
            "edgeemo_model",
            "edgeemo_kernels",
            "edgeemo_vectors",
            "edgeemo_preprocess",
        )
    ]
    compile_c(compiler, *flags.split(), *STRICT, "-o", tmp_path / "answer", *parts)
    done = subprocess.run([tmp_path / "answer"], input=FACES[:20].tobytes(), capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    reference = Reference(read_bundle(find_model("nano")).files["int8.tflite"])
    assert done.stdout == b"".join(reference.logits(face).tobytes() for face in FACES[:20])


def test_the_generated_makefile_builds_and_checks(nano_sources: Path) -> None:
    program("make")
    assert "self-test: 4 patterns answered as promised\n" in run(
        "make", "-C", nano_sources, "check"
    )


def test_damaged_tables_and_wrong_answers_are_found(nano_sources: Path, tmp_path: Path) -> None:
    parts = ["edgeemo_model.c", "edgeemo_kernels.c", "edgeemo_vectors.c", "edgeemo_preprocess.c"]
    source = (nano_sources / "edgeemo_model.c").read_text()
    start = source.index("{", source.index("weights_1[")) + 1
    word = source[start:].split(",")[0]
    (tmp_path / "edgeemo_model.c").write_text(
        source[:start] + source[start:].replace(word, f" {int(word) ^ 1}", 1)
    )
    vectors = (nano_sources / "edgeemo_vectors.c").read_text()
    at = vectors.index("{", vectors.index("outputs[")) + 1
    word = vectors[at:].split(",")[0]
    (tmp_path / "edgeemo_vectors.c").write_text(
        vectors[:at] + vectors[at:].replace(word, f" {int(word) ^ 1}", 1)
    )
    for changed, message in (
        ("edgeemo_model.c", "tables are damaged"),
        ("edgeemo_vectors.c", "pattern 1 is answered wrong"),
    ):
        files = [tmp_path / p if p == changed else nano_sources / p for p in parts]
        compile_c(
            "gcc",
            "-O1",
            f"-I{nano_sources}",
            "-o",
            tmp_path / "selftest",
            nano_sources / "selftest.c",
            *files,
        )
        done = subprocess.run([tmp_path / "selftest"], capture_output=True, text=True)
        assert done.returncode == 1
        assert message in done.stdout


def test_scores_are_the_contracts_softmax(nano_sources: Path, tmp_path: Path) -> None:
    model = read_bundle(find_model("nano")).files["int8.tflite"]
    ours = compiled(model, tmp_path)
    rng = np.random.default_rng(0)
    for logits in (
        *rng.integers(-128, 128, (200, 7)).astype(np.int8),
        np.full(7, -128, np.int8),
        np.eye(7, dtype=np.int8)[0],
    ):
        scores = np.empty(7, np.uint16)
        ours.c.edgeemo_softmax_q15(
            ctypes.c_void_p(logits.ctypes.data), ctypes.c_void_p(scores.ctypes.data)
        )
        expected = softmax(ours.network.logits.dequantize(logits))
        assert np.abs(scores / 32768 - expected).max() < 2e-4
        assert abs(int(scores.astype(int).sum()) - 32768) <= 4


@given(st.floats(1e-12, 1e6), st.integers(-(2**28), 2**28))
def test_fixed_point_multiplies(real: float, value: int) -> None:
    multiplier, shift = fixed_point(real)
    assert multiplier == 0 or 2**30 <= multiplier < 2**31
    if abs(value * real) < 2**30 and shift < 2:
        assert (
            abs(int(requantized(np.array([value]), multiplier, shift)[0]) - value * real)
            <= 1 + abs(value * real) * 2**-30
        )


def test_fixed_point_refuses_what_no_scale_is() -> None:
    assert fixed_point(0.0) == (0, 0)
    for real in (-1.0, float("inf"), float("nan"), 2.0**30):
        with pytest.raises(BackendError, match="expected a multiplier"):
            fixed_point(real)


def test_exponentials_are_those_of_the_scale() -> None:
    table = exponentials(Quantization(0.05, 3))
    assert table[0] == 32768
    assert np.abs(table / 32768 - np.exp(-0.05 * np.arange(256))).max() <= 0.5 / 32768


# The memory plan.


@st.composite
def chains(draw: st.DrawFn) -> Network:
    """Networks of additions and pools whose inputs are any tensors made before."""
    shape = (2, 2, draw(st.integers(1, 40)))
    sizes, made = {0: 4 * shape[2]}, [0]
    steps: list[Layer] = []
    for number in range(1, draw(st.integers(2, 9))):
        if draw(st.booleans()):
            inputs = (draw(st.sampled_from(made)), draw(st.sampled_from(made)))
            same = [n for n in made if sizes[n] == sizes[inputs[0]]]
            steps.append(
                Layer(Op.ADD, "a", (inputs[0], draw(st.sampled_from(same))), number, shape, shape)
            )
            sizes[number] = sizes[inputs[0]]
        else:
            steps.append(
                Layer(Op.MAX_POOL_2D, "p", (draw(st.sampled_from(made)),), number, shape, shape)
            )
            sizes[number] = draw(st.integers(1, 300))
        made.append(number)
    return Network(tuple(steps), sizes, 0, made[-1], Quantization(1.0, 0))


@settings(max_examples=150)
@given(chains())
def test_no_two_living_buffers_share_a_byte(chain: Network) -> None:
    plan = plan_arena(chain)
    # Run it as the kernels do: a layer's output may lie on an input that nobody reads again, where
    # it works in place.
    owner: dict[int, int] = {}

    def write(number: int) -> None:
        start = plan.offsets[number]
        assert start % 4 == 0
        assert start + chain.tensor_bytes[number] <= plan.arena_bytes
        owner.update(dict.fromkeys(range(start, start + chain.tensor_bytes[number]), number))

    def check(number: int) -> None:
        start = plan.offsets[number]
        assert {owner[i] for i in range(start, start + chain.tensor_bytes[number])} == {number}

    write(0)
    for layer, scratch in zip(chain.layers, plan.scratch, strict=True):
        for source in layer.inputs:
            check(source)
        mine = set(range(scratch, scratch + layer.scratch_bytes))
        for number in (*layer.inputs, layer.output):
            assert not mine & set(
                range(plan.offsets[number], plan.offsets[number] + chain.tensor_bytes[number])
            )
        owner.update(dict.fromkeys(mine, -1))
        out = plan.offsets[layer.output]
        for source in set(layer.inputs):
            apart = abs(out - plan.offsets[source]) >= max(
                chain.tensor_bytes[layer.output], chain.tensor_bytes[source]
            )
            overlaps = (
                out < plan.offsets[source] + chain.tensor_bytes[source]
                and plan.offsets[source] < out + chain.tensor_bytes[layer.output]
            )
            assert apart or not overlaps or (layer.in_place and out == plan.offsets[source])
        write(layer.output)
    check(chain.output)
    assert plan.arena_bytes >= plan.least_bytes


@pytest.mark.parametrize("name", shipped_models())
def test_shipped_plans_are_the_least_there_can_be(name: str) -> None:
    plan = plan_arena(bundle_network(read_bundle(find_model(name))))
    assert plan.arena_bytes == plan.least_bytes


# What is refused.


def test_layers_that_the_kernels_do_not_cover_are_named() -> None:
    grown = network(
        layers.Conv2D(4, 3, strides=4, name="a"), layers.Conv2DTranspose(4, 3, name="grow")
    )
    with pytest.raises(
        BackendError,
        match=r"operator TRANSPOSE_CONV of layer grow\S* cannot become C: it is none that the C "
        r"kernels cover; the C kernels cover int8 ABS, ADD, .*TRANSPOSE: use another layer",
    ):
        read_network(quantized(grown), DEFAULT_SPEC, 7)
    dilated = network(layers.Conv2D(4, 3, dilation_rate=2, name="spread"))
    with pytest.raises(BackendError, match=r"of layer spread\S* .*(is dilated|none that)"):
        read_network(quantized(dilated), DEFAULT_SPEC, 7)


def test_the_smallest_scale_there_is_leaves_bounds_of_8_bits() -> None:
    tflite_of = parse_model(drawn_tflite("pools"), "int8.tflite")
    graph = Graph(tflite_of, "int8.tflite")
    graph.tensors[graph.output].quantization.scale = [1e-45]
    graph.tensors[graph.output].quantization.zeroPoint = [5]
    bounds = [graph.bounds(activation, graph.output) for activation in range(4)]
    assert bounds == [(-128, 127), (5, 127), (-128, 127), (5, 127)]


def test_sixteen_bit_activations_and_floats_are_named() -> None:
    model = network(layers.Conv2D(4, 3, strides=4, name="a"), layers.Conv2D(4, 3, name="b"))
    fp32 = tflite.convert_fp32(model)
    with pytest.raises(
        BackendError,
        match=r"operator [A-Z_0-9]+ of layer \S+ .* it works on float32, expected int8 alone",
    ):
        read_network(fp32, DEFAULT_SPEC, 7)
    with pytest.raises(BackendError, match=r"works on int16, expected int8 alone"):
        read_network(quantized(model, wide="b"), DEFAULT_SPEC, 7)


def test_a_bundle_without_tflite_says_what_it_holds(tmp_path: Path) -> None:
    def without(entries: dict[str, bytes]) -> None:
        manifest = json.loads(entries["manifest.json"])
        manifest["artifacts"] = [a for a in manifest["artifacts"] if a["format"] == "onnx"]
        manifest["evaluation"] = [
            e for e in manifest["evaluation"] if e["artifact"] != "int8.tflite"
        ]
        del entries["int8.tflite"]
        arrays = dict(np.load(__import__("io").BytesIO(entries["selftest.npz"])))
        del arrays["int8.tflite"]
        buffer = __import__("io").BytesIO()
        np.savez(buffer, **arrays)
        entries["selftest.npz"] = buffer.getvalue()
        from tests.support import matching_hashes

        matching_hashes(entries, manifest)

    bundle = read_bundle(rezip(find_model("nano"), tmp_path / "onnx.edgeemo", without))
    with pytest.raises(
        BundleError, match=r"holds no int8 TFLite model for a microcontroller \(only .*int8.onnx"
    ):
        generate(bundle, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_arena_beyond_max_ram_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    bundle = read_bundle(find_model("small"))
    with pytest.raises(
        InvalidInput,
        match=r"needs an arena of 5\d,\d{3} bytes, most of it for the layer stage1_\S+, "
        "and --max-ram allows 32,768",
    ):
        generate(bundle, tmp_path / "out", max_ram=32768)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(StorageError, match="not replaced"):
        generate(read_bundle(find_model("nano")), tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_names_of_a_hostile_model_cannot_leave_their_comment() -> None:
    shipped = bundle_network(read_bundle(find_model("nano")))
    evil = '*/ int x = system("rm"); /* \\\n ??/'
    network = Network(
        tuple(Layer(**{**layer.__dict__, "name": evil}) for layer in shipped.layers),
        shipped.tensor_bytes, shipped.input, shipped.output, shipped.logits,
    )  # fmt: skip
    text = model_source(network, plan_arena(network), evil)
    assert "system(" not in text.replace("system(_rm_)", "")
    assert text.count("/*") == text.count("*/")
    assert "\\" not in text
    assert "??/" not in text


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "export", *words], capture_output=True, text=True, cwd=REPOSITORY
    )


def test_the_commands_say_what_they_wrote(tmp_path: Path) -> None:
    done = command(
        "firmware",
        "nano",
        "--out",
        str(tmp_path / "c"),
        "--target",
        "cortex-m",
        "--max-ram",
        "64K",
        "--json",
    )
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert {*facts["files"], OURS} == {path.name for path in (tmp_path / "c").iterdir()}
    assert {
        "edgeemo_model.c",
        "edgeemo_model.h",
        "edgeemo_preprocess.c",
        "model_settings.h",
        "edgeemo_vectors.c",
        "Makefile",
    } <= set(facts["files"])
    assert (
        f"#define EDGEEMO_ARENA_BYTES {facts['arena_bytes']}\n"
        in (tmp_path / "c" / "edgeemo_model.h").read_text()
    )
    for words, code, message in (
        (
            ("firmware", "nano", "--out", str(tmp_path / "d"), "--max-ram", "12"),
            1,
            "--max-ram allows 12",
        ),
        (
            ("firmware", "nano", "--out", str(tmp_path / "d"), "--max-ram", "lots"),
            2,
            "expected bytes such as",
        ),
        (("firmware", "nix", "--out", str(tmp_path / "d")), 1, "no such bundle"),
        (
            ("flash-image", "small", "--out", str(tmp_path / "m.bin"), "--max-ram", "20K"),
            1,
            "--max-ram allows 20,480",
        ),
    ):
        done = command(*words)
        assert (done.returncode, done.stdout) == (code, "")
        assert message in done.stderr


def test_tables_of_the_c_code_are_the_networks(nano_sources: Path) -> None:
    shipped = bundle_network(read_bundle(find_model("nano")))
    crc = 0
    for layer in shipped.layers:
        for array in (
            layer.table,
            layer.bias.astype("<i4"),
            layer.multiplier.astype("<i4"),
            layer.shift,
        ):
            crc = zlib.crc32(array.tobytes(), crc)
    assert f"0x{crc:08X}U" in (nano_sources / "edgeemo_model.c").read_text()
    assert (nano_sources / "edgeemo_kernels.c").read_bytes() == (
        C / "edgeemo_kernels.c"
    ).read_bytes()
