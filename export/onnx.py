"""Keras model -> fp32 ONNX -> int8 ONNX (QDQ)."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.cli.quiet import quiet
from edgeemo.errors import BackendError
from edgeemo.optional import need

OPSET = 17
_INPUT = "pixels"


def convert_fp32(model: Any) -> bytes:
    """fp32 ONNX of a Keras model: float32 (1, 48, 48, 1) raw pixels in, (1, 7) logits out. Raises BackendError."""
    keras = need("keras", "export", "to convert to ONNX")
    onnx = need("onnx", "export", "to write ONNX")
    signature = [keras.InputSpec(shape=(1, *model.input_shape[1:]), dtype="float32", name=_INPUT)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "fp32.onnx")
        try:
            with quiet():
                model.export(str(path), format="onnx", verbose=False, input_signature=signature, opset_version=OPSET)
        except Exception as error:  # tf2onnx raises ValueErrors, RuntimeErrors and its own
            raise BackendError(f"tf2onnx cannot convert {model.name} ({' '.join(str(error).split())[:300]})") from None
        exported = onnx.load(path)
    onnx.checker.check_model(exported)
    return bytes(exported.SerializeToString())


def convert_int8(fp32: bytes, calibration: NDArray[np.uint8]) -> bytes:
    """int8 QDQ ONNX: per-channel weights in 7 bits, activations int8, calibrated on uint8 (N, 48, 48, 1) pictures.

    Seven bits (`reduce_range`), because on x86-64 without VNNI the products of full 8-bit weights saturate (docs/stack.md).
    Raises BackendError.
    """
    quantization = need("onnxruntime.quantization", "export", "to quantize ONNX")
    shape_inference = need("onnxruntime.quantization.shape_inference", "export", "to quantize ONNX")

    with tempfile.TemporaryDirectory() as folder:
        source, folded, target = (Path(folder, name) for name in ("fp32.onnx", "folded.onnx", "int8.onnx"))
        source.write_bytes(fp32)
        try:
            with quiet():
                shape_inference.quant_pre_process(source, folded, skip_symbolic_shape=True)
                quantization.quantize_static(
                    folded,
                    target,
                    _Reader(fp32, calibration),
                    quant_format=quantization.QuantFormat.QDQ,
                    per_channel=True,
                    reduce_range=True,
                    activation_type=quantization.QuantType.QInt8,
                    weight_type=quantization.QuantType.QInt8,
                    calibrate_method=quantization.CalibrationMethod.MinMax,
                )
        except Exception as error:  # ONNX Runtime's own classes derive from Exception only
            raise BackendError(
                f"ONNX Runtime cannot quantize the model ({' '.join(str(error).split())[:300]})"
            ) from None
        return target.read_bytes()


def opset(model: bytes) -> int:
    """The opset of the default domain that an ONNX model states."""
    onnx = need("onnx", "export", "to read ONNX")
    imports = onnx.load_from_string(model).opset_import
    return int(next(entry.version for entry in imports if entry.domain in ("", "ai.onnx")))


class _Reader:
    """What quantize_static draws its calibration pictures from (its CalibrationDataReader protocol)."""

    def __init__(self, model: bytes, pictures: NDArray[np.uint8]) -> None:
        self._name = _input_name(model)
        self._pictures: Iterator[NDArray[np.uint8]] = iter(pictures)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        picture = next(self._pictures, None)
        return None if picture is None else {self._name: picture[np.newaxis].astype(np.float32)}


def _input_name(model: bytes) -> str:
    onnx = need("onnx", "export", "to read ONNX")
    return str(onnx.load_from_string(model).graph.input[0].name)
