"""The float network of a bundle, to train on.

A bundle's fp32.onnx holds the network with its normalization folded into the convolutions. Here
each normalization is made anew so that it gives back, on the training faces, what was folded: its
statistics are those that the convolution before it has there, gamma and beta undo them. So the
network computes the same, in inference and with a batch's own statistics, and can be trained on.
"""

from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.bundle import Bundle
from edgeemo.data.prepared import Prepared
from edgeemo.errors import BundleError, RunError
from edgeemo.optional import need
from training.fit.recipe import Recipe
from training.networks import NETWORKS
from training.runs.predict import predict

FP32 = "fp32.onnx"
_FACES = 6000  # that the statistics are of
# A folded network rounds in other places, and convolutions sum in another order.
_TOLERANCE = 0.05


def recipe_of(bundle: Bundle) -> Recipe:
    """A float recipe of the bundle's network, as far as its manifest tells.

    Raises:
        BundleError: it was not made by training here.
    """
    try:
        values = dict(bundle.manifest.training["recipe"])
        return Recipe(
            str(values["model"]),
            str(values["labels"]),
            epochs=1,
            seed=int(values["seed"]),
            # Bundles from before 0.4.0 say nothing of it and had not seen those pictures.
            with_validation=values.get("with_validation", False) is True,
        )
    except (KeyError, ValueError, TypeError) as error:
        raise _unknown(bundle, error) from None


def float_network(bundle: Bundle, data: Prepared, seed: int = 0) -> keras.Model:
    """The network of the bundle's fp32.onnx with its weights, for the bundle's own labels.

    Its logits are those that it was trained to, without the bundle's operating point. Its
    statistics are those of up to 6,000 training faces of `data`, which must be prepared for
    the bundle's input.

    Raises:
        BundleError: no fp32.onnx inside, or not one of our networks.
        RunError: the two do not answer the same.
    """
    if FP32 not in bundle.files:
        raise BundleError(
            f"{bundle.path}: expected a bundle with {FP32}, which holds the float weights, "
            f"received {', '.join(sorted(bundle.files))}; take one of the profile all"
        )
    try:
        model = NETWORKS.get(recipe_of(bundle).model)(bundle.spec, len(bundle.labels))
        rng = np.random.default_rng(seed)
        rows = np.sort(rng.permutation(data.indices("train"))[:_FACES])
        _fill(model, bundle, np.asarray(data.images[rows]))
    except (KeyError, ValueError, TypeError, StopIteration, IndexError) as error:
        raise _unknown(bundle, error) from None
    _check_same(model, bundle)
    if point := bundle.manifest.operating_point:
        dense = model.get_layer("logits")
        dense.set_weights(list(point.unfolded(*dense.get_weights())))
    return model


def _unknown(bundle: Bundle, error: Exception) -> BundleError:
    return BundleError(
        f"{bundle.path}: does not hold a network that training knows ({str(error)[:200]}); take "
        "one that `export build` made of a run"
    )


def _fill(model: keras.Model, bundle: Bundle, faces: NDArray[np.uint8]) -> None:
    onnx = need("onnx", "export", "to read a bundle's float model")
    graph = onnx.load_from_string(bundle.files[FP32]).graph
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    layers = [
        layer
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D)
    ]
    for layer, node in zip(layers, convolutions, strict=True):
        kernel, bias = _folded(node, graph, values)
        depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
        layer.set_weights([np.transpose(kernel, (2, 3, 0, 1) if depthwise else (2, 3, 1, 0))])
        before = keras.Model(model.inputs[0], layer.output)
        _undo(model.get_layer(f"{layer.name}_norm"), before, bias, faces)
    gemm = next(node for node in graph.node if node.op_type == "Gemm")
    matrix, bias = values[gemm.input[1]], values[gemm.input[2]]
    dense = model.get_layer("logits")
    dense.set_weights([matrix if matrix.shape == tuple(dense.kernel.shape) else matrix.T, bias])


def _folded(
    node: Any, graph: Any, values: dict[str, NDArray[Any]]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Kernel (outputs, inputs, height, width) and bias (outputs,) of a convolution with its
    normalization.

    tf2onnx leaves that of a depthwise convolution behind it, as a multiplication and an addition.
    """
    kernel = values[node.input[1]]
    if len(node.input) > 2:
        return kernel, values[node.input[2]]
    tensor, constants = node.output[0], []
    for kind in ("Mul", "Add"):
        after = next(
            other for other in graph.node if other.op_type == kind and tensor in other.input
        )
        constant = next(values[name] for name in after.input if name in values)
        constants.append(constant.reshape(-1))
        tensor = after.output[0]
    return kernel * constants[0].reshape(-1, 1, 1, 1), constants[1]


def _undo(
    norm: keras.layers.Layer,
    before: keras.Model,
    bias: NDArray[np.float32],
    faces: NDArray[np.uint8],
) -> None:
    """Make `norm` add `bias` and nothing else to what `before` gives for the faces."""
    count, total, squares = 0, np.zeros(len(bias)), np.zeros(len(bias))
    for start in range(0, len(faces), 256):
        values = keras.ops.convert_to_numpy(
            before(faces[start : start + 256].astype(np.float32), training=False)
        )
        flat = values.reshape(-1, len(bias)).astype(np.float64)
        count, total, squares = (
            count + len(flat),
            total + flat.sum(axis=0),
            squares + (flat**2).sum(axis=0),
        )
    mean = total / count
    variance = np.maximum(squares / count - mean**2, 0)
    norm.set_weights([np.sqrt(variance + norm.epsilon), mean + bias, mean, variance])


def _check_same(model: keras.Model, bundle: Bundle) -> None:
    selftest = bundle.selftest()
    difference = float(np.abs(predict(model, selftest.inputs) - selftest.logits[FP32]).max())
    if not difference <= _TOLERANCE * float(np.ptp(selftest.logits[FP32])):
        raise RunError(
            f"{bundle.path}: what was restored differs from its {FP32} by up to {difference:.3g}; "
            "restore another bundle"
        )
