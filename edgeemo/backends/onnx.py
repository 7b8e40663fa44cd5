"""ONNX models through ONNX Runtime."""

import hashlib
import logging
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.backends import PLAIN, Providers, RuntimeOptions, check_inputs
from edgeemo.cache import cache_folder
from edgeemo.contract.bundle import Bundle
from edgeemo.contract.checked.onnx_guard import check_self_contained
from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.manifest import Artifact, Precision
from edgeemo.contract.quantize import looked_up, scaled_pixels
from edgeemo.errors import BackendError, BundleError, InvalidInput
from edgeemo.optional import need

TENSORRT, _CUDA, _CPU = (
    "TensorrtExecutionProvider",
    "CUDAExecutionProvider",
    "CPUExecutionProvider",
)
GPU = (TENSORRT, _CUDA)  # of NVIDIA, best first

Chosen = tuple[str, dict[str, Any]]  # a provider and its options

log = logging.getLogger("edgeemo.backend")


class OnnxBackend:
    """A .onnx model with float32 (1, H, W, C) in, as `spec` has it, and a logit for each label out.

    `providers` are the execution providers that are asked for, see `choose_providers`; the
    attribute says those that are used, best first. One that was named and does not start is an
    error, one that "auto" chose is left out with a warning. `precision` is the manifest's word for
    the model, which TensorRT must be told.

    Raises:
        MissingDependency: ONNX Runtime is not installed.
        InvalidInput: a provider that this installation does not have.
        BackendError: it refuses the model or, later, fails while running it, or a provider does not
            start, or input or output are not as the contract says.
    """

    name = "onnxruntime"

    def __init__(
        self,
        model: bytes,
        artifact: str,
        spec: InputSpec,
        labels: tuple[str, ...],
        options: RuntimeOptions = PLAIN,
        precision: Precision = Precision.FP32,
    ) -> None:
        runtime = _runtime()
        chosen = choose_providers(options.providers)
        try:
            check_self_contained(model, artifact)
        except BundleError as error:
            raise BackendError(str(error)) from None
        self.version = str(runtime.__version__)
        self.artifact, self.spec, self.labels = artifact, spec, labels
        self.threads = options.threads
        session = runtime.SessionOptions()
        session.intra_op_num_threads = options.threads
        session.inter_op_num_threads = 1
        session.log_severity_level = 3
        described = [
            (name, _tensorrt(model, precision) if name == TENSORRT else {}) for name in chosen
        ]
        self._session = _session(
            runtime, model, artifact, session, described, spare=options.providers == "auto"
        )
        self.providers = tuple(map(str, self._session.get_providers()))
        log.info("%s by onnxruntime %s with %s", artifact, self.version, ", ".join(self.providers))
        self._input = _checked_input(self._session, spec, len(labels), artifact)
        self._table = scaled_pixels(spec)

    def infer(self, inputs: NDArray[np.uint8]) -> NDArray[np.float32]:
        """float32 (N, labels) logits of uint8 (N, H, W, C) pixels 0..255."""
        check_inputs(inputs, self.spec.shape)
        logits = np.empty((len(inputs), len(self.labels)), np.float32)
        try:
            for i in range(len(inputs)):
                (logits[i : i + 1],) = self._session.run(
                    None, {self._input: looked_up(self._table, inputs[i : i + 1])}
                )
        except Exception as error:  # as above
            raise BackendError(
                f"{self.artifact}: ONNX Runtime fails while running it"
                f" ({' '.join(str(error).split())[:200]})"
            ) from None
        return logits


def open_artifact(bundle: Bundle, artifact: Artifact, options: RuntimeOptions) -> OnnxBackend:
    """A bundle's model by ONNX Runtime. Raises what `OnnxBackend` raises."""
    return OnnxBackend(
        bundle.files[artifact.file],
        artifact.file,
        bundle.spec,
        bundle.labels,
        options,
        artifact.precision,
    )


def choose_providers(wanted: Providers) -> list[str]:
    """The execution providers that `wanted` means: None is the CPU, "auto" TensorRT, CUDA and the
    CPU as far as this installation has them, and names are those names.

    Raises:
        MissingDependency: ONNX Runtime is not installed.
        InvalidInput: a name that this installation does not have.
    """
    if wanted is None:
        return [_CPU]
    available = [str(name) for name in _runtime().get_available_providers()]
    if wanted == "auto":
        return [name for name in (*GPU, _CPU) if name in available]
    names = [wanted] if isinstance(wanted, str) else list(wanted)
    unknown = [str(name) for name in names if name not in available]
    if unknown or not names:
        raise InvalidInput(
            f"expected auto or execution providers of {', '.join(available)}; received"
            f" {', '.join(unknown) or 'none'} (those of a GPU come with the package"
            " onnxruntime-gpu)"
        )
    return names


def _runtime() -> ModuleType:
    return need("onnxruntime", "onnx", "to run ONNX models")


def _session(
    runtime: ModuleType,
    model: bytes,
    artifact: str,
    options: Any,
    chosen: list[Chosen],
    *,
    spare: bool,
) -> Any:
    """A session on the chosen providers; with `spare`, on those that are left where the first of
    several fails.
    """
    try:
        # Its own fallback would print to stdout, and say nothing to us.
        session = runtime.InferenceSession(model, options, providers=chosen, enable_fallback=0)
    except Exception as error:  # ONNX Runtime's own classes derive from Exception only
        text = " ".join(str(error).split())[:200]
        if spare and len(chosen) > 1:
            log.warning("%s: %s does not start and is left out (%s)", artifact, chosen[0][0], text)
            return _session(runtime, model, artifact, options, chosen[1:], spare=True)
        raise BackendError(f"{artifact}: ONNX Runtime refuses the model ({text})") from None
    session.disable_fallback()
    if missing := [name for name, _ in chosen if name not in session.get_providers()]:
        text = (
            f"{artifact}: {', '.join(missing)} could not be started; does the GPU's software fit"
            " this onnxruntime?"
        )
        if not spare:
            raise BackendError(text)
        log.warning("%s Going on with %s", text, ", ".join(session.get_providers()))
    return session


def _tensorrt(model: bytes, precision: Precision) -> dict[str, Any]:
    """Numbers as the model has them, and engines kept, because to build one can take minutes.

    A folder for each model: TensorRT's provider takes two models of one structure for the same one.
    """
    numbers: dict[str, Any] = {
        "trt_fp16_enable": precision is not Precision.FP32,
        "trt_int8_enable": precision.is_integer,
    }
    folder = Path(cache_folder(), "tensorrt", hashlib.sha256(model).hexdigest()[:16])
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        log.info("%s: no engine is kept (%s)", folder, error.strerror)
        return numbers
    return numbers | {"trt_engine_cache_enable": True, "trt_engine_cache_path": str(folder)}


def _checked_input(session: Any, spec: InputSpec, classes: int, artifact: str) -> str:
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) == 1 and len(outputs) == 1:
        source, target = inputs[0], outputs[0]
        float_in_out = source.type == target.type == "tensor(float)"
        if (
            float_in_out
            and list(source.shape) == [1, *spec.shape]
            and list(target.shape) == [1, classes]
        ):
            return str(source.name)
    raise BackendError(
        f"{artifact}: expected one float input of shape {[1, *spec.shape]} and one output of shape"
        f" {[1, classes]}, received {[(t.type, t.shape) for t in [*inputs, *outputs]]}"
    )
