"""Models as other people's programs write them, of a network whose answers NumPy computes."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import cv2
import h5py
import keras
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from tests.other_inputs import EIGHT

NAMES, SPEC = EIGHT.names, EIGHT.spec
PER_CLASS = 70


def pictures(count: int, seed: int = 7) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """uint8 (N, 48, 48, 1) and their label numbers."""
    labels = np.arange(count) % len(NAMES)
    return EIGHT.pictures(labels, seed), labels


def scaled(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What the network's first layer takes: pixel / 127.5 - 1."""
    return np.asarray(images / 127.5 - 1, np.float32)


def write_pictures(path: Path, per_class: int = PER_CLASS, part: str = "") -> Path:
    """A zip of class folders; `part` stands above them."""
    images, labels = pictures(per_class * len(NAMES), seed=len(part))
    with zipfile.ZipFile(path, "w") as archive:
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            data = cv2.imencode(".png", image)[1].tobytes()
            archive.writestr(f"{part}{NAMES[label]}/{i:04}.png", data)
    return path


def keras_model(activation: str | None = "softmax", *, free: bool = False) -> keras.Model:
    """Means of the quadrants, and a dense layer: scaled pixels in, scores out."""
    height, width, _ = SPEC.shape
    source = keras.Input((None, None, 1) if free else SPEC.shape)
    x = keras.layers.AveragePooling2D((height // 2, width // 2))(source)
    x = keras.layers.Reshape((4,))(x)
    dense = keras.layers.Dense(len(NAMES), activation=activation)
    model = keras.Model(source, dense(x), name="theirs")
    dense.set_weights([EIGHT.weights.astype(np.float32), np.zeros(len(NAMES), np.float32)])
    return model


def sigmoid_model() -> keras.Model:
    """Whether the left half is brighter than the right one: x = 4 * (left - right), sigmoid."""
    height, width, _ = SPEC.shape
    source = keras.Input(SPEC.shape)
    x = keras.layers.Flatten()(keras.layers.AveragePooling2D((height, width // 2))(source))
    dense = keras.layers.Dense(1, activation="sigmoid")
    model = keras.Model(source, dense(x), name="two")
    dense.set_weights([np.array([[4.0], [-4.0]], np.float32), np.zeros(1, np.float32)])
    return model


def onnx_model(
    *, softmax: bool = True, opset: int = 17, kind: int = TensorProto.FLOAT, batch: Any = "batch"
) -> onnx.ModelProto:
    """As torch.onnx.export writes it: NCHW, a free batch, Flatten, Gemm with transB."""
    height, width, _ = SPEC.shape
    weights = EIGHT.weights.T.astype(np.float32)
    constants = [
        numpy_helper.from_array(weights, "fc.weight"),
        numpy_helper.from_array(np.zeros(len(NAMES), np.float32), "fc.bias"),
    ]
    side = [height // 2, width // 2]
    nodes = [
        helper.make_node("AveragePool", ["x"], ["/pool"], "/pool", kernel_shape=side, strides=side),
        helper.make_node("Flatten", ["/pool"], ["/flat"], "/flat", axis=1),
        helper.make_node("Gemm", ["/flat", "fc.weight", "fc.bias"], ["/fc"], "/fc", transB=1),
        helper.make_node("Softmax", ["/fc"], ["scores"], "/soft", axis=1),
    ]
    if kind != TensorProto.FLOAT:
        nodes.insert(0, helper.make_node("Cast", ["input"], ["x"], "/cast", to=TensorProto.FLOAT))
    else:
        nodes[0].input[0] = "input"
    if not softmax:
        nodes.pop()
        nodes[-1].output[0] = "scores"
    graph = helper.make_graph(
        nodes,
        "main_graph",
        [helper.make_tensor_value_info("input", kind, [batch, 1, height, width])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [batch, len(NAMES)])],
        constants,
    )
    imports = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=imports, ir_version=8, producer_name="pytorch")


def with_config(path: Path, out: Path, change: Any) -> Path:
    """A copy of a .keras or .h5 file whose parsed config `change` has changed, or replaced."""
    data = path.read_bytes()
    if data[:2] == b"PK":
        with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
            for name in old.namelist():
                content = old.read(name)
                if name == "config.json":
                    config = json.loads(content)
                    content = json.dumps(change(config) or config).encode()
                new.writestr(name, content)
        return out
    buffer = io.BytesIO(data)
    with h5py.File(buffer, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        file.attrs["model_config"] = json.dumps(change(config) or config)
    out.write_bytes(buffer.getvalue())
    return out
