"""Inference runtimes: the right numbers, and what happens where a runtime is absent, broken or
refuses.
"""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from edgeemo import FakeBackend
from edgeemo.backends import open_backend
from edgeemo.backends.litert import (
    LiteRtBackend,
    installed_interpreter,
    open_interpreter,
    timed_call,
)
from edgeemo.backends.onnx import OnnxBackend
from edgeemo.contract.bundle import Bundle, read_bundle
from edgeemo.contract.input_spec import DEFAULT_SPEC, Arithmetic, InputSpec
from edgeemo.contract.labels import LABELS
from edgeemo.contract.quantize import softmax
from edgeemo.errors import BackendError, BundleError, InvalidInput, UnknownLabel
from tests import support

ARTIFACTS = ["int8.tflite", "int8.onnx", "fp16.onnx", "fp32.onnx"]
pytestmark = pytest.mark.rounding

SHAPE = (1, 48, 48, 1)


@pytest.fixture(scope="module")
def bundle(tiny_bundle: Path) -> Bundle:
    return read_bundle(tiny_bundle)


@pytest.fixture(scope="module")
def pictures() -> np.ndarray:
    """uint8 (21, 48, 48, 1): both ends of the range, noise, and drawn faces of each class."""
    rng = np.random.default_rng(3)
    drawn = [support.drawn_picture(label, rng) for label in range(7) for _ in range(2)]
    noise = list(rng.integers(0, 256, (5, 48, 48), dtype=np.uint8))
    return np.stack(
        [np.zeros((48, 48), np.uint8), np.full((48, 48), 255, np.uint8), *noise, *drawn]
    )[..., np.newaxis]


@pytest.mark.parametrize(
    ("artifact", "tolerance"),
    [("fp32.onnx", 1e-4), ("fp16.onnx", 0.02), ("int8.tflite", 0.25), ("int8.onnx", 0.35)],
)
def test_logits_are_those_of_the_known_network(
    bundle: Bundle, pictures: np.ndarray, artifact: str, tolerance: float
) -> None:
    answered = open_backend(bundle, artifact).infer(pictures)
    assert answered.dtype == np.float32
    assert answered.shape == (len(pictures), 7)
    assert np.abs(answered - support.quadrant_logits(pictures)).max() < tolerance


@pytest.mark.parametrize("artifact", ARTIFACTS)
def test_each_picture_is_answered_alone(
    bundle: Bundle, pictures: np.ndarray, artifact: str
) -> None:
    backend = open_backend(bundle, artifact)
    together = backend.infer(pictures)
    one_by_one = np.concatenate(
        [backend.infer(pictures[i : i + 1]) for i in reversed(range(len(pictures)))]
    )[::-1]
    assert np.array_equal(together, one_by_one)


@pytest.mark.parametrize("artifact", ARTIFACTS)
def test_answers_do_not_depend_on_threads_or_memory_layout(
    bundle: Bundle, pictures: np.ndarray, artifact: str
) -> None:
    alone = open_backend(bundle, artifact).infer(pictures)
    backend = open_backend(bundle, artifact, threads=2)
    assert backend.threads == 2
    transposed = np.asfortranarray(pictures)
    assert not transposed.flags.c_contiguous
    assert np.array_equal(backend.infer(transposed), alone)


def test_int8_logits_are_whole_steps_of_the_output_scale(
    bundle: Bundle, pictures: np.ndarray
) -> None:
    described, _ = bundle.artifact("int8.tflite")
    assert described.output.scale is not None
    assert described.output.zero_point is not None
    steps = open_backend(bundle, "int8.tflite").infer(pictures) / np.float32(described.output.scale)
    stored = steps + described.output.zero_point
    assert np.abs(stored - np.round(stored)).max() < 1e-3
    assert -128 <= stored.min() <= stored.max() <= 127


def test_reference_kernels_answer_the_stored_self_test_exactly(bundle: Bundle) -> None:
    selftest = bundle.selftest()
    answered = open_backend(bundle, "int8.tflite", reference_kernels=True).infer(selftest.inputs)
    assert np.array_equal(answered, selftest.logits["int8.tflite"])


def test_backend_tells_who_it_is(bundle: Bundle) -> None:
    from importlib.metadata import version

    lite, runtime = open_backend(bundle, "int8.tflite"), open_backend(bundle, "int8.onnx")
    assert (lite.name, lite.version, lite.artifact) == (
        "ai-edge-litert",
        version("ai-edge-litert"),
        "int8.tflite",
    )
    assert (runtime.name, runtime.version, runtime.artifact) == (
        "onnxruntime",
        version("onnxruntime"),
        "int8.onnx",
    )
    assert installed_interpreter() == (lite.name, lite.version)


