"""Models that are not adopted: one line names the thing and the way out, and nothing is run."""

import contextlib
import io
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnx import TensorProto, helper
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from edgeemo.contract.input_spec import parse_size
from edgeemo.errors import InvalidInput, MissingFile, ModelError
from export.adopt.checks import check_same_scores
from export.adopt.read import read_model
from export.adopt.wanted import Notes, Scores, Wanted, scaling_of
from tests.foreign_models import NAMES, keras_model, onnx_model, with_config

WANTED = Wanted(NAMES)


class Planted:
    """Pickled code that leaves a trace where it is run."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return (Path.touch, (self.trace,))


def refusal(path: Path, wanted: Wanted = WANTED) -> str:
    with pytest.raises((ModelError, MissingFile, InvalidInput)) as caught:
        read_model(path, wanted, Notes())
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    return text


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("theirs") / "theirs.keras"
    keras_model().save(path)
    return path


@pytest.mark.parametrize("name", ["net.pt", "net.pth", "renamed.onnx"])
def test_pickles_are_never_read(name: str, tmp_path: Path) -> None:
    trace, path = tmp_path / "trace", tmp_path / name
    path.write_bytes(pickle.dumps(Planted(trace)))
    assert "never run here: in PyTorch, export it with torch.onnx.export" in refusal(path)
    with zipfile.ZipFile(path, "w") as archive:  # as torch.save writes since 1.6
        archive.writestr("net/data.pkl", pickle.dumps(Planted(trace)))
    assert "torch.onnx.export" in refusal(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("model.txt", b"hello", "expected a .keras, .h5, .onnx or .tflite file, or a SavedModel"),
        ("empty.onnx", b"", "empty; copy it again"),
        ("text.onnx", b"hello", "not a readable ONNX model"),
        ("frozen.pb", b"\x0a\x05", "TensorFlow 1 graph, which is not read; convert it"),
        ("text.keras", b"hello", "not what its ending says, or damaged"),
        ("noise.tflite", b"\x1c\x00\x00\x00TFL3" + bytes(64), "refuses the model"),
        ("cut.keras", b"PK\x03\x04" + bytes(20), "damaged or cut off"),
        ("cut.h5", b"\x89HDF\r\n\x1a\n" + bytes(64), "not a readable HDF5 file"),
    ],
)
def test_files_that_are_no_model(name: str, data: bytes, words: str, tmp_path: Path) -> None:
    (path := tmp_path / name).write_bytes(data)
    assert words in refusal(path)


def test_paths_that_lead_nowhere(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "none.keras")
    assert "a folder without saved_model.pb" in refusal(tmp_path)


def test_truncated_files_of_every_kind(theirs: Path, tmp_path: Path) -> None:
    onnx.save(onnx_model(), tmp_path / "net.onnx")
    for path in (theirs, tmp_path / "net.onnx"):
        data = path.read_bytes()
        (cut := tmp_path / f"cut{path.suffix}").write_bytes(data[: len(data) // 2])
        refusal(cut)


def test_labels_that_do_not_fit_the_outputs(theirs: Path) -> None:
    assert "has 8 outputs, --labels names 2 (a, b); name the classes" in refusal(
        theirs, Wanted(("a", "b"))
    )


def test_another_input_than_the_file_s(theirs: Path) -> None:
    wanted = Wanted(NAMES, parse_size("64x64-grey"))
    assert "expects an input of 48x48x1 (height x width x channels), --input says 64x64x1" in (
        refusal(theirs, wanted)
    )


def test_scores_that_contradict_the_file(theirs: Path, tmp_path: Path) -> None:
    logits = Wanted(NAMES, scores=Scores.LOGITS)
    assert "ends in a softmax, so its outputs are no logits" in refusal(theirs, logits)
    keras_model("sigmoid").save(path := tmp_path / "sigmoids.keras")
    assert "ends in 8 sigmoids, answers that exclude nothing" in refusal(path)


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_code_in_a_file_runs_only_when_asked(suffix: str, tmp_path: Path) -> None:
    inner = keras_model()
    source = keras.Input((48, 48, 1))
    model = keras.Model(source, inner(keras.layers.Lambda(lambda x: x * 1.0, name="odd")(source)))
    model.save(path := tmp_path / f"code.{suffix}")
    assert "its layers odd hold code, which is not run; if you trust" in refusal(path)
    adopted = read_model(path, Wanted(NAMES, trust_code=True), Notes())
    assert adopted.size.shape == (48, 48, 1)


def test_custom_layers_are_named_with_how_to_pass_them(tmp_path: Path) -> None:
    code = (
        "import keras\n"
        "class Doubled(keras.layers.Layer):\n"
        "    def call(self, x):\n"
        "        return x * 2\n"
    )
    (file := tmp_path / "their_layers.py").write_text(code)
    names: dict[str, Any] = {"__name__": "their_layers"}
    exec(code, names)
    source = keras.Input((48, 48, 1))
    doubled = names["Doubled"](name="strange")(source)
    keras.Model(source, keras_model()(doubled)).save(path := tmp_path / "custom.keras")
    assert "Keras does not have: Doubled (strange); give the Python file" in refusal(path)
    read_model(path, Wanted(NAMES, custom=(str(file),)), Notes())
    file.write_text("1 / 0")
    with pytest.raises(InvalidInput, match="--custom .*their_layers.py: cannot be run"):
        read_model(path, Wanted(NAMES, custom=(str(file),)), Notes())


def test_a_class_of_another_module_is_not_imported(theirs: Path, tmp_path: Path) -> None:
    def change(config: dict[str, Any]) -> None:
        config["config"]["layers"][1] |= {"module": "subprocess", "class_name": "Popen"}

    assert "Popen" in refusal(with_config(theirs, tmp_path / "planted.keras", change))


def test_several_inputs_and_outputs_are_named(tmp_path: Path) -> None:
    a, b = keras.Input((48, 48, 1), name="left"), keras.Input((48, 48, 1), name="right")
    both = keras_model()(keras.layers.Add()([a, b]))
    keras.Model([a, b], both).save(path := tmp_path / "two.keras")
    assert "expected one input, received 2 (left, right)" in refusal(path)
    heads = [keras.layers.Dense(8, name=name)(keras.layers.Flatten()(a)) for name in "mn"]
    keras.Model(a, heads).save(path)
    assert "expected one output, received 2" in refusal(path)


def test_weights_that_lie_elsewhere_are_not_read(theirs: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(theirs) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    buffer = io.BytesIO(files["model.weights.h5"])
    with h5py.File(buffer, "r+") as file:
        file["planted"] = h5py.ExternalLink("/etc/hostname", "/")
    with zipfile.ZipFile(path := tmp_path / "linked.keras", "w") as archive:
        for name, data in (files | {"model.weights.h5": buffer.getvalue()}).items():
            archive.writestr(name, data)
    assert "'/planted' lies in another file; do not use this model" in refusal(path)

    model = onnx_model()
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/hostname")
    tensor.ClearField("raw_data")
    (outside := tmp_path / "outside.onnx").write_bytes(model.SerializeToString())
    assert "expected a file beside it; do not use this model" in refusal(outside)


class Program(tf.Module):  # type: ignore[misc]
    """A network whose program does something beside."""

    def __init__(self, beside: Any) -> None:
        self.beside = beside

    @tf.function(input_signature=[tf.TensorSpec((1, 48, 48, 1), tf.float32)])
    def serve(self, x: Any) -> Any:
        return tf.zeros((1, 8)) + tf.cast(self.beside(x), tf.float32) + tf.reduce_mean(x)


def program(beside: Any, folder: Path) -> Path:
    """The SavedModel of such a program."""
    module = Program(beside)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.serve})
    return folder


def planted(x: Any, trace: Path) -> Any:
    """What writes a file when it runs."""
    with tf.control_dependencies([tf.io.write_file(str(trace), "here")]):
        return tf.reduce_max(x)


def saved(x: Any, trace: Path) -> Any:
    """What writes a checkpoint when it runs."""
    tf.raw_ops.SaveV2(prefix=str(trace), tensor_names=["x"], shape_and_slices=[""], tensors=[x])
    return tf.reduce_max(x)


def length_of(x: Any, file: str) -> Any:
    return tf.strings.length(tf.io.read_file(file))


@pytest.mark.parametrize(
    ("operator", "beside"),
    [
        ("ReadFile", lambda x, _: length_of(x, "/etc/hostname")),
        ("WriteFile", planted),
        ("SaveV2", saved),
        ("RestoreV2", lambda _, trace: tf.raw_ops.RestoreV2(
            prefix=str(trace), tensor_names=["x"], shape_and_slices=[""], dtypes=[tf.float32])[0]),
        ("EagerPyFunc", lambda x, _: tf.py_function(tf.reduce_max, [x], tf.float32)),
        ("MatchingFiles", lambda _, trace: tf.size(tf.io.matching_files(str(trace)))),
        ("StringFormat", lambda x, _: tf.strings.length(tf.strings.format("{}", x))),
    ],
)  # fmt: skip
def test_a_saved_model_that_does_more_than_compute_is_not_loaded(
    operator: str, beside: Any, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    text = refusal(program(lambda x: beside(x, trace), tmp_path / "program"))
    assert f"its program has the operator '{operator}' (node '" in text
    assert "' of the function '__inference_serve_" in text
    assert "nothing of it was loaded; export the network alone with Keras' model.export" in text
    assert not list(tmp_path.glob("trace*"))


def test_a_function_that_others_call_may_not_save_under_any_name(tmp_path: Path) -> None:
    path = program(lambda x: tf.reduce_max(x), tmp_path / "program") / "saved_model.pb"
    message = SavedModel.FromString(path.read_bytes())
    functions = message.meta_graphs[0].graph_def.library.function
    serving = next(f for f in functions if f.signature.name.startswith("__inference_serve"))
    save = next(f for f in functions if "traced_save" in f.signature.name)
    call = serving.node_def.add(op="StatefulPartitionedCall", name="call")
    call.attr["f"].func.name = save.signature.name
    path.write_bytes(message.SerializeToString())
    assert "of the function '__inference__traced_save_" in refusal(path.parent)
    message.meta_graphs[0].ClearField("object_graph_def")
    path.write_bytes(message.SerializeToString())
    assert "a SavedModel of TensorFlow 1, which is not read" in refusal(path.parent)


def test_a_saved_model_in_training_mode_is_named(tmp_path: Path) -> None:
    variable = tf.Variable(1.0)
    module = Program(lambda x: variable.assign_add(tf.reduce_max(x)))
    module.variable = variable
    tf.saved_model.save(module, str(tmp_path), signatures={"serving_default": module.serve})
    assert "changes its variables while it answers, as batch normalization in training" in (
        refusal(tmp_path)
    )


def test_bombs_are_not_unpacked(theirs: Path, tmp_path: Path) -> None:
    data = bytearray(theirs.read_bytes())
    entry = data.rindex(b"PK\x01\x02")  # the directory's last record; its size unpacked is at 24
    data[entry + 24 : entry + 28] = struct.pack("<I", 1 << 31)
    (path := tmp_path / "bomb.keras").write_bytes(data)
    assert "unpacks to 2,147," in refusal(path)

    with h5py.File(path := tmp_path / "bomb.h5", "w") as file:
        file.attrs["model_config"] = "{}"
        file.create_dataset("w", (1 << 20, 1 << 12), "f4", chunks=(1024, 1024), compression="gzip")
    assert "claims more than" in refusal(path)


def test_onnx_of_strange_operators(tmp_path: Path) -> None:
    model = onnx_model()
    model.graph.node.append(
        helper.make_node("Strange", ["scores"], ["other"], "s", domain="their.own")
    )
    model.opset_import.append(helper.make_opsetid("their.own", 1))
    onnx.save(model, path := tmp_path / "strange.onnx")
    assert "has the operator Strange of 'their.own', which ONNX Runtime does not have" in (
        refusal(path)
    )


@pytest.mark.parametrize(
    ("words", "scale", "offset"),
    [
        (("1/127.5", "-1", None, None), [1 / 127.5], [-1]),
        (("1/255", None, None, None), [1 / 255], [0]),
        ((None, None, "127.5", "127.5"), [1 / 127.5], [-1]),
        ((None, None, "0.5", "0.25"), [1 / 63.75], [-2]),
        ((None, None, "0.485,0.456,0.406", "0.229,0.224,0.225"),
         [1 / 58.395, 1 / 57.12, 1 / 57.375], [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225]),
    ],
)  # fmt: skip
def test_scaling_as_the_command_line_says_it(
    words: tuple[str | None, ...], scale: list[float], offset: list[float]
) -> None:
    scaling = scaling_of(*words)
    assert scaling is not None
    assert np.allclose(scaling.scale, scale, rtol=1e-6)
    assert np.allclose(scaling.offset, offset, rtol=1e-6)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("1/0", None, None, None), "--scale: expected a number such as -1 or 1/127.5"),
        (("nan", None, None, None), "--scale: expected a number"),
        (("1", None, "0", None), "received both"),
        ((None, None, "1", "0"), "--std: expected numbers other than 0"),
        ((None, None, "1,2", "1,2,3"), "--mean: expected one number or 3, received 2"),
    ],
)
def test_scaling_that_is_none(words: tuple[str | None, ...], message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        scaling_of(*words)


def test_onnx_that_is_quantized_already(tmp_path: Path) -> None:
    model = onnx_model()
    names = [("scale", np.array(0.1, np.float32)), ("zero", np.array(0, np.int8))]
    for name, value in names:
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, name))
    make = helper.make_node
    model.graph.node[0].input[0] = "real"
    model.graph.node.insert(0, make("DequantizeLinear", ["stored", "scale", "zero"], ["real"]))
    model.graph.node.insert(0, make("QuantizeLinear", ["input", "scale", "zero"], ["stored"]))
    onnx.save(model, path := tmp_path / "int8.onnx")
    assert "is quantized already (QuantizeLinear); adopt the float model" in refusal(path)


def test_onnx_whose_names_or_second_file_are_damaged(tmp_path: Path) -> None:
    data = onnx_model().SerializeToString()
    (path := tmp_path / "names.onnx").write_bytes(data.replace(b"/pool", b"/po\xff\xfe"))
    assert "not a readable ONNX model" in refusal(path)
    onnx.save(
        onnx_model(),
        tmp_path / "out.onnx",
        save_as_external_data=True,
        location="w",
        size_threshold=0,
    )
    whole = (tmp_path / "out.onnx").read_bytes()
    for place in range(0, len(whole), 7):  # whatever it hits, it is a line
        changed = bytearray(whole)
        changed[place] ^= 0xFF
        (tmp_path / "changed.onnx").write_bytes(changed)
        with contextlib.suppress(ModelError):
            read_model(tmp_path / "changed.onnx", WANTED, Notes())


def test_sides_that_no_bundle_has_name_the_file(tmp_path: Path) -> None:
    model = onnx_model()
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 2**31
    onnx.save(model, path := tmp_path / "large.onnx")
    assert "expected an input of 8 to 512 pixels a side" in refusal(path)


def test_answers_that_are_not_finite(tmp_path: Path) -> None:
    model = onnx_model()
    weights = model.graph.initializer[0]
    nan = np.full(onnx.numpy_helper.to_array(weights).shape, np.nan, np.float32)
    weights.CopyFrom(onnx.numpy_helper.from_array(nan, weights.name))
    onnx.save(model, path := tmp_path / "nan.onnx")
    adopted = read_model(path, WANTED, Notes())
    pictures, logits = np.zeros((4, 48, 48, 1), np.uint8), np.zeros((4, 8), np.float32)
    with pytest.raises(ModelError, match=r"nan.onnx: answers numbers that are not finite to 4"):
        check_same_scores(adopted, adopted.size, pictures, logits)
