"""A face detector's model through LiteRT: pixels in, int8 rows out."""

import threading

import numpy as np
from numpy.typing import NDArray

from edgeemo.backends import check_inputs
from edgeemo.backends.litert import ends, info, open_interpreter
from edgeemo.contract.detector_bundle import DetectorBundle
from edgeemo.contract.input_spec import InputSpec
from edgeemo.contract.manifest import TensorInfo
from edgeemo.contract.quantize import PIXEL_QUANTIZATION, pixels_to_int8
from edgeemo.errors import BackendError

_PIXELS = (PIXEL_QUANTIZATION.scale, PIXEL_QUANTIZATION.zero_point)


class RowsModel:
    """An opened detector's model. Threads may share one; it runs for one of them at a time.

    Args:
        model: an int8 .tflite, uint8 pixels as int8 in, rows out.
        artifact: its name in messages.
        spec: its input.
        threads: of one inference.
        reference_kernels: LiteRT's plain kernels, the same bits on every machine, and slow.

    Raises:
        MissingDependency, BrokenDependency: no interpreter that works is installed.
        BackendError: it refuses the model, or its ends are no pixels and rows.
    """

    def __init__(
        self,
        model: bytes,
        artifact: str,
        spec: InputSpec,
        *,
        threads: int = 1,
        reference_kernels: bool = False,
    ) -> None:
        self.spec, self.artifact = spec, artifact
        kernels = "reference" if reference_kernels else "default"
        self._interpreter = open_interpreter(model, artifact, threads=threads, kernels=kernels)
        source, target = ends(self._interpreter)
        self._input, self._output = source["index"], target["index"]
        self.input_info, self.output_info = info(source), info(target)
        if self.input_info != TensorInfo((1, *spec.shape), "int8", *_PIXELS):
            raise BackendError(
                f"{artifact}: expected pixels of {(1, *spec.shape)} as int8, received "
                f"{self.input_info}"
            )
        if self.output_info.dtype != "int8" or len(self.output_info.shape) != 3:
            raise BackendError(f"{artifact}: expected int8 rows, received {self.output_info}")
        self._running = threading.Lock()

    def rows(self, pixels: NDArray[np.uint8]) -> NDArray[np.int8]:
        """int8 (cells, 5) of uint8 (H, W, C) pixels as `spec` has them. Raises BackendError."""
        check_inputs(pixels[np.newaxis], self.spec.shape)
        try:
            with self._running:
                self._interpreter.set_tensor(self._input, pixels_to_int8(pixels[np.newaxis]))
                self._interpreter.invoke()
                return np.asarray(self._interpreter.get_tensor(self._output)[0], np.int8)
        except (ValueError, RuntimeError) as error:
            raise BackendError(
                f"{self.artifact}: the interpreter fails while running it "
                f"({' '.join(str(error).split())[:200]})"
            ) from None


def open_rows(
    bundle: DetectorBundle, *, threads: int = 1, reference_kernels: bool = False
) -> RowsModel:
    """A detector bundle's model.

    Raises what RowsModel raises, and BackendError where its ends are not those of the manifest.
    """
    promised = bundle.manifest.artifact
    model = RowsModel(
        bundle.model,
        promised.file,
        bundle.manifest.input_spec,
        threads=threads,
        reference_kernels=reference_kernels,
    )
    if (model.input_info, model.output_info) != (promised.input, promised.output):
        raise BackendError(
            f"{promised.file}: expected {promised.input} and {promised.output}, received "
            f"{model.input_info} and {model.output_info}; do not use this bundle"
        )
    return model