def test_int8_tflite_is_the_first_choice(bundle: Bundle) -> None:
    assert open_backend(bundle).artifact == "int8.tflite"


def test_unknown_artifact_is_refused_and_names_those_there_are(bundle: Bundle) -> None:
    with pytest.raises(
        BundleError, match=r"fp32\.onnx, int8\.onnx, int8\.tflite.*received 'int4\.tflite'"
    ):
        open_backend(bundle, "int4.tflite")


@pytest.mark.parametrize("threads", [0, -1])
def test_fewer_than_one_thread_is_refused(bundle: Bundle, threads: int) -> None:
    with pytest.raises(InvalidInput, match=f"expected at least 1 thread, received {threads}"):
        open_backend(bundle, threads=threads)


@pytest.mark.parametrize("artifact", ["int8.tflite", "fp32.onnx"])
@pytest.mark.parametrize(
    "inputs",
    [
        np.zeros(SHAPE, np.float32),
        np.zeros(SHAPE, np.int8),
        np.zeros((48, 48, 1), np.uint8),
        np.zeros((1, 48, 48), np.uint8),
        np.zeros((1, 48, 48, 3), np.uint8),
        np.zeros((1, 64, 64, 1), np.uint8),
        [[0]],
    ],
    ids=lambda inputs: f"{getattr(inputs, 'dtype', 'list')}{getattr(inputs, 'shape', '')}",
)
def test_inputs_of_another_kind_are_refused(
    bundle: Bundle, artifact: str, inputs: np.ndarray
) -> None:
    with pytest.raises(
        InvalidInput, match=r"expected uint8 inputs of shape \(N, 48, 48, 1\), received"
    ):
        open_backend(bundle, artifact).infer(inputs)


@pytest.mark.parametrize("artifact", ARTIFACTS)
def test_no_picture_gives_no_logits(bundle: Bundle, artifact: str) -> None:
    assert open_backend(bundle, artifact).infer(np.zeros((0, 48, 48, 1), np.uint8)).shape == (0, 7)


@pytest.mark.parametrize("kind", [LiteRtBackend, OnnxBackend])
@pytest.mark.parametrize("garbage", [b"", b"garbage", bytes(10_000), b"\xff" * 500])
def test_garbage_is_refused(kind: type, garbage: bytes) -> None:
    with pytest.raises(BackendError, match="^broken: ") as caught:
        kind(garbage, "broken", DEFAULT_SPEC, LABELS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "artifact"), [(LiteRtBackend, "int8.tflite"), (OnnxBackend, "fp32.onnx")]
)
def test_cut_model_is_refused(bundle: Bundle, kind: type, artifact: str) -> None:
    model = bundle.files[artifact]
    with pytest.raises(BackendError, match="^broken: "):
        kind(model[: len(model) // 2], "broken", DEFAULT_SPEC, LABELS)


def keras_as_tflite(shape: tuple[int, ...], answers: int, dtype: str = "float32") -> bytes:
    """A .tflite of a network that sums its input and answers `answers` numbers."""
    import keras
    import tensorflow as tf

    from workstation.quiet import quiet

    pixels = keras.Input(batch_shape=(1, *shape), dtype=dtype)
    summed = keras.layers.Lambda(lambda x: tf.reduce_sum(tf.cast(x, tf.float32), axis=(1, 2, 3)))(
        pixels
    )
    model = keras.Model(pixels, keras.layers.Dense(answers)(keras.layers.Reshape((1,))(summed)))
    with quiet():
        return bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())


@pytest.mark.parametrize(
    ("shape", "answers", "dtype", "message"),
    [
        ((64, 64, 1), 7, "float32", r"expected an input of shape \(1, 48, 48, 1\).*64, 64, 1"),
        ((48, 48, 3), 7, "float32", r"expected an input of shape \(1, 48, 48, 1\).*48, 48, 3"),
        (
            (48, 48, 1),
            7,
            "int32",
            r"float32 or int8; received.*int32",
        ),
        ((48, 48, 1), 8, "float32", r"expected an output of shape \(1, 7\).*\(1, 8\)"),
    ],
)
def test_tflite_model_of_another_shape_or_dtype_is_refused(
    shape: tuple[int, ...], answers: int, dtype: str, message: str
) -> None:
    with pytest.raises(BackendError, match=message):
        LiteRtBackend(keras_as_tflite(shape, answers, dtype), "other.tflite", DEFAULT_SPEC, LABELS)


def test_a_model_from_elsewhere_takes_the_scaled_pixels_in_its_own_int8() -> None:
    peer = support.shared("peers", "mini_xception_int8.tflite").read_bytes()
    with pytest.raises(BackendError, match=r"^peer: expected an input of shape \(1, 48, 48, 1\)"):
        LiteRtBackend(peer, "peer", DEFAULT_SPEC, LABELS)
    spec = InputSpec(64, 64, 1, (1 / 127.5,), (-1.0,), Arithmetic.RUNTIME)
    backend = LiteRtBackend(peer, "peer", spec, LABELS)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 1), np.uint8)
    interpreter = open_interpreter(peer, "peer")
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    (scale, zero_point), (step, zero) = source["quantization"], target["quantization"]
    assert (scale, zero_point) != (1.0, -128)
    real = (pixels.astype(np.float64) * (1 / 127.5) - 1) / scale
    nearest = np.copysign(
        np.floor(np.abs(real) + 0.5), real
    )  # ties away from zero, as TFLite has it
    stored = np.clip(nearest + zero_point, -128, 127)
    for i in range(3):
        interpreter.set_tensor(source["index"], stored[i : i + 1].astype(np.int8))
        interpreter.invoke()
        expected = (interpreter.get_tensor(target["index"])[0].astype(float) - zero) * step
        assert backend.infer(pixels[i : i + 1])[0] == pytest.approx(expected, abs=1e-6)


