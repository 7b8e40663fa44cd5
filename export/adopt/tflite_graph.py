"""A .tflite from elsewhere as our contract has it: float or int8 in, one logit a label out.

What stands at its ends (casts, softmax, sigmoid) is cut off or replaced; nothing between them is
touched, so that its numbers stay the same.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.backends.litert import builtin_operators, open_interpreter, parse_model, schema
from edgeemo.errors import BackendError, ModelError
from export.adopt.wanted import Notes, Scores, Wanted, check_outputs
from export.convert.tflite import packed

_SAME_VALUES = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")
# softmax([-x/2, x/2]) is [1 - sigmoid(x), sigmoid(x)].
TWO_LOGITS = np.array([[-0.5], [0.5]], np.float32)


def standard_tflite(tflite: bytes, name: str, wanted: Wanted, notes: Notes) -> tuple[bytes, Scores]:
    """The same network with logits for outputs, and what its own outputs are.

    Raises:
        ModelError: no .tflite, several graphs, inputs or outputs, operators that LiteRT has not, or
            ends that cannot be brought into the contract.
    """
    editor = _Editor(tflite, name)
    editor.fold_shapes()
    editor.cut_input_casts()
    scores = editor.cut_scores(wanted, notes)
    return editor.written(), scores


class _Editor:
    """The one graph of a model, changed at its ends."""

    def __init__(self, tflite: bytes, name: str) -> None:
        try:
            self.model = parse_model(tflite, name)
        except BackendError as error:
            raise ModelError(f"{error}{_way_out(str(error))}") from None
        self.tflite, self.name = tflite, name
        if len(self.model.subgraphs) != 1:
            raise ModelError(
                f"{name}: expected one graph, received {len(self.model.subgraphs)}: it branches "
                "or loops inside, which int8 cannot; export the network alone"
            )
        self.graph = self.model.subgraphs[0]
        for what, ends in (("input", self.graph.inputs), ("output", self.graph.outputs)):
            if len(ends) != 1:
                raise ModelError(
                    f"{name}: expected one {what}, received {len(ends)} "
                    f"({', '.join(self._names(ends))[:200]}); export the part that gives emotions"
                )
        self.kinds = builtin_operators()
        # Which signature names the ends no longer matters, and would contradict what is cut.
        self.model.signatureDefs = None

    def _names(self, numbers: Sequence[int]) -> Iterator[str]:
        for number in numbers:
            name = self.graph.tensors[int(number)].name
            yield (name or b"").decode(errors="replace")

    # What the graph is.

    def kind(self, operator: Any) -> str:
        """An operator's name."""
        code = self.model.operatorCodes[operator.opcodeIndex]
        return self.kinds.get(max(code.builtinCode, code.deprecatedBuiltinCode), "?")

    def maker(self, number: int) -> Any | None:
        """The operator that writes a tensor; None of the input and of constants."""
        return next((op for op in self.graph.operators if number in op.outputs), None)

    def readers(self, number: int) -> list[Any]:
        """The operators that read a tensor."""
        return [op for op in self.graph.operators if number in op.inputs]

    @property
    def input(self) -> int:
        """Number of the input tensor."""
        return int(self.graph.inputs[0])

    @property
    def output(self) -> int:
        """Number of the output tensor."""
        return int(self.graph.outputs[0])

    def type_of(self, number: int) -> str:
        """Name of a tensor's element type, such as FLOAT32."""
        kind = self.graph.tensors[number].type
        return str(next(word for word, value in vars(schema().TensorType).items() if value == kind))

    # What is changed.

    def fold_shapes(self) -> None:
        """Make constants of what follows from shapes alone: with a batch of one they are known.

        A free batch makes converters compute the shape of a RESHAPE from that of its input.
        """
        static = {
            int(number)
            for operator in self.graph.operators
            if self.kind(operator) == "SHAPE"
            for number in operator.outputs
        }
        if static:
            self._fold(static)
        for tensor in self.graph.tensors:
            tensor.shapeSignature = None

    def _fold(self, static: set[int]) -> None:
        folded = []
        for operator in self.graph.operators:
            inputs = [int(number) for number in operator.inputs if number >= 0]
            known = [n for n in inputs if n in static or self.constant(n) is not None]
            if self.kind(operator) == "SHAPE" or len(known) == len(inputs):
                static |= {int(number) for number in operator.outputs}
                folded.append(operator)
        values = self._run_once()
        for number in static:
            buffer = schema().BufferT()
            buffer.data = np.frombuffer(values.get_tensor(number).tobytes(), np.uint8)
            self.model.buffers.append(buffer)
            tensor = self.graph.tensors[number]
            tensor.buffer = len(self.model.buffers) - 1
            tensor.shape = np.array(values.get_tensor(number).shape, np.int32)
        self.graph.operators = [op for op in self.graph.operators if op not in folded]

    def _run_once(self) -> Any:
        """An interpreter that has run on zeros and kept every tensor."""
        interpreter = open_interpreter(self.tflite, self.name, kernels="plain", keep_tensors=True)
        source = interpreter.get_input_details()[0]
        interpreter.set_tensor(source["index"], np.zeros(source["shape"], source["dtype"]))
        interpreter.invoke()
        for details in interpreter.get_tensor_details():  # shapes that it has worked out
            self.graph.tensors[details["index"]].shape = np.asarray(details["shape"], np.int32)
        return interpreter

    def constant(self, number: int) -> NDArray[np.uint8] | None:
        """The bytes of a constant tensor; None of others."""
        data = self.model.buffers[self.graph.tensors[number].buffer].data
        return None if data is None or len(data) == 0 else np.asarray(data)

    def cut_input_casts(self) -> None:
        """Take what the first cast makes for the input: int8 of uint8, floats of pixels."""
        while True:
            readers = self.readers(self.input)
            if len(readers) != 1 or self.kind(readers[0]) not in ("CAST", "QUANTIZE", "DEQUANTIZE"):
                break
            self._check_lossless(readers[0])
            self.graph.inputs = np.array([readers[0].outputs[0]], np.int32)
            self.graph.operators.remove(readers[0])
        if self.type_of(self.input) not in ("FLOAT32", "INT8"):
            raise ModelError(
                f"{self.name}: expected an input of float32, int8 or uint8 that is cast, received "
                f"{self.type_of(self.input).lower()}; convert it again with TensorFlow 2 "
                "(uint8 inside is TensorFlow 1's quantization)"
            )

    def _check_lossless(self, cast: Any) -> None:
        """uint8 and int8 must mean the same numbers, 128 apart, for one to stand for the other."""
        before, after = (self.graph.tensors[int(n[0])] for n in (cast.inputs, cast.outputs))
        kinds = {self.type_of(int(cast.inputs[0])), self.type_of(int(cast.outputs[0]))}
        if kinds != {"UINT8", "INT8"}:
            return
        scales = [float(one.quantization.scale[0]) for one in (before, after)]
        zeros = [int(one.quantization.zeroPoint[0]) for one in (before, after)]
        if scales[0] != scales[1] or abs(zeros[0] - zeros[1]) != 128:
            raise ModelError(
                f"{self.name}: changes the scale between uint8 and int8, which loses something; "
                "convert it again with int8 inputs and outputs"
            )

    def cut_scores(self, wanted: Wanted, notes: Notes) -> Scores:
        """Make the output logits, (1, labels)."""
        self._cut_output_casts()
        last = self._last_with_values()
        kind = self.kind(last) if last is not None else ""
        outputs = int(np.prod(self.graph.tensors[self.output].shape))
        check_outputs(self.name, outputs, wanted, notes)
        scores = scores_of(self.name, kind, outputs, wanted, notes)
        if scores is Scores.SOFTMAX:
            assert last is not None
            self._remove(last)
        if outputs == 1:
            self._two_logits()
        elif list(self.graph.tensors[self.output].shape) != [1, outputs]:
            shape = self._added_constant(np.array([1, outputs], np.int32), "logits/shape")
            self._append("RESHAPE", None, [self.output, shape], outputs)
        return scores

    def _cut_output_casts(self) -> None:
        while (last := self.maker(self.output)) is not None:
            if self.kind(last) not in ("DEQUANTIZE", "QUANTIZE"):
                break
            self._check_lossless(last)
            self.graph.outputs = np.array([last.inputs[0]], np.int32)
            self.graph.operators.remove(last)

    def _last_with_values(self) -> Any | None:
        """The operator behind which only the shape changes."""
        last = self.maker(self.output)
        while last is not None and self.kind(last) in _SAME_VALUES:
            last = self.maker(int(last.inputs[0]))
        return last

    def _remove(self, softmax: Any) -> None:
        """Take the softmax or sigmoid out: who reads it reads what it reads."""
        if self.kind(softmax) == "SOFTMAX" and softmax.builtinOptions.beta != 1:
            raise ModelError(
                f"{self.name}: its softmax has beta {softmax.builtinOptions.beta:g}, expected 1; "
                "export the network without it"
            )
        before, after = int(softmax.inputs[0]), int(softmax.outputs[0])
        self.graph.operators.remove(softmax)
        for operator in self.graph.operators:
            operator.inputs = np.where(
                np.asarray(operator.inputs) == after, before, operator.inputs
            )
            if self.kind(operator) in _SAME_VALUES and before in operator.inputs:
                target = self.graph.tensors[int(operator.outputs[0])]
                target.quantization = self.graph.tensors[before].quantization
        if self.output == after:
            self.graph.outputs = np.array([before], np.int32)

    def _two_logits(self) -> None:
        if self.type_of(self.output) != "FLOAT32":
            raise ModelError(
                f"{self.name}: one int8 output cannot become two without loss; "
                "adopt the float model, of which int8 is made here"
            )
        options = schema().FullyConnectedOptionsT()
        weights = self._added_constant(TWO_LOGITS, "two_logits/weights")
        self._append("FULLY_CONNECTED", (8, options), [self.output, weights, -1], len(TWO_LOGITS))

    def _added_constant(self, values: NDArray[Any], name: str) -> int:
        buffer = schema().BufferT()
        buffer.data = np.frombuffer(values.tobytes(), np.uint8)
        self.model.buffers.append(buffer)
        kind = {"float32": "FLOAT32", "int32": "INT32"}[values.dtype.name]
        tensor = self._added_tensor(values.shape, getattr(schema().TensorType, kind), name)
        self.graph.tensors[tensor].buffer = len(self.model.buffers) - 1
        return tensor

    def _added_tensor(self, shape: Sequence[int], kind: int, name: str) -> int:
        tensor = schema().TensorT()
        tensor.shape, tensor.type, tensor.name = np.array(shape, np.int32), kind, name.encode()
        tensor.buffer = 0
        self.graph.tensors.append(tensor)
        return len(self.graph.tensors) - 1

    def _append(
        self, kind: str, options: tuple[int, Any] | None, inputs: list[int], outputs: int
    ) -> None:
        """Put an operator at the end, which makes the new output, (1, outputs)."""
        code, operator = schema().OperatorCodeT(), schema().OperatorT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema().BuiltinOperator, kind)
        code.version = 1
        self.model.operatorCodes.append(code)
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        if options is not None:
            operator.builtinOptionsType, operator.builtinOptions = options
        before = self.graph.tensors[self.output]
        target = self._added_tensor((1, outputs), before.type, "logits/output")
        self.graph.tensors[target].quantization = before.quantization
        operator.inputs = np.array(inputs, np.int32)
        operator.outputs = np.array([target], np.int32)
        self.graph.operators.append(operator)
        self.graph.outputs = np.array([target], np.int32)

    def written(self) -> bytes:
        """The model's bytes, tensors without a name numbered and each name there once."""
        seen: set[bytes] = set()
        for number, tensor in enumerate(self.graph.tensors):
            name = tensor.name or b"tensor"
            tensor.name = name if name not in seen else name + f".{number}".encode()
            seen.add(tensor.name)
        return packed(self.model, len(self.tflite))


