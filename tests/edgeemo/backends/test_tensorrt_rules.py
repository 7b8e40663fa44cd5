"""TensorRT's rules for quantized ONNX: each one broken is named, and what we write keeps all."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeemo.backends.tensorrt_rules import broken_rules
from edgeemo.contract.bundle import read_bundle
from edgeemo.contract.checked.onnx_graph import read_graph
from edgeemo.contract.quantize import looked_up
from edgeemo.errors import BackendError
from edgeemo.models import find_model
from export.convert import onnx as convert
from export.convert.calibration import RAW_PIXELS


def with_skip() -> onnx.ModelProto:
    """A float model: a convolution, a block around two with a skip connection, pooling, a dense
    layer.
    """
    rng = np.random.default_rng(0)
    weights = {"w0": (4, 1, 3, 3), "w1": (4, 4, 3, 3), "w2": (4, 1, 3, 3), "w3": (4, 7)}
    held = [
        numpy_helper.from_array(rng.normal(0, 0.3, shape).astype(np.float32), name)
        for name, shape in weights.items()
    ]
    held += [
        numpy_helper.from_array(rng.normal(0, 1, (size,)).astype(np.float32), name)
        for name, size in {"b0": 4, "b1": 4, "b2": 4, "b3": 7}.items()
    ]
    held += [
        numpy_helper.from_array(np.array([1, 1, 8, 8]), "shape"),
        numpy_helper.from_array(np.float32(1 / 64), "scale"),
        numpy_helper.from_array(np.float32(-2), "offset"),
    ]
    node = helper.make_node
    nodes = [
        node("Mul", ["pixels", "scale"], ["scaled"], "scaled"),
        node("Add", ["scaled", "offset"], ["moved"], "moved"),
        node("Reshape", ["moved", "shape"], ["x"], "x"),
        node("Conv", ["x", "w0", "b0"], ["c0"], "c0", pads=[1] * 4),
        node("Relu", ["c0"], ["r0"], "r0"),
        node("Conv", ["r0", "w1", "b1"], ["c1"], "c1", pads=[1] * 4),
        node("Relu", ["c1"], ["r1"], "r1"),
        node("Conv", ["r1", "w2", "b2"], ["c2"], "c2", pads=[1] * 4, group=4),
        node("Add", ["r0", "c2"], ["sum"], "sum"),
        node("Relu", ["sum"], ["r2"], "r2"),
        node("GlobalAveragePool", ["r2"], ["pooled"], "pooled"),
        node("Flatten", ["pooled"], ["flat"], "flat"),
        node("Gemm", ["flat", "w3", "b3"], ["logits"], "logits"),
    ]
    graph = helper.make_graph(
        nodes,
        "skip",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, [1, 8, 8, 1])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 7])],
        held,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (16, 8, 8, 1), dtype=np.uint8)


@pytest.fixture(scope="module")
def floats() -> bytes:
    return convert.folded(with_skip().SerializeToString())


@pytest.fixture(scope="module")
def symmetric(floats: bytes, pictures: np.ndarray) -> bytes:
    return convert.convert_int8(floats, pictures, for_tensorrt=True)


def answers(model: bytes, pictures: np.ndarray) -> np.ndarray:
    import onnxruntime

    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    feeds = ({name: looked_up(RAW_PIXELS, picture[np.newaxis])} for picture in pictures)
    return np.concatenate([session.run(None, feed)[0] for feed in feeds])


def test_what_we_write_for_tensorrt_keeps_every_rule(
    symmetric: bytes, floats: bytes, pictures: np.ndarray
) -> None:
    assert broken_rules(symmetric, "x") == []
    onnx.checker.check_model(onnx.load_from_string(symmetric))
    exact, rounded = answers(floats, pictures), answers(symmetric, pictures)
    assert 0 < np.abs(exact - rounded).max() < 0.03 * np.ptp(exact)
    # Pairs: before three convolutions, the residual input and the dense layer, and four of weights.
    graph = read_graph(symmetric, "x")
    assert sum(node.operator == "QuantizeLinear" for node in graph.nodes) == 9
    (add,) = (node for node in graph.nodes if node.name == "sum")
    assert add.inputs[1] == "c2"  # added inside of the convolution


def test_usual_int8_breaks_them(floats: bytes, pictures: np.ndarray) -> None:
    rules = {
        rule.split(":")[0] for rule in broken_rules(convert.convert_int8(floats, pictures), "")
    }
    assert {"zero points", "pairs", "biases"} <= rules
    assert broken_rules(floats, "x")[0].startswith("pairs: there is no DequantizeLinear")


def test_biases_are_corrected_for_the_rounding_of_float_weights(
    symmetric: bytes, floats: bytes, pictures: np.ndarray
) -> None:
    """The weights that the pair gives are those that ONNX Runtime computes with."""
    model = onnx.load_from_string(symmetric)
    (last,) = (node for node in model.graph.node if node.op_type == "Gemm")
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(last.input[1]))
    import onnxruntime

    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feed = {"pixels": looked_up(RAW_PIXELS, pictures[:1])}
    weights = convert._dequantized(symmetric)["w3"]
    assert weights == pytest.approx(session.run(None, feed)[1], abs=1e-7)
    corrected = convert.with_corrected_biases(floats, symmetric, pictures)
    again = convert.convert_int8(corrected, pictures, for_tensorrt=True)
    exact = answers(floats, pictures).mean(axis=0)
    shift = [np.abs(answers(m, pictures).mean(axis=0) - exact).max() for m in (symmetric, again)]
    assert shift[1] < shift[0]


def test_mixed_keeps_them_with_nodes_in_float(
    symmetric: bytes, floats: bytes, pictures: np.ndarray
) -> None:
    worst = convert.worst_nodes(floats, symmetric, pictures[:4])
    assert worst != []
    for name in ("c0", "c1", "logits"):
        mixed = convert.convert_int8(floats, pictures, as_float=[name], for_tensorrt=True)
        assert broken_rules(mixed, "x") == []
        graph = read_graph(mixed, "x")
        assert sum(node.operator == "QuantizeLinear" for node in graph.nodes) == 7


def stored(model: onnx.ModelProto, name: str) -> onnx.TensorProto:
    return next(tensor for tensor in model.graph.initializer if tensor.name == name)


def node_of(model: onnx.ModelProto, name: str) -> onnx.NodeProto:
    return next(node for node in model.graph.node if node.name == name)


def put(model: onnx.ModelProto, name: str, array: np.ndarray) -> None:
    stored(model, name).CopyFrom(numpy_helper.from_array(array, name))


def pair_before(model: onnx.ModelProto, node: str, at: int) -> tuple[Any, Any]:
    """The quantizing and the dequantizing node of a node's input."""
    tensor = node_of(model, node).input[at]
    outer = next(one for one in model.graph.node if tensor in one.output)
    inner = next(one for one in model.graph.node if outer.input[0] in one.output)
    return inner, outer