def onnx_model(
    nodes: list, inputs: list, outputs: list, constants: dict[str, np.ndarray] | None = None
) -> bytes:
    """The bytes of an ONNX model of opset 17; inputs and outputs as (name, ONNX type, shape)."""
    from onnx import helper, numpy_helper

    graph = helper.make_graph(
        nodes,
        "drawn",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()],
    )
    opset = [helper.make_opsetid("", 17)]
    return bytes(helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString())


def summing_onnx(shape: list, answers: int, kind: int = 1) -> bytes:
    from onnx import helper

    nodes = [
        helper.make_node("Cast", ["pixels"], ["real"], to=1),
        helper.make_node("Flatten", ["real"], ["flat"], axis=1),
        helper.make_node("ReduceSum", ["flat", "axis"], ["sum"], keepdims=1),
        helper.make_node("MatMul", ["sum", "weights"], ["logits"]),
    ]
    constants = {"axis": np.array([1]), "weights": np.ones((1, answers), np.float32)}
    return onnx_model(
        nodes, [("pixels", kind, shape)], [("logits", 1, [shape[0], answers])], constants
    )


@pytest.mark.parametrize(
    ("shape", "answers", "kind"),
    [
        ([1, 64, 64, 1], 7, 1),
        ([1, 1, 48, 48], 7, 1),
        (["n", 48, 48, 1], 7, 1),
        (list(SHAPE), 8, 1),
        (list(SHAPE), 7, 6),
    ],
)
def test_onnx_model_of_another_shape_or_dtype_is_refused(
    shape: list, answers: int, kind: int
) -> None:
    with pytest.raises(
        BackendError, match=r"other: expected one float input of shape \[1, 48, 48, 1\].*received"
    ):
        OnnxBackend(summing_onnx(shape, answers, kind), "other", DEFAULT_SPEC, LABELS)


def test_onnx_model_of_the_right_shape_is_taken() -> None:
    answered = OnnxBackend(summing_onnx(list(SHAPE), 7), "right", DEFAULT_SPEC, LABELS).infer(
        np.full((2, 48, 48, 1), 3, np.uint8)
    )
    assert (answered == 3 * 48 * 48).all()


def test_onnx_model_with_weights_in_other_files_is_refused(tmp_path: Path) -> None:
    import onnx

    model = onnx.load_from_string(summing_onnx(list(SHAPE), 7))
    onnx.external_data_helper.convert_model_to_external_data(
        model, size_threshold=0, location="outside.bin"
    )
    with pytest.raises(BackendError, match="keeps weights in external files"):
        OnnxBackend(model.SerializeToString(), "outside", DEFAULT_SPEC, LABELS)


