"""Int8 .tflite files of one operator with any scales and zero points, written by the file's own
schema: what no converter makes is tested too, in milliseconds."""

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

from edgeemo.backends.litert import builtin_operators
from edgeemo.contract.quantize import Quantization

Shape = tuple[int, ...]
SIZE = Shape | NDArray[np.generic]
"""An activation's shape, or a constant."""


class File:
    """A .tflite in the making: tensors, then operators, from one input to one output."""

    def __init__(self) -> None:
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.subgraphs = 3, [self.graph]
        self.model.buffers, self.model.operatorCodes = [schema.BufferT()], []
        self.graph.tensors, self.graph.operators = [], []

    def tensor(
        self,
        shape: SIZE,
        quantization: Quantization | None = None,
        dtype: type[np.generic] = np.int8,
    ) -> int:
        """Add an activation or a constant; its number."""
        tensor = schema.TensorT()
        tensor.name = f"t{len(self.graph.tensors)}"
        tensor.buffer = 0
        if isinstance(shape, np.ndarray):
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(shape.tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            tensor.buffer, dtype = len(self.model.buffers) - 1, shape.dtype.type
            shape = shape.shape
        tensor.shape = np.array(shape, np.int32)
        kinds = {np.int8: "INT8", np.int32: "INT32", np.float32: "FLOAT32"}
        tensor.type = getattr(schema.TensorType, kinds[dtype])
        if quantization is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale = np.array([quantization.scale], np.float32)
            tensor.quantization.zeroPoint = np.array([quantization.zero_point], np.int64)
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def operator(
        self, kind: str, inputs: list[int], output: int, options: object = None, version: int = 2
    ) -> int:
        """Add an operator with its table of options; the number of its output."""
        code = schema.OperatorCodeT()
        code.builtinCode = next(n for n, name in builtin_operators().items() if name == kind)
        code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), version
        self.model.operatorCodes.append(code)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        operator.inputs, operator.outputs = inputs, [output]
        if options is not None:
            name = type(options).__name__.removesuffix("T")
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, name)
            operator.builtinOptions = options
        self.graph.operators.append(operator)
        return output

    def tflite(self, source: int, target: int) -> bytes:
        """The file, from one tensor to another."""
        self.graph.inputs, self.graph.outputs = [source], [target]
        builder = flatbuffers.Builder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def options(kind: str, **fields: object) -> object:
    """A table of options of the schema, with fields."""
    table = getattr(schema, f"{kind}OptionsT")()
    for name, value in fields.items():
        assert hasattr(table, name), name
        setattr(table, name, value)
    return table
