"""The protobuf walk that finds external weights, against the onnx package: what it finds, what it
lets pass.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import onnx
import pytest
from google.protobuf.message import DecodeError, Message
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from edgeemo.contract.bundle import read_bundle
from edgeemo.contract.checked.onnx_guard import check_self_contained
from edgeemo.errors import BundleError


def inline(name: str = "w") -> TensorProto:
    """A tensor that holds its own weights."""
    return helper.make_tensor(name, TensorProto.FLOAT, [2], [1.0, 2.0])


def external(name: str = "w") -> TensorProto:
    """A tensor whose weights are said to lie in another file."""
    tensor = TensorProto(
        name=name, data_type=TensorProto.FLOAT, dims=[2], data_location=TensorProto.EXTERNAL
    )
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return tensor


def value(name: str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [2])


def constant(tensor: TensorProto) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["y"], value=tensor)


def graph(*nodes: onnx.NodeProto, initializer: TensorProto | None = None) -> onnx.GraphProto:
    held = [initializer] if initializer is not None else []
    return helper.make_graph(
        list(nodes) or [helper.make_node("Identity", ["x"], ["y"])],
        "g",
        [value("x")],
        [value("y")],
        held,
    )


def model(body: onnx.GraphProto | None = None) -> onnx.ModelProto:
    return helper.make_model(body if body is not None else graph())


def sparse(tensor: TensorProto, *, where: str) -> onnx.SparseTensorProto:
    indices = helper.make_tensor("i", TensorProto.INT64, [2], [0, 3])
    made = onnx.SparseTensorProto(dims=[8])
    made.values.CopyFrom(tensor if where == "values" else inline())
    made.indices.CopyFrom(tensor if where == "indices" else indices)
    return made


def in_initializer(tensor: TensorProto) -> onnx.ModelProto:
    return model(graph(initializer=tensor))


def in_second_initializer(tensor: TensorProto) -> onnx.ModelProto:
    made = model(graph(initializer=inline("first")))
    made.graph.initializer.append(tensor)
    return made


def in_attribute(tensor: TensorProto) -> onnx.ModelProto:
    return model(graph(constant(tensor)))


def in_attribute_list(tensor: TensorProto) -> onnx.ModelProto:
    return model(
        graph(helper.make_node("Own", ["x"], ["y"], domain="own", several=[inline("a"), tensor]))
    )


def in_sparse_initializer(where: str) -> Callable[[TensorProto], onnx.ModelProto]:
    def build(tensor: TensorProto) -> onnx.ModelProto:
        made = model()
        made.graph.sparse_initializer.append(sparse(tensor, where=where))
        return made

    return build


def in_sparse_attribute(tensor: TensorProto) -> onnx.ModelProto:
    return model(
        graph(helper.make_node("Constant", [], ["y"], sparse_value=sparse(tensor, where="values")))
    )


def in_sparse_attribute_list(tensor: TensorProto) -> onnx.ModelProto:
    held = [sparse(inline(), where="values"), sparse(tensor, where="indices")]
    return model(graph(helper.make_node("Own", ["x"], ["y"], domain="own", several=held)))


def nested(depth: int) -> Callable[[TensorProto], onnx.ModelProto]:
    def build(tensor: TensorProto) -> onnx.ModelProto:
        body = graph(initializer=tensor)
        for _ in range(depth):
            body = graph(
                helper.make_node("If", ["x"], ["y"], then_branch=graph(), else_branch=body)
            )
        return model(body)

    return build


def in_graph_list(tensor: TensorProto) -> onnx.ModelProto:
    return model(
        graph(
            helper.make_node(
                "Own", ["x"], ["y"], domain="own", several=[graph(), graph(constant(tensor))]
            )
        )
    )


def in_function(tensor: TensorProto) -> onnx.ModelProto:
    made = model()
    opset = [helper.make_opsetid("", 17)]
    made.functions.append(helper.make_function("own", "f", ["x"], ["y"], [constant(tensor)], opset))
    return made


def in_function_default(tensor: TensorProto) -> onnx.ModelProto:
    made = model()
    node = helper.make_node("Identity", ["x"], ["y"])
    default = helper.make_attribute("weights", tensor)
    opset = [helper.make_opsetid("", 17)]
    made.functions.append(
        helper.make_function("own", "f", ["x"], ["y"], [node], opset, attribute_protos=[default])
    )
    return made


def in_training(part: str) -> Callable[[TensorProto], onnx.ModelProto]:
    def build(tensor: TensorProto) -> onnx.ModelProto:
        made = model()
        getattr(made.training_info.add(), part).CopyFrom(graph(initializer=tensor))
        return made

    return build


PLACES: dict[str, Callable[[TensorProto], onnx.ModelProto]] = {
    "initializer": in_initializer,
    "second initializer": in_second_initializer,
    "attribute": in_attribute,
    "attribute list": in_attribute_list,
    "sparse initializer, values": in_sparse_initializer("values"),
    "sparse initializer, indices": in_sparse_initializer("indices"),
    "sparse attribute": in_sparse_attribute,
    "sparse attribute list": in_sparse_attribute_list,
    "subgraph": nested(1),
    "subgraph of a subgraph": nested(2),
    "subgraph ten deep": nested(10),
    "graph list": in_graph_list,
    "function": in_function,
    "default of a function": in_function_default,
    "training, initialization": in_training("initialization"),
    "training, algorithm": in_training("algorithm"),
}


def tensors(message: Message) -> Iterator[TensorProto]:
    """The oracle: every tensor anywhere in a message, found by protobuf's own reflection."""
    if isinstance(message, TensorProto):
        yield message
    for field, held in message.ListFields():
        if field.message_type is not None:
            for child in [held] if isinstance(held, Message) else held:
                yield from tensors(child)