def test_onnx_model_that_fails_while_running_is_a_backend_error() -> None:
    from onnx import helper

    nodes = [
        helper.make_node("Flatten", ["pixels"], ["flat"], axis=1),
        helper.make_node("ReduceMax", ["flat"], ["largest"], axes=[1], keepdims=0),
        helper.make_node("Cast", ["largest"], ["row"], to=7),
        helper.make_node("Gather", ["table", "row"], ["logits"], axis=0),
    ]
    table = {"table": np.tile(np.arange(3, dtype=np.float32)[:, np.newaxis], (1, 7))}
    backend = OnnxBackend(
        onnx_model(nodes, [("pixels", 1, SHAPE)], [("logits", 1, [1, 7])], table),
        "gather.onnx",
        DEFAULT_SPEC,
        LABELS,
    )
    assert (backend.infer(np.full(SHAPE, 2, np.uint8)) == 2).all()
    with pytest.raises(BackendError, match=r"^gather\.onnx: ONNX Runtime fails while running it"):
        backend.infer(np.full(SHAPE, 200, np.uint8))


def test_tflite_model_that_fails_while_running_is_a_backend_error() -> None:
    import tensorflow as tf

    from workstation.quiet import quiet

    table = np.tile(np.arange(3, dtype=np.float32)[:, np.newaxis], (1, 7))

    @tf.function(input_signature=[tf.TensorSpec(SHAPE, tf.float32)])
    def gather(pixels: object) -> object:
        return tf.reshape(tf.gather(table, tf.cast(tf.reduce_max(pixels), tf.int32)), (1, 7))

    with quiet():
        converter = tf.lite.TFLiteConverter.from_concrete_functions(
            [gather.get_concrete_function()]
        )
        backend = LiteRtBackend(bytes(converter.convert()), "gather.tflite", DEFAULT_SPEC, LABELS)
    assert (backend.infer(np.full(SHAPE, 2, np.uint8)) == 2).all()
    with pytest.raises(
        BackendError, match=r"^gather\.tflite: the interpreter fails while running it"
    ):
        backend.infer(np.full(SHAPE, 200, np.uint8))


def test_timed_call_runs_another_model(bundle: Bundle) -> None:
    call = timed_call(bundle.files["int8.tflite"], "other", threads=1)
    first = call()
    assert np.asarray(first).shape == (1, 7)
    assert np.array_equal(np.asarray(call()), np.asarray(first))


# What another installation would do, tried in a process of its own.

PICTURE = "np.random.default_rng(0).integers(0, 256, (4, 48, 48, 1), dtype=np.uint8)"
OPEN = f"""
import sys, numpy as np
from edgeemo.backends import open_backend
from edgeemo.contract.bundle import read_bundle
from edgeemo.errors import EdgeemoError
try:
    backend = open_backend(read_bundle(sys.argv[1]), *sys.argv[2:])
    print(backend.artifact, backend.name, *backend.infer({PICTURE}).ravel())
except EdgeemoError as error:
    print(type(error).__name__, error)
"""


def hiding(*packages: str) -> str:
    """Code that makes the packages look uninstalled."""
    return f"""
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {packages}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hidden())
"""


def fake_package(folder: Path, name: str, code: str, submodule: str = "") -> Path:
    package = folder / "fakes" / name
    package.mkdir(parents=True, exist_ok=True)
    (package / "__init__.py").write_text("" if submodule else code)
    if submodule:
        (package / f"{submodule}.py").write_text(code)
    return package.parent


def opened_elsewhere(
    tiny_bundle: Path, *arguments: str, hidden: tuple[str, ...] = (), fakes: Path | None = None
) -> str:
    """What OPEN prints in a process where packages are hidden or replaced by fakes."""
    environment = os.environ | ({"PYTHONPATH": str(fakes)} if fakes else {})
    code = (hiding(*hidden) if hidden else "") + OPEN
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny_bundle), *arguments],
        capture_output=True,
        text=True,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.strip()


def test_without_litert_the_onnx_model_answers(tiny_bundle: Path) -> None:
    printed = opened_elsewhere(tiny_bundle, hidden=("ai_edge_litert", "tflite_runtime")).split()
    assert printed[:2] == ["int8.onnx", "onnxruntime"]
    pictures = np.random.default_rng(0).integers(0, 256, (4, 48, 48, 1), dtype=np.uint8)
    answered = np.array(printed[2:], float).reshape(4, 7)
    assert np.abs(answered - support.quadrant_logits(pictures)).max() < 0.35


def test_without_litert_its_model_asked_for_by_name_says_what_to_install(tiny_bundle: Path) -> None:
    printed = opened_elsewhere(
        tiny_bundle, "int8.tflite", hidden=("ai_edge_litert", "tflite_runtime")
    )
    assert (
        printed == "MissingDependency no TFLite interpreter is installed; run: pip install"
        " 'edgeemo[litert]'"
    )


def test_without_any_runtime_the_message_says_what_to_install(tiny_bundle: Path) -> None:
    printed = opened_elsewhere(
        tiny_bundle, hidden=("ai_edge_litert", "tflite_runtime", "onnxruntime")
    )
    assert printed.startswith(
        "MissingDependency onnxruntime is needed to run ONNX models and is not installed"
    )
    assert printed.endswith("run: pip install 'edgeemo[onnx]'")