def around(model: onnx.ModelProto, node: str, at: int) -> None:
    """Take the pair before a node's input away."""
    inner, _ = pair_before(model, node, at)
    node_of(model, node).input[at] = inner.input[0]


def zero_point(model: onnx.ModelProto) -> None:
    put(model, pair_before(model, "c1", 0)[0].input[2], np.array(3, np.int8))


def unsigned(model: onnx.ModelProto) -> None:
    put(model, pair_before(model, "c1", 0)[0].input[2], np.array(0, np.uint8))


def no_zero_point(model: onnx.ModelProto) -> None:
    for node in pair_before(model, "c1", 0):
        del node.input[2]


def scale_of_zero(model: onnx.ModelProto) -> None:
    put(model, pair_before(model, "c1", 0)[0].input[1], np.array(0, np.float32))


def computed_scale(model: onnx.ModelProto) -> None:
    inner, outer = pair_before(model, "c1", 0)
    made = helper.make_node("Identity", [inner.input[1]], ["made"], "made")
    model.graph.node.insert(0, made)
    inner.input[1] = outer.input[1] = "made"


def two_scales(model: onnx.ModelProto) -> None:
    _, outer = pair_before(model, "c2", 0)
    outer.input[1] = pair_before(model, "c1", 0)[0].input[1]


def activations_by_channel(model: onnx.ModelProto) -> None:
    inner, _ = pair_before(model, "c2", 0)
    put(model, inner.input[1], np.full(4, 0.1, np.float32))
    put(model, inner.input[2], np.zeros(4, np.int8))


def weights_by_tensor(model: onnx.ModelProto) -> None:
    inner, _ = pair_before(model, "c1", 1)
    put(model, inner.input[1], np.array(0.1, np.float32))
    put(model, inner.input[2], np.array(0, np.int8))


def weights_on_another_axis(model: onnx.ModelProto) -> None:
    for node in pair_before(model, "c1", 1):
        next(attribute for attribute in node.attribute if attribute.name == "axis").i = 1


def int8_weights(model: onnx.ModelProto) -> None:
    _, outer = pair_before(model, "c1", 1)
    outer.input[0] = "stored"
    model.graph.initializer.append(
        numpy_helper.from_array(np.ones((4, 4, 3, 3), np.int8), "stored")
    )


def int32_bias(model: onnx.ModelProto) -> None:
    for name, array in {
        "stored": np.ones(4, np.int32), "one": np.float32(1), "none": np.int32(0),
    }.items():  # fmt: skip
        model.graph.initializer.append(numpy_helper.from_array(np.array(array), name))
    made = helper.make_node("DequantizeLinear", ["stored", "one", "none"], ["bias"], "bias")
    model.graph.node.insert(0, made)
    node_of(model, "c1").input[2] = "bias"


def relu_behind_a_pair(model: onnx.ModelProto) -> None:
    inner, _ = pair_before(model, "c2", 0)
    for at, (kind, source, made) in enumerate(
        [("QuantizeLinear", "c1", "c1q"), ("DequantizeLinear", "c1q", "c1d")]
    ):
        parameters = [inner.input[1], inner.input[2]]
        model.graph.node.insert(at, helper.make_node(kind, [source, *parameters], [made], made))
    node_of(model, "r1").input[0] = "c1d"