def is_external(message: onnx.ModelProto) -> bool:
    return any(
        t.data_location == TensorProto.EXTERNAL or len(t.external_data) for t in tensors(message)
    )


def passes(data: bytes) -> bool:
    try:
        check_self_contained(data, "some.onnx")
    except BundleError as error:
        text = str(error)
        assert text.startswith("some.onnx: ")
        assert "\n" not in text
        assert text.endswith(("do not use this bundle", "build or copy the bundle again"))
        return False
    return True


@pytest.mark.parametrize("place", PLACES)
def test_external_weights_are_found_wherever_a_tensor_may_stand(place: str) -> None:
    data = PLACES[place](external()).SerializeToString()
    assert is_external(onnx.load_from_string(data))
    with pytest.raises(
        BundleError,
        match=r"^some\.onnx: keeps weights in external files, expected all of them inside",
    ):
        check_self_contained(data, "some.onnx")


@pytest.mark.parametrize("place", PLACES)
def test_weights_inside_pass_at_the_same_places(place: str) -> None:
    made = PLACES[place](inline())
    assert not is_external(made)
    check_self_contained(made.SerializeToString(), "some.onnx")


@pytest.mark.parametrize("sign", ["location", "entry"])
def test_either_sign_of_external_data_is_enough(sign: str) -> None:
    tensor = inline()
    if sign == "location":
        tensor.data_location = TensorProto.EXTERNAL
    else:
        tensor.external_data.add(key="location", value="weights.bin")
    assert not passes(in_initializer(tensor).SerializeToString())


def test_a_data_location_that_says_inside_passes() -> None:
    tensor = inline()
    tensor.data_location = TensorProto.DEFAULT
    assert passes(in_initializer(tensor).SerializeToString())


def test_no_field_of_the_installed_onnx_that_leads_to_a_tensor_is_forgotten() -> None:
    # From the model's descriptor: the paths of message types that end at a tensor, each tried with
    # both kinds.
    leads: dict[str, bool] = {}

    def reaches(descriptor: Any, above: tuple[str, ...] = ()) -> bool:
        if descriptor.name == "TensorProto":
            return True
        if descriptor.name in above:
            return False
        below = [
            field.message_type for field in descriptor.fields if field.message_type is not None
        ]
        return any(reaches(kind, (*above, descriptor.name)) for kind in below)

    def walk(descriptor: Any, seen: set[str]) -> None:
        if descriptor.name in seen or descriptor.name == "TensorProto":
            return
        seen.add(descriptor.name)
        for field in descriptor.fields:
            if field.message_type is not None:
                leads[f"{descriptor.name}.{field.name}"] = reaches(field.message_type)
                walk(field.message_type, seen)

    walk(onnx.ModelProto.DESCRIPTOR, set())
    assert {name for name, leading in leads.items() if leading} == {
        "ModelProto.graph",
        "ModelProto.training_info",
        "ModelProto.functions",
        "TrainingInfoProto.initialization",
        "TrainingInfoProto.algorithm",
        "GraphProto.node",
        "GraphProto.initializer",
        "GraphProto.sparse_initializer",
        "FunctionProto.node",
        "FunctionProto.attribute_proto",
        "NodeProto.attribute",
        "AttributeProto.t",
        "AttributeProto.g",
        "AttributeProto.tensors",
        "AttributeProto.graphs",
        "AttributeProto.sparse_tensor",
        "AttributeProto.sparse_tensors",
        "SparseTensorProto.values",
        "SparseTensorProto.indices",
    }