def test_folder_that_an_uninstall_left_behind_counts_as_not_installed(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "onnxruntime" / "capi").mkdir(parents=True)
    printed = opened_elsewhere(tiny_bundle, "int8.onnx", hidden=("nothing",), fakes=tmp_path)
    assert printed.startswith(
        "int8.onnx onnxruntime"
    )  # a real package further back wins over the empty folder
    code = (
        "from edgeemo.optional import is_installed; print(is_installed('leftover'),"
        " is_installed('json.decoder'))"
    )
    (tmp_path / "leftover").mkdir()
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
    )
    assert done.stdout.split() == ["False", "True"]


def test_broken_onnx_runtime_raises_with_the_reason(tiny_bundle: Path, tmp_path: Path) -> None:
    fakes = fake_package(
        tmp_path, "onnxruntime", "raise ImportError('libcudart.so.12: cannot open\\nmore')"
    )
    printed = opened_elsewhere(tiny_bundle, "int8.onnx", fakes=fakes)
    assert (
        printed == "BrokenDependency onnxruntime is installed but does not import (ImportError:"
        " libcudart.so.12: cannot open); run: pip install --force-reinstall 'edgeemo[onnx]'"
    )


@pytest.mark.parametrize("error", ["ImportError", "RuntimeError", "OSError"])
def test_broken_litert_raises_and_does_not_fall_through_to_onnx(
    tiny_bundle: Path, tmp_path: Path, error: str
) -> None:
    fakes = fake_package(
        tmp_path, "ai_edge_litert", f"raise {error}('built for another processor')"
    )
    printed = opened_elsewhere(tiny_bundle, fakes=fakes)
    assert printed.startswith("BrokenDependency ai_edge_litert is installed but does not import")
    assert f"({error}: built for another processor)" in printed


