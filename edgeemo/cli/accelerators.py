"""What of NVIDIA's software ONNX models can run on here."""

from collections.abc import Iterator

from edgeemo.cli.checks import Check
from edgeemo.errors import EdgeemoError
from edgeemo.optional import is_installed, need

JETSON_INDEX = "https://pypi.jetson-ai-lab.io/jp6/cu126"
"""Where NVIDIA keeps what it builds for JetPack 6.1 and 6.2; PyPI has no GPU build for aarch64."""
_BUILD = f"pip uninstall -y onnxruntime && pip install --index-url {JETSON_INDEX} onnxruntime-gpu"


def accelerators() -> Iterator[Check]:
    """NVIDIA's execution providers of ONNX Runtime, and TensorRT; nothing where neither is missed.

    None of it is needed, so that nothing here is a problem.
    """
    from edgeemo.cameras.csi import machine

    if is_installed("onnxruntime"):
        yield from _providers(jetson=machine() == "jetson")
    if is_installed("tensorrt"):
        try:
            version = str(getattr(need("tensorrt", "jetson", ""), "__version__", "installed"))
            yield Check("TensorRT", "ok", version)
        except EdgeemoError as error:
            yield Check("TensorRT", "note", str(error).split("; run:")[0])


def _providers(*, jetson: bool) -> Iterator[Check]:
    from edgeemo.backends.onnx import GPU, choose_providers

    try:
        there = [name for name in choose_providers("auto") if name in GPU]
    except EdgeemoError:
        return  # the check of ONNX Runtime itself says it
    if there:
        short = " and ".join(name.removesuffix("ExecutionProvider") for name in there)
        yield Check("GPU", "ok", f'ONNX Runtime has {short}, for Recognizer(providers="auto")')
    elif jetson:
        yield Check(
            "GPU",
            "note",
            "this ONNX Runtime runs on the processor alone; NVIDIA's index has one for JetPack 6",
            _BUILD,
        )