TENSORS = st.builds(lambda outside: external() if outside else inline(), st.booleans())
BUILDERS = st.sampled_from([*PLACES.values()])


@settings(deadline=None)
@given(st.lists(st.tuples(BUILDERS, TENSORS), min_size=1, max_size=4), st.booleans())
def test_models_put_together_pass_exactly_when_the_oracle_finds_nothing_external(
    parts: list[tuple[Any, TensorProto]], concatenated: bool
) -> None:
    # Concatenated messages are one message to protobuf, with repeated fields appended and single
    # ones merged.
    if concatenated:
        data = b"".join(build(tensor).SerializeToString() for build, tensor in parts)
    else:
        merged = onnx.ModelProto()
        for build, tensor in parts:
            merged.MergeFrom(build(tensor))
        data = merged.SerializeToString()
    assert passes(data) == (not is_external(onnx.load_from_string(data)))


def test_the_models_of_a_real_bundle_pass(tiny_bundle: Any) -> None:
    files = read_bundle(tiny_bundle).files
    for name in ("fp32.onnx", "int8.onnx"):
        assert passes(files[name])


@settings(deadline=None, max_examples=400)
@given(st.binary(max_size=200))
def test_random_bytes_pass_or_are_a_bundle_error(data: bytes) -> None:
    passes(data)


@settings(deadline=None, max_examples=400)
@given(BUILDERS, st.data())
def test_a_damaged_model_with_external_weights_never_reaches_the_runtime_with_them(
    build: Any, data: st.DataObject
) -> None:
    whole = bytearray(build(external()).SerializeToString())
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(whole)))
    damaged = bytes(whole[: end or len(whole)])
    if passes(damaged):
        try:
            parsed = onnx.load_from_string(damaged)
        except DecodeError:
            return
        assert not is_external(parsed)


def varint(number: int) -> bytes:
    out = b""
    while number >= 0x80:
        out, number = out + bytes([number & 0x7F | 0x80]), number >> 7
    return out + bytes([number])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def test_a_field_number_that_a_32_bit_reader_would_cut_is_refused() -> None:
    # C++ readers keep the low 32 bits of a key: 2^32 + 58 would be field 7, the graph, to them
    # alone.
    body = in_initializer(external()).graph.SerializeToString()
    disguised = varint(1 << 32 | 7 << 3 | 2) + varint(len(body)) + body
    assert not passes(disguised)
    assert not passes(varint(2) + varint(len(body)) + body), "field 0 does not exist"


@pytest.mark.parametrize(
    "data",
    [
        b"\xff",
        b"\xff" * 11,
        b"\x3a",
        b"\x3a\x05abc",
        b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        b"\x0d\x00\x00",
        b"\x09\x00\x00\x00\x00",
        b"\x3b\x3c",
        b"\x3e",
        b"\x38\x01",
    ],
    ids=[
        "cut key",
        "long key",
        "no length",
        "short",
        "huge",
        "cut 32 bit",
        "cut 64 bit",
        "group",
        "wire 6",
        "graph as a number",
    ],
)
def test_what_is_no_protobuf_of_a_model_is_refused(data: bytes) -> None:
    with pytest.raises(
        BundleError,
        match=r"^some\.onnx: not a readable ONNX model; build or copy the bundle again$",
    ):
        check_self_contained(data, "some.onnx")


def test_unknown_fields_of_every_wire_type_are_stepped_over() -> None:
    unknown = (
        varint(900 << 3)
        + varint(7)
        + varint(901 << 3 | 1)
        + bytes(8)
        + varint(902 << 3 | 5)
        + bytes(4)
    )
    assert passes(unknown + field(903, b"\xff\xff") + model().SerializeToString())
    assert not passes(
        unknown + field(903, b"\xff\xff") + in_attribute(external()).SerializeToString()
    )


def test_endless_nesting_is_refused_without_a_recursion_error() -> None:
    body = b""
    for _ in range(20_000):
        body = field(1, field(5, field(6, body[:2_000_000])))
        if len(body) > 1_000_000:
            break
    assert not passes(field(7, body))


def test_a_model_of_many_tensors_is_walked_in_seconds() -> None:
    many = graph()
    many.initializer.extend(inline(f"w{i}") for i in range(20_000))
    data = model(many).SerializeToString()
    start = time.perf_counter()
    assert passes(data)
    assert time.perf_counter() - start < 10