def test_litert_of_unknown_origin_works_without_a_version(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    code = (
        "import importlib.metadata as m\ndef gone(name): raise"
        " m.PackageNotFoundError(name)\nm.version = gone\n"
    )
    (tmp_path / "sitecustomize.py").write_text(code)
    assert opened_elsewhere(tiny_bundle, fakes=tmp_path).startswith("int8.tflite ai-edge-litert")


@pytest.mark.skipif(
    int(np.__version__.split(".")[0]) < 2, reason="tflite-runtime works with NumPy 1"
)
def test_tflite_runtime_with_numpy_2_is_refused_with_the_way_out(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    crash = "import os; os.abort()"  # as the real one does once an interpreter is made
    fakes = fake_package(tmp_path, "tflite_runtime", crash, submodule="interpreter")
    printed = opened_elsewhere(tiny_bundle, hidden=("ai_edge_litert",), fakes=fakes)
    assert printed.startswith(
        f"BrokenDependency tflite-runtime needs NumPy below 2 and this is {np.__version__}"
    )
    assert "pip install 'edgeemo[litert]'" in printed
    assert "pip install 'numpy<2'" in printed


# ONNX Runtime's execution providers. NVIDIA's need a GPU, which CI has not: a stand-in of the
# package has them.

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"


def test_onnx_models_run_on_the_processor_alone_unless_told_otherwise(bundle: Bundle) -> None:
    backend = open_backend(bundle, "int8.onnx")
    assert isinstance(backend, OnnxBackend)
    assert backend.providers == (CPU,)


def test_auto_takes_the_processor_and_the_quantized_model_where_no_gpu_is(
    bundle: Bundle, pictures: np.ndarray
) -> None:
    import onnxruntime

    if {CUDA, TENSORRT} & set(onnxruntime.get_available_providers()):
        pytest.skip("needs an ONNX Runtime without NVIDIA's providers")
    backend = open_backend(bundle, providers="auto")
    assert isinstance(backend, OnnxBackend)
    assert (backend.artifact, backend.providers) == ("int8.onnx", (CPU,))
    assert np.array_equal(
        backend.infer(pictures), open_backend(bundle, "int8.onnx").infer(pictures)
    )


def test_each_provider_that_is_there_can_be_named(bundle: Bundle) -> None:
    import onnxruntime

    for name in onnxruntime.get_available_providers():
        backend = open_backend(bundle, "fp32.onnx", providers=[name])
        assert isinstance(backend, OnnxBackend)
        assert name in backend.providers
    alone = open_backend(bundle, "fp32.onnx", providers=CPU)
    assert isinstance(alone, OnnxBackend)
    assert alone.providers == (CPU,)


@pytest.mark.parametrize("providers", [["WarpExecutionProvider", CPU], "cuda", []])
def test_unknown_provider_is_refused_and_names_those_there_are(
    bundle: Bundle, providers: object
) -> None:
    with pytest.raises(
        InvalidInput, match=f"expected auto or execution providers of .*{CPU}.*; received"
    ):
        open_backend(bundle, "fp32.onnx", providers=providers)  # type: ignore[arg-type]


def test_providers_for_a_tflite_model_are_refused(bundle: Bundle) -> None:
    with pytest.raises(
        InvalidInput, match="expected an ONNX model for execution providers, received int8.tflite"
    ):
        open_backend(bundle, "int8.tflite", providers="auto")


def test_providers_for_a_bundle_without_onnx_models_are_refused(bundle: Bundle) -> None:
    from dataclasses import replace

    held = tuple(artifact for artifact in bundle.manifest.artifacts if artifact.format == "tflite")
    with pytest.raises(
        BackendError, match="holds no ONNX model, and execution providers run no other"
    ):
        open_backend(
            replace(bundle, manifest=replace(bundle.manifest, artifacts=held)), providers="auto"
        )


def test_recognizer_passes_providers_on(tiny_bundle: Path) -> None:
    from edgeemo import Recognizer

    with Recognizer(tiny_bundle, detector="whole", providers="auto") as recognizer:
        assert isinstance(recognizer.backend, OnnxBackend)
    with pytest.raises(InvalidInput, match="received WarpExecutionProvider"):
        Recognizer(tiny_bundle, detector="whole", providers=["WarpExecutionProvider"])


STAND_IN = """
import os
__version__ = "9"
FAILING, SILENT = os.environ.get("FAILING", "").split(), os.environ.get("SILENT", "").split()
class SessionOptions: pass
class Value:
    type = "tensor(float)"
    def __init__(self, name, shape): self.name, self.shape = name, shape
class InferenceSession:
    def __init__(self, model, options, providers, enable_fallback):
        assert not enable_fallback
        for name, _ in providers:
            if name in FAILING:
                raise RuntimeError(f"{name}: libnvinfer.so.10: cannot open\\nmore")
        self.started = [name for name, _ in providers if name not in SILENT]
        for name, settings in providers:
            pairs = (f"{key}={value}" for key, value in settings.items())
            print("asked for", name, *pairs, sep="|")
    def disable_fallback(self): pass
    def get_providers(self):
        cpu = "CPUExecutionProvider"
        return self.started + ([] if cpu in self.started else [cpu])
    def get_inputs(self): return [Value("pixels", [1, 48, 48, 1])]
    def get_outputs(self): return [Value("logits", [1, 7])]
def get_available_providers():
    return [f"{name}ExecutionProvider" for name in ("Tensorrt", "CUDA", "CPU")]
"""
OPEN_ON = """
import json, logging, sys
from edgeemo.backends import open_backend
from edgeemo.contract.bundle import read_bundle
from edgeemo.errors import EdgeemoError
logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
artifact, providers = map(json.loads, sys.argv[2:])
try:
    backend = open_backend(read_bundle(sys.argv[1]), artifact, providers=providers)
    print(backend.artifact, *backend.providers)
except EdgeemoError as error:
    print(type(error).__name__, error)
"""


def opened_on_gpu(
    tiny_bundle: Path,
    tmp_path: Path,
    providers: object,
    artifact: str | None = None,
    **trouble: str,
) -> list[str]:
    """The lines that OPEN_ON prints where ONNX Runtime is the stand-in."""
    import json

    fakes = fake_package(tmp_path, "onnxruntime", STAND_IN)
    environment = (
        os.environ | {"PYTHONPATH": str(fakes), "XDG_CACHE_HOME": str(tmp_path / "cache")} | trouble
    )
    command = [
        sys.executable,
        "-c",
        OPEN_ON,
        str(tiny_bundle),
        json.dumps(artifact),
        json.dumps(providers),
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_auto_takes_tensorrt_cuda_and_the_processor_and_the_half_precision_model(
    tiny_bundle: Path, bundle: Bundle, tmp_path: Path
) -> None:
    tensorrt, cuda, cpu, opened = opened_on_gpu(tiny_bundle, tmp_path, "auto")
    assert opened == f"fp16.onnx {TENSORRT} {CUDA} {CPU}"
    assert (cuda, cpu) == (f"asked for|{CUDA}", f"asked for|{CPU}")
    _, name, *settings = tensorrt.split("|")
    assert name == TENSORRT
    folder = (
        tmp_path / "cache" / "edgeemo" / "tensorrt" / bundle.artifact("fp16.onnx")[0].sha256[:16]
    )
    assert folder.is_dir()
    expected = ["trt_fp16_enable=True", "trt_int8_enable=False", "trt_engine_cache_enable=True"]
    assert settings == [*expected, f"trt_engine_cache_path={folder}"]


@pytest.mark.parametrize(
    ("artifact", "half", "integer"),
    [("fp32.onnx", False, False), ("fp16.onnx", True, False), ("int8.onnx", True, True)],
)
def test_tensorrt_computes_in_the_numbers_that_the_model_has(
    tiny_bundle: Path, tmp_path: Path, artifact: str, half: bool, integer: bool
) -> None:
    asked, _ = opened_on_gpu(tiny_bundle, tmp_path, [TENSORRT], artifact)
    assert f"|trt_fp16_enable={half}|trt_int8_enable={integer}|" in asked


def test_engines_are_not_kept_where_the_cache_cannot_be_written(
    tiny_bundle: Path, tmp_path: Path
) -> None:
    (tmp_path / "cache").write_text("in the way")
    asked, opened = opened_on_gpu(tiny_bundle, tmp_path, [TENSORRT], "fp16.onnx")
    assert "cache" not in asked
    assert opened.startswith("fp16.onnx")


@pytest.mark.parametrize("how", ["FAILING", "SILENT"])
def test_auto_warns_of_a_provider_that_does_not_start_and_goes_on(
    tiny_bundle: Path, tmp_path: Path, how: str
) -> None:
    *said, opened = opened_on_gpu(tiny_bundle, tmp_path, "auto", **{how: TENSORRT})
    assert opened == f"fp16.onnx {CUDA} {CPU}"
    assert [line for line in said if line.startswith("fp16.onnx: TensorrtExecutionProvider ")] != []


@pytest.mark.parametrize("how", ["FAILING", "SILENT"])
def test_auto_takes_the_quantized_model_where_no_gpu_starts(
    tiny_bundle: Path, tmp_path: Path, how: str
) -> None:
    assert (
        opened_on_gpu(tiny_bundle, tmp_path, "auto", **{how: f"{TENSORRT} {CUDA}"})[-1]
        == f"int8.onnx {CPU}"
    )


def test_tensorrt_gets_the_quantized_model_that_it_takes(
    jetson_bundle: Path, tmp_path: Path
) -> None:
    asked, *_, opened = opened_on_gpu(jetson_bundle, tmp_path, "auto")
    assert opened == f"int8.onnx {TENSORRT} {CUDA} {CPU}"
    assert "|trt_fp16_enable=True|trt_int8_enable=True|" in asked
    assert opened_on_gpu(jetson_bundle, tmp_path, [CUDA, CPU])[-1] == f"fp16.onnx {CUDA} {CPU}"
    *_, opened = opened_on_gpu(jetson_bundle, tmp_path, "auto", "fp16.onnx")
    assert opened == f"fp16.onnx {TENSORRT} {CUDA} {CPU}"


@pytest.mark.parametrize("how", ["FAILING", "SILENT"])
def test_without_tensorrt_cuda_gets_the_half_precision_model(
    jetson_bundle: Path, tmp_path: Path, how: str
) -> None:
    *said, opened = opened_on_gpu(jetson_bundle, tmp_path, "auto", **{how: TENSORRT})
    assert opened == f"fp16.onnx {CUDA} {CPU}"
    assert len([line for line in said if f"{TENSORRT} " in line]) == 1  # it is tried once
    *_, opened = opened_on_gpu(jetson_bundle, tmp_path, "auto", **{how: f"{TENSORRT} {CUDA}"})
    assert opened == f"int8.onnx {CPU}"


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("FAILING", "cannot open more"),
        ("SILENT", f"{CUDA} could not be started; does the GPU's software fit"),
    ],
)
def test_named_provider_that_does_not_start_is_an_error(
    tiny_bundle: Path, tmp_path: Path, how: str, message: str
) -> None:
    printed = opened_on_gpu(tiny_bundle, tmp_path, [CUDA], "fp16.onnx", **{how: CUDA})[-1]
    assert printed.startswith("BackendError fp16.onnx: ")
    assert message in printed


# LiteRT's greeting on stderr.

GREETED = """
import os, sys
from ai_edge_litert.interpreter import Interpreter
from edgeemo.contract.bundle import read_bundle
model = read_bundle(sys.argv[1]).files["int8.tflite"]
Interpreter(model_content=model).allocate_tensors()
"""


def stderr_of(code: str, tiny_bundle: Path, **options: object) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny_bundle)],
        capture_output=True,
        text=True,
        check=True,
        **options,
    )  # type: ignore[call-overload]
    return str(done.stderr)


