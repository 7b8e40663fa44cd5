"""What the program of a SavedModel may hold: the operators that inference of a network needs.

A SavedModel is a graph of TensorFlow's operators, of which some read and write files, call Python
or other machines. So it is asked before anything of it is loaded whether each operator is on a list
of those that only compute.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgeemo.errors import ModelError

_ARITHMETIC = (
    "Abs Add AddN AddV2 BiasAdd BiasAddV1 Ceil ClipByValue Cos Div DivNoNan Erf Erfc Exp Expm1 "
    "Floor FloorDiv FloorMod Inv InvertPermutation IsFinite IsInf IsNan L2Loss Log Log1p Maximum "
    "Minimum Mod Mul MulNoNan Neg Pow RealDiv Reciprocal Rint Round Rsqrt Sign Sin Sqrt Square "
    "SquaredDifference Sub TruncateDiv TruncateMod Xdivy Xlogy"
)
_COMPARISONS = (
    "All Any Equal Greater GreaterEqual Less LessEqual LogicalAnd LogicalNot LogicalOr NotEqual "
    "Select SelectV2 Where ZerosLike OnesLike"
)
_LAYERS = (
    "AvgPool BatchMatMul BatchMatMulV2 BatchMatMulV3 Conv Conv2D Conv2DBackpropInput Conv2DV2 "
    "DepthwiseConv2dNative Einsum FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 LRN MatMul "
    "MaxPool MaxPoolV2 XlaConvV2 _FusedBatchNormEx _FusedConv2D _FusedMatMul"
)
_ACTIVATIONS = "Elu LeakyRelu LogSoftmax Relu Relu6 Selu Sigmoid Softmax Softplus Softsign Tanh"
_REDUCTIONS = "ArgMax ArgMin Cumsum EuclideanNorm Max Mean Min Prod Sum TopKV2"
_SHAPES = (
    "BatchToSpaceND BroadcastArgs BroadcastTo Cast Concat ConcatOffset ConcatV2 DepthToSpace "
    "EnsureShape ExpandDims Fill Gather GatherNd GatherV2 LinSpace MirrorPad OneHot Pack Pad PadV2 "
    "Range Rank Reshape Reverse ReverseV2 ScatterNd Shape ShapeN Size Slice SpaceToBatchND "
    "SpaceToDepth Split SplitV Squeeze StridedSlice Tile Transpose Unpack"
)
_PICTURES = (
    "AdjustContrastv2 CropAndResize ImageProjectiveTransformV2 ImageProjectiveTransformV3 "
    "ResizeArea ResizeBicubic ResizeBilinear ResizeNearestNeighbor RGBToHSV HSVToRGB "
    "ScaleAndTranslate"
)
_PLUMBING = (
    "Assert CheckNumerics Const Identity IdentityN If NoOp PartitionedCall Placeholder "
    "PlaceholderWithDefault PreventGradient Snapshot StatefulPartitionedCall StatelessIf "
    "StopGradient"
)
_VARIABLES = (
    "AssignAddVariableOp AssignSubVariableOp AssignVariableOp DestroyResourceOp DisableCopyOnRead "
    "ReadVariableOp ResourceGather VarHandleOp VarIsInitializedOp VariableShape"
)
# Of layers that do something in training alone (dropout, noise, augmentation), in functions that
# Keras saves too.
_DRAWS = (
    "Bitcast BitwiseAnd BitwiseOr BitwiseXor LeftShift RandomStandardNormal RandomUniform "
    "RandomUniformInt RightShift RngReadAndSkip RngSkip StatefulUniform "
    "StatelessRandomGetAlg StatelessRandomGetKeyCounter StatelessRandomNormal "
    "StatelessRandomNormalV2 StatelessRandomUniform StatelessRandomUniformInt "
    "StatelessRandomUniformIntV2 StatelessRandomUniformV2 TruncatedNormal"
)
ALLOWED = frozenset(
    f"{_ARITHMETIC} {_COMPARISONS} {_LAYERS} {_ACTIVATIONS} {_REDUCTIONS} {_SHAPES} {_PICTURES} "
    f"{_PLUMBING} {_VARIABLES} {_DRAWS} FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel "
    "FakeQuantWithMinMaxArgs".split()
)
"""Operators that only compute."""
_CHECKPOINTS = frozenset(
    (
        "MergeV2Checkpoints",
        "RestoreV2",
        "SaveV2",
        "ShardedFilename",
        "StaticRegexFullMatch",
        "StringJoin",
    )
)
_STRING = 7  # DT_STRING of tensorflow/core/framework/types.proto
_MADE_ANEW = (
    "export the network alone with Keras' model.export('DIR'), or make an ONNX file of it where "
    "you trust it (python -m tf2onnx.convert --saved-model DIR --output model.onnx) and adopt that"
)


def check_program(path: Path, message: Any) -> None:
    """Refuse what does more than compute, before it is loaded.

    `message` is what saved_model.pb of the folder `path` holds. Raises ModelError, which names the
    operator and its node.
    """
    if not message.meta_graphs or not message.meta_graphs[0].HasField("object_graph_def"):
        # Loading one runs its first graph, which reads its checkpoint itself.
        raise ModelError(f"{path}: a SavedModel of TensorFlow 1, which is not read; {_MADE_ANEW}")
    for meta in message.meta_graphs:
        functions = meta.graph_def.library.function
        names = {function.signature.name for function in functions}
        called = set(_called(functions))
        for node in meta.graph_def.node:
            _check(path, node, ALLOWED | names, "")
        for function in functions:
            own, name = ALLOWED | names, function.signature.name
            if name not in called and _takes_a_file_name(function):
                own |= _CHECKPOINTS
            for node in function.node_def:
                _check(path, node, own, name)


def _check(path: Path, node: Any, allowed: frozenset[str], function: str) -> None:
    if node.op in allowed:
        return
    where = f" of the function {function[:80]!a}" if function else ""
    raise ModelError(
        f"{path}: its program has the operator {node.op[:80]!a} (node {node.name[:80]!a}{where}), "
        "which inference of a network does not need here, so nothing of it was loaded; "
        f"{_MADE_ANEW}"
    )


def _takes_a_file_name(function: Any) -> bool:
    """Whether it is one that saves or restores variables: its first argument is text, which no
    picture can be given for.
    """
    arguments = function.signature.input_arg
    return bool(arguments) and arguments[0].type == _STRING


def _called(functions: Any) -> Iterator[str]:
    """Names of the functions that functions call."""
    for function in functions:
        for node in function.node_def:
            yield node.op
            for value in node.attr.values():
                yield value.func.name
                for one in value.list.func:
                    yield one.name
