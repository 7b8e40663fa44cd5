"""The ladder's steps do what they say, each held against NumPy or Keras, and it climbs in order."""

from dataclasses import replace

import keras
import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from edgeemo.backends.litert import open_interpreter
from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import LABELS
from edgeemo.contract.manifest import Format, Precision
from edgeemo.errors import BackendError
from edgeemo.firmware.network import read_network
from export.convert import activations, tflite
from export.convert import onnx as onnx_export
from export.convert.artifacts import Candidate, Kind, open_candidate
from export.convert.graph import CASTS, check_full_int8, read_graph
from export.prove.compiled import CompiledNetwork
from export.prove.exact import Exact
from export.prove.gate import Verdict, judge
from export.prove.ladder import climb
from export.prove.makers import OnnxMaker, TfliteMaker
from export.prove.measurement import Measurement
from export.prove.steps import METHODS, STEPS
from tests.export.firmware.firmware_support import program
from tests.support import drawn_faces, drawn_network

pytestmark = pytest.mark.rounding

PICTURES = drawn_faces(40)


@pytest.fixture(scope="module")
def network() -> keras.Model:
    return drawn_network()


@pytest.fixture(scope="module")
def maker(network: keras.Model) -> TfliteMaker:
    return TfliteMaker(tflite.convert_fp32(network), PICTURES, seed=1)


def values_of(model: keras.Model, layer: str) -> np.ndarray:
    """What Keras computes in a layer for all pictures."""
    part = keras.Model(model.inputs[0], model.get_layer(layer).output)
    return np.asarray(part.predict_on_batch(PICTURES.astype(np.float32)))


@pytest.mark.parametrize("layer", ["first_relu", "depth_relu", "last", "pool"])
def test_recorded_activations_are_those_of_keras(network: keras.Model, layer: str) -> None:
    recorded = activations.record(tflite.convert_fp32(network), PICTURES, seed=1)
    seen = next(activation for name, activation in recorded.items() if name.startswith(f"{layer}/"))
    expected = values_of(network, layer)
    assert (seen.low, seen.high) == pytest.approx(
        (expected.min(), expected.max()), rel=1e-4, abs=1e-4
    )
    assert seen.mean == pytest.approx(
        expected.reshape(-1, expected.shape[-1]).mean(axis=0), rel=1e-3, abs=1e-4
    )
    # 12x12 cells of 16 channels at most: every value is kept, so the percentile is that of all.
    low, high = activations.percentile(recorded)[
        next(n for n in recorded if n.startswith(f"{layer}/"))
    ]
    assert (low, high) == pytest.approx(np.percentile(expected, [0.01, 99.99]), rel=1e-3, abs=1e-3)


def test_entropy_cuts_a_lonely_outlier_off_and_keeps_the_rest() -> None:
    values = np.concatenate([np.random.default_rng(0).normal(0, 1, 20_000), [400.0]]).astype(
        np.float32
    )
    low, high = onnx_export.entropy_ranges({"x": values})["x"]
    assert -100 < low < -1
    assert 1 < high < 100


@pytest.mark.parametrize("relu", [False, True])
def test_no_narrower_range_has_a_smaller_square_error_than_that_by_least_error(relu: bool) -> None:
    values = np.random.default_rng(1).standard_t(4, 20_000).astype(np.float32)
    values = np.maximum(values, 0) if relu else values

    def error(low: float, high: float) -> float:
        step = (high - low) / 255
        stored = np.round((np.clip(values, low, high) - low) / step) * step + low
        return float(np.square(values - stored).mean())

    whole = float(values.min()), float(values.max())
    low, high = activations._least_error(values, *whole)
    best = error(low, high)
    assert best < 0.98 * error(*whole)
    lows = (0.0,) if relu else np.linspace(0.2, 1, 33) * whole[0]
    others = [error(a, b) for a in lows for b in np.linspace(0.2, 1, 33) * whole[1]]
    assert best <= min(others) * 1.02  # rounding errors were taken as uniform
    assert (low == 0) == relu
    assert activations._least_error(np.zeros(4, np.float32), 0.0, 0.0) == (0.0, 0.0)