def test_opening_a_model_writes_nothing_to_stderr_where_litert_alone_greets(
    tiny_bundle: Path,
) -> None:
    # A LiteRT that has learnt to be silent would be as good: then the holding back can go.
    assert stderr_of(GREETED, tiny_bundle) in (
        "INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n",
        "",
    )
    assert stderr_of(OPEN, tiny_bundle) == ""


def test_what_else_is_written_while_a_model_opens_reaches_stderr(tiny_bundle: Path) -> None:
    code = """
import os, subprocess, sys, threading
from edgeemo.backends.litert import _without_greeting
with _without_greeting():
    os.write(2, b"before\\nINFO: Created TensorFlow Lite XNNPACK delegate for CPU.\\n")
    print("after", file=sys.stderr)
    subprocess.run(["sh", "-c", "echo child >&2"])
os.write(2, b"end\\n")
try:
    with _without_greeting():
        print("held", file=sys.stderr)
        raise ValueError
except ValueError:
    print("again", file=sys.stderr)
"""
    assert stderr_of(code, tiny_bundle) == "before\nafter\nchild\nend\nheld\nagain\n"


def test_opening_a_model_needs_no_stderr(tiny_bundle: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" 2>&-', "sh", sys.executable, "-c", OPEN, str(tiny_bundle)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("int8.tflite ai-edge-litert")


def test_models_opened_by_many_threads_leave_stderr_as_it_was(bundle: Bundle) -> None:
    before = os.fstat(2)
    opened: list[object] = []
    threads = [
        threading.Thread(
            target=lambda: opened.append(open_interpreter(bundle.files["int8.tflite"], "x"))
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 8
    assert (os.fstat(2).st_dev, os.fstat(2).st_ino) == (before.st_dev, before.st_ino)


def test_opening_models_leaks_no_file_descriptor(bundle: Bundle) -> None:
    open_interpreter(bundle.files["int8.tflite"], "warm")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        open_interpreter(bundle.files["int8.tflite"], "x")
    assert len(os.listdir("/proc/self/fd")) == before


# The fake, which ships for applications' tests.


def test_fake_backend_answers_the_told_scores_and_spreads_the_rest() -> None:
    backend = FakeBackend(happy=0.7, sad=0.2)
    scores = softmax(backend.infer(np.zeros((3, 48, 48, 1), np.uint8)))
    expected = {"happy": 0.7, "sad": 0.2}
    for row in scores:
        assert row == pytest.approx([expected.get(label, 0.02) for label in LABELS], abs=1e-6)


def test_fake_backend_told_nothing_finds_all_seven_equal() -> None:
    assert softmax(FakeBackend().infer(np.zeros(SHAPE, np.uint8)))[0] == pytest.approx([1 / 7] * 7)


def test_fake_backend_told_certainty_is_certain() -> None:
    scores = softmax(FakeBackend(fear=1).infer(np.zeros(SHAPE, np.uint8)))[0]
    assert scores[LABELS.index("fear")] == pytest.approx(1, abs=1e-6)


def test_fake_backend_counts_the_faces_it_was_asked_about() -> None:
    backend = FakeBackend(happy=0.9)
    backend.infer(np.zeros((3, 48, 48, 1), np.uint8))
    backend.infer(np.zeros((2, 48, 48, 1), np.uint8))
    assert backend.calls == 5


def test_fake_backend_knows_other_words_for_labels_and_refuses_unknown_ones() -> None:
    assert softmax(FakeBackend(happiness=0.9).infer(np.zeros(SHAPE, np.uint8)))[
        0
    ].argmax() == LABELS.index("happy")
    with pytest.raises(UnknownLabel, match="expected one of angry, neutral.*received 'bored'"):
        FakeBackend(bored=0.5)


@pytest.mark.parametrize(
    "scores", [{"happy": 1.5}, {"happy": -0.1}, {"happy": 0.6, "sad": 0.6}, {"sad": float("nan")}]
)
def test_fake_backend_refuses_what_are_no_probabilities(scores: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match="expected scores of 0 to 1 that sum to at most 1"):
        FakeBackend(**scores)


def test_fake_backend_refuses_the_inputs_that_a_real_one_refuses() -> None:
    with pytest.raises(InvalidInput, match="expected uint8 inputs"):
        FakeBackend().infer(np.zeros(SHAPE, np.float32))
