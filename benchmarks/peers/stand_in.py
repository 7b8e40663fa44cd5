"""DeepFace's emotion network with drawn weights, because its own are a download.

The layers are those of deepface/models/demography/tf/Emotion.py (0.0.103), the input is channels
last as its ONNX backend gives it. Time and memory are those of the network; its answers are not.
"""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Kind, then: filters and size; size and stride; outputs.
_LAYERS = (
    ("Conv", 64, 5),
    ("MaxPool", 5, 2),
    ("Conv", 64, 3),
    ("Conv", 64, 3),
    ("AveragePool", 3, 2),
    ("Conv", 128, 3),
    ("Conv", 128, 3),
    ("AveragePool", 3, 2),
    ("Flatten", 0, 0),
    ("Gemm", 1024, 0),
    ("Gemm", 1024, 0),
    ("Gemm", 7, 0),
)


def write_deepface(home: Path) -> None:
    """Put the network where DeepFace looks for it, with DEEPFACE_HOME set to `home`."""
    draw = np.random.default_rng(0)
    nodes = [helper.make_node("Transpose", ["pixels"], ["0"], perm=[0, 3, 1, 2])]
    tensors, channels, last = [], 1, "0"
    for number, (kind, first, second) in enumerate(_LAYERS, start=1):
        inputs, settings = [last], {}
        if kind in ("Conv", "Gemm"):
            shape = (first, channels, second, second) if kind == "Conv" else (channels, first)
            scale = (2 / (shape[0] if kind == "Gemm" else np.prod(shape[1:]))) ** 0.5
            for name, values in (
                (f"w{number}", draw.normal(0, scale, shape)),
                (f"b{number}", np.zeros(first)),
            ):
                tensors.append(numpy_helper.from_array(values.astype(np.float32), name))
                inputs.append(name)
            channels = first
        elif kind.endswith("Pool"):
            settings = {"kernel_shape": [first, first], "strides": [second, second]}
        last = f"{number}"
        nodes.append(helper.make_node(kind, inputs, [last], **settings))
        if kind == "Conv" or first == 1024:
            nodes.append(helper.make_node("Relu", [last], [last := f"relu{number}"]))
    nodes.append(helper.make_node("Softmax", [last], ["scores"], axis=1))
    graph = helper.make_graph(
        nodes,
        "stand-in",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 48, 48, 1])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["n", 7])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    file = home / ".deepface" / "weights" / "facial_expression_model_weights.onnx"
    file.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, file)