def test_pixels_and_logits_keep_their_ends_whatever_the_method() -> None:
    recorded = activations.record(tflite.convert_fp32(drawn_network()), PICTURES, seed=1)
    whole = activations.min_max(recorded)
    names = list(recorded)
    assert tuple(activations.METHODS) == METHODS
    for method in activations.METHODS.values():
        ranges = method(recorded)
        assert ranges[names[0]] == (0.0, 255.0)
        assert ranges[names[-1]] == whole[names[-1]]
        assert all(whole[n][0] <= ranges[n][0] < ranges[n][1] <= whole[n][1] for n in names)


def test_calibrated_model_is_full_int8_and_answers_like_the_float_one(
    network: keras.Model, maker: TfliteMaker
) -> None:
    candidate = maker.calibrated("min-max")
    check_full_int8(candidate.model)
    expected = np.asarray(network.predict_on_batch(PICTURES.astype(np.float32)))
    backend = open_candidate(candidate, DEFAULT_SPEC, LABELS, reference_kernels=True)
    assert np.abs(backend.infer(PICTURES) - expected).max() < 0.05 * np.ptp(expected)


def test_corrected_biases_give_each_layer_its_float_mean_back() -> None:
    # Kernels of one pixel: the formula is exact there, so the means have to agree and not only come
    # closer.
    model = drawn_network(kernel=1)
    fp32 = tflite.convert_fp32(model)
    recorded = activations.record(fp32, PICTURES, seed=1)
    int8 = tflite.quantize(fp32, activations.min_max(recorded))
    corrected = tflite.with_corrected_biases(
        fp32, int8, {name: seen.mean for name, seen in recorded.items()}
    )
    rounded, graph = tflite._weights_by_name(int8), read_graph(corrected, "fp32.tflite")
    held = open_interpreter(corrected, "fp32.tflite", kernels="plain")
    weighted = [op for op in graph.operators if op["op_name"] in tflite.WEIGHTED]
    assert [op["op_name"] for op in weighted] == [
        "CONV_2D",
        "DEPTHWISE_CONV_2D",
        "CONV_2D",
        "FULLY_CONNECTED",
    ]
    sources = ("coarse", "first_relu", "depth_relu", "pool")
    for operator, source, name in zip(
        weighted, sources, ("first", "depth", "last", "logits"), strict=True
    ):
        weights, bias = (
            rounded[graph.tensors[operator["inputs"][1]]["name"]],
            held.get_tensor(operator["inputs"][2]),
        )
        means = (
            values_of(model, source).reshape(-1, values_of(model, source).shape[-1]).mean(axis=0)
        )
        if operator["op_name"] == "DEPTHWISE_CONV_2D":
            mean = weights[0, 0, 0] * means + bias
        else:
            mean = weights.reshape(len(weights), -1) @ means + bias
        exact = values_of(model, name)
        assert mean == pytest.approx(exact.reshape(-1, exact.shape[-1]).mean(axis=0), abs=2e-4)
        # A channel with one weight is stored exactly; rounding shifts the others.
        assert np.allclose(bias, model.get_layer(name).get_weights()[-1], atol=1e-6) == (
            name in ("first", "depth")
        )