def qlinear(model: onnx.ModelProto) -> None:
    node_of(model, "c1").op_type = "QLinearConv"


def another_domain(model: onnx.ModelProto) -> None:
    node_of(model, "c1").domain = "com.microsoft"


def old_opset(model: onnx.ModelProto) -> None:
    model.opset_import[0].version = 12


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (zero_point, "zero points: r0_QuantizeLinear_1: expected 0, received 3"),
        (unsigned, "zero points: r0_QuantizeLinear_1: expected int8, received uint8"),
        (no_zero_point, "zero points: r0_QuantizeLinear_1: expected a constant; without one it"),
        (scale_of_zero, "scales: r0_QuantizeLinear_1: expected positive numbers"),
        (computed_scale, "scales: r0_QuantizeLinear_1: expected a constant"),
        (two_scales, "pairs: r1_DequantizeLinear: expected the scale of the QuantizeLinear"),
        (
            activations_by_channel,
            "activations: r1_QuantizeLinear: expected one scale for the whole",
        ),
        (weights_by_tensor, "weights: c1: expected a scale for each output channel, on axis 0"),
        (weights_on_another_axis, "weights: c1: expected a scale for each output channel, on axis"),
        (int8_weights, "pairs: w1_DequantizeLinear: expected float constants with both nodes"),
        (int32_bias, "biases: c1: expected float, received a dequantized one"),
        (lambda model: around(model, "c1", 0), "inputs: c1: its input is not quantized"),
        (lambda model: around(model, "c1", 1), "inputs: c1: its weights are not quantized"),
        (lambda model: around(model, "sum", 0), "residuals: sum: expected its residual input"),
        (relu_behind_a_pair, "activation functions: r1: what it takes is quantized"),
        (qlinear, "operators: c1: TensorRT has no QLinearConv"),
        (another_domain, "operators: c1: TensorRT has none of com.microsoft"),
        (old_opset, "opset: expected 13 or newer, received 12"),
    ],
)
def test_each_broken_rule_is_named_with_its_node(
    symmetric: bytes, change: Callable[[onnx.ModelProto], None], expected: str
) -> None:
    model = onnx.load_from_string(symmetric)
    change(model)
    found = broken_rules(model.SerializeToString(), "x")
    assert any(rule.startswith(expected) for rule in found), found


def test_graphs_are_read_as_the_onnx_package_reads_them(symmetric: bytes) -> None:
    shipped = read_bundle(find_model("nano")).files
    for data in (symmetric, *(shipped[file] for file in shipped if file.endswith(".onnx"))):
        model, graph = onnx.load_from_string(data), read_graph(data, "x")
        assert graph.opset == 17
        assert [
            (node.operator, node.name, list(node.inputs), list(node.outputs))
            for node in graph.nodes
        ] == [
            (node.op_type, node.name, list(node.input), list(node.output))
            for node in model.graph.node
        ]
        for node, read in zip(model.graph.node, graph.nodes, strict=True):
            whole = {one.name: one.i for one in node.attribute if one.type == one.INT}
            assert {name: read.integers[name] for name in whole} == whole
        assert len(graph.constants) == len(model.graph.initializer)
        for tensor in model.graph.initializer:
            assert np.array_equal(graph.constants[tensor.name], numpy_helper.to_array(tensor))


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (TensorProto.FLOAT, [1.5, -2.0]), (TensorProto.INT8, [-3, 4]),
        (TensorProto.INT32, [-70000, 7]), (TensorProto.INT64, [-(2**40), 1]),
    ],
)  # fmt: skip
def test_constants_that_are_stored_as_lists_are_read(kind: int, values: list[float]) -> None:
    tensor = helper.make_tensor("c", kind, [2], values)  # not raw
    node = helper.make_node("Constant", [], ["made"], value=tensor)
    graph = helper.make_graph([node], "g", [], [], [tensor])
    found = read_graph(helper.make_model(graph).SerializeToString(), "x").constants
    for name in ("c", "made"):
        assert found[name].dtype == numpy_helper.to_array(tensor).dtype
        assert found[name].tolist() == values


@pytest.mark.parametrize("data", [b"\xff", b"\x3a\x05\x0a", b"\x3a\x02\x28\x01"])
def test_what_is_no_model_is_refused(data: bytes) -> None:
    with pytest.raises(BackendError, match="x.onnx: not a readable ONNX model"):
        read_graph(data, "x.onnx")


def test_damaged_models_are_judged_or_refused(symmetric: bytes) -> None:
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        data = bytearray(symmetric)
        for at in rng.integers(0, len(data), 8):
            data[at] = rng.integers(0, 256)
        try:
            broken_rules(bytes(data), "x")
        except BackendError:
            refused += 1
    assert 0 < refused < 150


def test_a_node_without_its_inputs_is_refused(symmetric: bytes) -> None:
    model = onnx.load_from_string(symmetric)
    del node_of(model, "c1").input[1:]
    with pytest.raises(BackendError, match="a node lacks inputs"):
        broken_rules(model.SerializeToString(), "x")