def scores_of(name: str, last: str, outputs: int, wanted: Wanted, notes: Notes) -> Scores:
    """What the outputs are, by the last operator (TFLite's name of it) and by --scores.

    Raises ModelError: the two contradict each other, or several sigmoids.
    """
    if last == "LOGISTIC" and outputs > 1:
        raise ModelError(
            f"{name}: ends in {outputs} sigmoids, answers that exclude nothing; a bundle's scores "
            "are shares of 1: train it with a softmax"
        )
    inside = last in ("SOFTMAX", "LOGISTIC")
    if inside and wanted.scores is Scores.LOGITS:
        raise ModelError(
            f"{name}: ends in a {last.lower()}, so its outputs are no logits; leave --scores out"
        )
    if not inside and wanted.scores is Scores.SOFTMAX:
        raise ModelError(
            f"{name}: ends in {last or 'its input'} and not in a softmax that could be cut off; "
            "export the network with a plain softmax at its end, or without one"
        )
    if inside:
        notes.read.append(
            f"it ends in a {'softmax' if last == 'SOFTMAX' else 'sigmoid'}, which was cut off: "
            "a bundle's models give logits, and softmax is computed once, behind them"
        )
        return Scores.SOFTMAX
    if wanted.scores is None:
        notes.assumed.append("its outputs are logits (no softmax at its end)")
    return Scores.LOGITS


def _way_out(text: str) -> str:
    if "custom op" in text or "Flex" in text or "Select TensorFlow" in text:
        return (
            "; it has operators of its own or of TensorFlow (Flex): convert it again with "
            "TFLITE_BUILTINS alone, or adopt the Keras or ONNX file"
        )
    return "; expected a .tflite file as TensorFlow's converter writes it"