def test_corrected_biases_of_onnx_give_the_float_mean_back_too() -> None:
    model = drawn_network(kernel=1)
    fp32 = onnx_export.folded(onnx_export.convert_fp32(model))
    int8 = onnx_export.convert_int8(fp32, PICTURES)
    corrected = onnx.load_from_string(onnx_export.with_corrected_biases(fp32, int8, PICTURES))
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in corrected.graph.initializer}
    rounded = onnx_export._dequantized(int8)
    nodes = [node for node in corrected.graph.node if node.op_type in ("Conv", "Gemm")]
    layers = (
        ("coarse", "first"),
        ("first_relu", "depth"),
        ("depth_relu", "last"),
        ("pool", "logits"),
    )
    assert len(nodes) == len(layers)
    for node, (source, name) in zip(nodes, layers, strict=True):
        means = (
            values_of(model, source).reshape(-1, values_of(model, source).shape[-1]).mean(axis=0)
        )
        weights = rounded[node.input[1]]
        if node.op_type == "Gemm":
            product = weights.T @ means if weights.shape[1] == 7 else weights @ means
        else:
            matrix = weights.reshape(len(weights), -1)
            product = matrix @ means if matrix.shape[1] == len(means) else matrix[:, 0] * means
        exact = values_of(model, name)
        mean = product + values[node.input[2]]
        assert mean == pytest.approx(exact.reshape(-1, exact.shape[-1]).mean(axis=0), abs=2e-4)


def test_mixed_step_gives_16_bits_to_the_worst_layers_and_8_to_the_others(
    maker: TfliteMaker,
) -> None:
    best = maker.calibrated("min-max")
    mixed = maker.mixed(best)
    assert mixed.kind == Kind(Precision.MIXED, Format.TFLITE)
    assert mixed.file == "mixed.tflite"
    assert len(mixed.wide) == 3
    graph = read_graph(mixed.model)
    bits = {
        graph.tensors[op["outputs"][0]]["name"]: (
            np.dtype(graph.tensors[op["outputs"][0]]["dtype"]).itemsize * 8
        )
        for op in graph.operators
        if op["op_name"] not in CASTS
    }
    assert {name for name, n in bits.items() if n == 16} == set(mixed.wide)
    assert set(bits.values()) == {8, 16}
    with pytest.raises(BackendError, match="works on int"):
        check_full_int8(mixed.model)
    check_full_int8(mixed.model, wide=True)


def test_mixed_step_takes_a_calibration_set_smaller_than_what_it_looks_at(
    network: keras.Model,
) -> None:
    maker = TfliteMaker(tflite.convert_fp32(network), drawn_faces(5), seed=1)
    assert len(maker.mixed(maker.calibrated("min-max")).wide) == 3


def test_mixed_step_of_onnx_leaves_its_worst_nodes_float(network: keras.Model) -> None:
    maker = OnnxMaker(onnx_export.convert_fp32(network), PICTURES)
    mixed = maker.mixed(maker.calibrated("min-max"))
    graph = onnx.load_from_string(mixed.model).graph
    values = {tensor.name: tensor for tensor in graph.initializer}
    assert mixed.kind == Kind(Precision.MIXED, Format.ONNX)
    assert mixed.file == "mixed.onnx"
    assert len(mixed.wide) == 3
    as_float = {
        node.name
        for node in graph.node
        if node.op_type in ("Conv", "Gemm") and node.input[1] in values
    }
    assert as_float == set(mixed.wide)


def test_fp16_is_half_the_size_and_nearly_the_same(network: keras.Model) -> None:
    from edgeemo.backends.onnx import OnnxBackend

    fp32 = onnx_export.convert_fp32(network)
    fp16 = onnx_export.convert_fp16(fp32)
    types = {
        tensor.data_type for tensor in onnx.load_from_string(fp16).graph.initializer if tensor.dims
    }
    assert onnx.TensorProto.FLOAT not in types
    logits = [
        OnnxBackend(model, "x", DEFAULT_SPEC, LABELS).infer(PICTURES) for model in (fp32, fp16)
    ]
    assert np.abs(logits[0] - logits[1]).max() < 0.01 * np.ptp(logits[0])


@pytest.mark.parametrize(("activation", "operator"), [("elu", "ELU"), ("softplus", "EXP")])
def test_operator_without_int8_kernel_is_named_with_its_layer(
    activation: str, operator: str
) -> None:
    pixels = keras.Input((48, 48, 1), name="pixels")
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(pixels)
    x = keras.layers.Activation(activation, name="odd")(
        keras.layers.Conv2D(4, 3, strides=4, name="first")(x)
    )
    logits = keras.layers.Dense(7, name="logits")(keras.layers.GlobalAveragePooling2D()(x))
    strange = tflite.convert_fp32(keras.Model(pixels, logits, name="strange"))
    maker = TfliteMaker(strange, PICTURES, seed=1)
    with pytest.raises(
        BackendError,
        match=rf"the operator {operator} of layer odd/\w+ works on float32.*no int8 kernel",
    ):
        maker.calibrated("min-max")


