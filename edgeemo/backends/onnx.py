"""ONNX models through ONNX Runtime."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.backends import check_inputs
from edgeemo.contract.input_spec import DEFAULT_SPEC, InputSpec
from edgeemo.contract.labels import LABELS
from edgeemo.contract.onnx_guard import check_self_contained
from edgeemo.errors import BackendError, BundleError
from edgeemo.optional import need


class OnnxBackend:
    """A .onnx model with float32 raw pixels 0..255 (1 or N, 48, 48, 1) in and seven logits out.

    Raises:
        MissingDependency: ONNX Runtime is not installed.
        BackendError: it refuses the model or, later, fails while running it, or input or output are not as the contract
            says.
    """

    name = "onnxruntime"

    def __init__(self, model: bytes, artifact: str, spec: InputSpec = DEFAULT_SPEC, *, threads: int = 1) -> None:
        runtime = need("onnxruntime", "onnx", "to run ONNX models")
        try:
            check_self_contained(model, artifact)
        except BundleError as error:
            raise BackendError(str(error)) from None
        self.version = str(runtime.__version__)
        self.artifact, self.threads, self._shape = artifact, threads, spec.shape
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's own classes derive from Exception only
            raise BackendError(
                f"{artifact}: ONNX Runtime refuses the model ({' '.join(str(error).split())[:200]})"
            ) from None
        self._input = _checked_input(self._session, spec, artifact)

    def infer(self, inputs: NDArray[np.uint8]) -> NDArray[np.float32]:
        """float32 (N, 7) logits of uint8 (N, 48, 48, 1) raw grey pixels 0..255."""
        check_inputs(inputs, self._shape)
        logits = np.empty((len(inputs), len(LABELS)), np.float32)
        try:
            for i in range(len(inputs)):
                (logits[i : i + 1],) = self._session.run(None, {self._input: inputs[i : i + 1].astype(np.float32)})
        except Exception as error:  # as above
            raise BackendError(
                f"{self.artifact}: ONNX Runtime fails while running it ({' '.join(str(error).split())[:200]})"
            ) from None
        return logits


def _checked_input(session: Any, spec: InputSpec, artifact: str) -> str:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) == 1 and len(outputs) == 1:
        source, target = inputs[0], outputs[0]
        float_in_out = source.type == target.type == "tensor(float)"
        if float_in_out and list(source.shape) == [1, *spec.shape] and list(target.shape) == [1, len(LABELS)]:
            return str(source.name)
    raise BackendError(
        f"{artifact}: expected one float input of shape {[1, *spec.shape]} and one output of shape {[1, len(LABELS)]}, received "
        f"{[(t.type, t.shape) for t in [*inputs, *outputs]]}"
    )