def verdict(kl: float) -> Verdict:
    """A real verdict that passes, but for its KL divergence, which is the given one."""
    labels = np.arange(700) % 7
    logits = np.eye(7, dtype=np.float32)[labels] * 4
    passing = judge(logits, logits, labels, LABELS)
    return replace(passing, mean_kl=kl, reasons=() if kl < 0.02 else (f"mean KL divergence {kl}",))


def measurement(candidate: Candidate, kl: float) -> Measurement:
    """Of a candidate on 700 pictures that took 70 ms, with that KL divergence."""
    return Measurement(candidate, np.zeros((700, 7), np.float32), verdict(kl), 0.07)


def test_climbs_in_order_improves_on_the_closest_and_stops_when_asked_no_more(
    network: keras.Model, maker: TfliteMaker
) -> None:
    divergences = {"min-max": 0.5, "least-error": 0.4, "percentile": 0.1, "entropy": 0.3}
    divergences |= {"bias": 0.2, "mixed": 0.01}
    asked: list[Candidate] = []

    def measure(candidate: Candidate) -> Measurement:
        asked.append(candidate)
        return measurement(candidate, divergences[candidate.step])

    times = iter(range(100))
    attempts = [attempt for _, attempt in climb(maker, STEPS, measure, lambda: float(next(times)))]
    assert [attempt.step for attempt in attempts] == list(STEPS)
    assert [attempt.passed for attempt in attempts] == [*[False] * 5, True]
    # percentile was the closest of the first four, and stayed closer than it was with corrected
    # biases.
    assert [candidate.method for candidate in asked] == [
        "min-max",
        "least-error",
        "percentile",
        "entropy",
        "percentile",
        "percentile",
    ]
    assert asked[4].detail == "ranges by percentile, biases corrected"
    assert {attempt.seconds for attempt in attempts} == {1.0}
    assert {attempt.ms_per_face for attempt in attempts} == {0.1}

    asked.clear()
    divergences["min-max"] = 0.001
    assert next(climb(maker, STEPS, measure, lambda: 0.0))[1].passed
    assert len(asked) == 1


def test_a_reason_from_outside_the_gate_refuses_too(
    network: keras.Model, maker: TfliteMaker
) -> None:
    def measure(candidate: Candidate) -> Measurement:
        return replace(measurement(candidate, 0.001), faults=("kernels disagree",))

    (_, attempt), *_ = climb(maker, STEPS[:1], measure, lambda: 0.0)
    assert not attempt.passed
    assert attempt.reasons == ("kernels disagree",)


def test_what_a_microcontroller_computes_refuses_as_well() -> None:
    made = measurement(Candidate(Kind(Precision.INT8, Format.TFLITE), b""), 0.001)
    assert made.reasons == ()
    in_c = replace(made, exact=Exact(verdict(0.5), "C", 1.0))
    assert in_c.reasons == ("in C: mean KL divergence 0.5",)
    assert not in_c.as_attempt(1.0).passed


def test_generated_c_has_the_bits_of_the_reference_kernels(maker: TfliteMaker) -> None:
    candidate = maker.calibrated("min-max")
    reference = open_candidate(candidate, DEFAULT_SPEC, LABELS, reference_kernels=True)
    cc = (program("cc"),)
    with CompiledNetwork(read_network(candidate.model, DEFAULT_SPEC, 7), cc, "int8.tflite") as c:
        assert np.array_equal(c.infer(PICTURES), reference.infer(PICTURES))
        c.program = "false"
        with pytest.raises(BackendError, match="C program of it ends with 1 after 0 of 42 pict"):
            c.infer(PICTURES)


def test_ranges_before_a_max_pool_end_where_nothing_lower_comes_out() -> None:
    keras.utils.set_random_seed(3)
    pixels = keras.Input((48, 48, 1))
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(pixels)
    x = keras.layers.MaxPooling2D(4, name="pool")(keras.layers.Conv2D(4, 3, name="both")(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    fp32 = tflite.convert_fp32(keras.Model(pixels, keras.layers.Dense(7)(x)))
    ranges = activations.min_max(activations.record(fp32, PICTURES, seed=1))
    before, after = (
        next(name for name in ranges if name.startswith(layer)) for layer in ("both/", "pool/")
    )
    assert ranges[before][0] < ranges[after][0] < 0
    narrowed = activations.for_max_pools(fp32, ranges)
    assert narrowed == ranges | {before: (ranges[after][0], ranges[before][1])}
    # The same steps on both sides, finer than before, and the pool's values are all there.
    int8 = read_graph(tflite.quantize(fp32, narrowed))
    details = {tensor["name"]: tensor["quantization"] for tensor in int8.tensors.values()}
    scale = next(q[0] for name, q in details.items() if name.startswith("pool/"))
    assert scale == pytest.approx((ranges[before][1] - ranges[after][0]) / 255, rel=1e-3)


def test_pools_in_a_row_all_have_the_last_one_s_end() -> None:
    keras.utils.set_random_seed(3)
    pixels = keras.Input((48, 48, 1))
    x = keras.layers.Rescaling(1 / 127.5, -1.0)(pixels)
    x = keras.layers.Conv2D(4, 3, name="both")(x)
    x = keras.layers.MaxPooling2D(4, name="one")(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.MaxPooling2D(3, name="two")(x))
    fp32 = tflite.convert_fp32(keras.Model(pixels, keras.layers.Dense(7)(x)))
    ranges = activations.min_max(activations.record(fp32, PICTURES, seed=1))
    names = [
        next(name for name in ranges if name.startswith(f"{layer}/"))
        for layer in ("both", "one", "two")
    ]
    narrowed = activations.for_max_pools(fp32, ranges)
    end = min(0.0, ranges[names[2]][0])
    assert [narrowed[name][0] for name in names[:2]] == [end, end]
    assert ranges[names[0]][0] < end


def test_the_bias_of_a_channel_without_weights_is_not_lost() -> None:
    keras.utils.set_random_seed(3)
    pixels = keras.Input((48, 48, 1))
    conv = keras.layers.Conv2D(4, 3, activation="relu", name="dead")
    x = conv(keras.layers.Rescaling(1 / 127.5, -1.0)(pixels))
    x = keras.layers.Dense(7, name="scores")(keras.layers.GlobalAveragePooling2D()(x))
    model = keras.Model(pixels, x)
    weights, _ = conv.get_weights()
    weights[..., 1], weights[..., 2] = 0, weights[..., 2] * 1e-12
    conv.set_weights([weights, np.array([0.1, 0.5, -0.7, 0.2], np.float32)])
    fp32 = tflite.convert_fp32(model)
    int8 = tflite.quantize(fp32, activations.min_max(activations.record(fp32, PICTURES, seed=1)))
    interpreter = open_interpreter(int8, "int8.tflite", kernels="reference")
    source, target = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    scale, zero = target["quantization"]
    for picture in PICTURES[:8]:
        stored = (picture[np.newaxis].astype(np.int16) - 128).astype(np.int8)
        interpreter.set_tensor(source["index"], stored)
        interpreter.invoke()
        answer = (interpreter.get_tensor(target["index"]).astype(float) - zero) * scale
        expected = model.predict_on_batch(picture[np.newaxis].astype(np.float32))
        assert np.abs(answer - expected).max() < 2 * scale  # 0.35 where the bias is clipped
    for operator in read_graph(int8).operators:
        if operator["op_name"] == "CONV_2D":
            bias = interpreter.get_tensor(operator["inputs"][2]).astype(np.int64)
            assert np.abs(bias).max() <= tflite.BIAS_LIMIT
