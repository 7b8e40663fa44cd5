"""What `doctor` looks at: packages, backend, driver, GPU, memory, precisions, and a gradient step
against the chip's peak.
"""

import importlib.metadata
import os
import platform
import time
from collections.abc import Iterator
from statistics import median

import numpy as np

from edgeemo.cli.checks import Check
from edgeemo.cli.processor import cores, processor_features, processor_name
from edgeemo.contract.checked import strict
from edgeemo.contract.checked.counts import count_of
from edgeemo.contract.checked.reading import read_regular
from edgeemo.errors import EdgeemoError
from edgeemo.optional import install_line, is_installed
from training.machines.nvidia import OLDEST_DRIVER, Driver, Gpu, ask_driver, peak
from training.machines.seen import Seen, look, uses_cuda, why_idle
from workstation.keras_settings import BACKENDS, IGNORED, settings_file
from workstation.quiet import quiet

_SHOWN = ("keras", "tensorflow", "tensorflow-cpu", "torch", "jax", "jaxlib", "jax-cuda13-plugin",
          "jax-cuda12-plugin", "numpy")  # fmt: skip
# Of processors, and of the rest of a library's environment what changes speed or figures.
_BF16_FEATURES = ("avx512_bf16", "amx_bf16", "bf16")
_CHANGING = ("XLA_FLAGS", "NVIDIA_TF32_OVERRIDE", "JAX_DEFAULT_MATMUL_PRECISION",
             "XLA_PYTHON_CLIENT_PREALLOCATE", "XLA_PYTHON_CLIENT_MEM_FRACTION",
             "TF_ENABLE_ONEDNN_OPTS", "LD_LIBRARY_PATH")  # fmt: skip
_KERAS = {"floatx": "float32", "epsilon": 1e-07, "image_data_format": "channels_last"}
_FEW_MEGABYTES = 2000  # of a GPU's memory, with which `small` and a batch of 512 are comfortable
_STEPS, _TURNS = 5, 3


def diagnosis(steps: bool = True) -> Iterator[Check]:
    """All checks, in the order in which one depends on another; without `steps` no gradient step is
    timed.
    """
    driver = ask_driver()
    yield _python()
    yield Check("CPU", "ok", f"{processor_name()}, {count_of(cores(), 'core')}")
    yield from _driver(driver)
    yield _packages()
    yield from _settings()
    backend, check = _backend()
    yield check
    if not backend:
        return
    seen = look(backend)
    yield _device(seen, driver)
    yield from _memory(seen, driver)
    yield _precision(seen, driver)
    if steps:
        yield _step(seen)
    yield from _other_verbs(backend, driver)


def _python() -> Check:
    text = f"{platform.python_version()}, {platform.system()} {platform.machine()}"
    return Check("Python", "ok", text)


def _driver(driver: Driver) -> Iterator[Check]:
    for gpu in driver.gpus:
        old = gpu.driver.partition(".")[0]
        known = "" if gpu.capability is None else f", compute capability {gpu.capability}"
        text = f"{gpu.driver}: {gpu.name}{known}"
        if old.isdecimal() and int(old) < OLDEST_DRIVER:
            yield Check(
                "driver", "note", f"{text}; CUDA 13 needs {OLDEST_DRIVER} or newer",
                "install a newer driver, or jax[cuda12] instead of jax[cuda13]",
            )  # fmt: skip
        else:
            yield Check("driver", "ok", text)
    if driver.gpus:
        return
    if driver.fault or driver.nodes:
        seen = ", ".join(driver.nodes) or "no device file"
        said = f"nvidia-smi says {driver.fault!r}" if driver.fault else "no nvidia-smi"
        state = "problem" if driver.nodes else "note"
        fix = f"install NVIDIA's driver, {OLDEST_DRIVER} or newer" * bool(driver.nodes)
        yield Check("driver", state, f"{said}; {seen}", fix)
    else:
        yield Check("driver", "ok", "no NVIDIA GPU here: neither /dev/nvidia0 nor nvidia-smi")


def _packages() -> Check:
    versions = []
    for name in _SHOWN:
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return Check("packages", "ok", ", ".join(versions) or "none of them")


def _settings() -> Iterator[Check]:
    """What is set on this machine, and is not followed or changes something."""
    for what in [*_own_keras_settings(), *(name for name in IGNORED if name in os.environ)]:
        yield Check("settings", "note", f"{what} is set and not followed")
    for name in _CHANGING:
        if os.environ.get(name):
            yield Check(
                "settings", "note", f"{name}={os.environ[name]!r} may change speed or figures"
            )


def _own_keras_settings() -> Iterator[str]:
    """What Keras' settings file says other than Keras, which writes one when there is none."""
    file = settings_file()
    try:
        settings = strict.loads(read_regular(file, strict.MAX_BYTES))
        for name, value in settings.items():
            if name != "backend" and value != _KERAS.get(name, value):
                yield f"{name} {str(value)[:40]!r} in {file}"
    except (EdgeemoError, OSError, ValueError, AttributeError):
        if file.exists():
            yield f"{file}, which cannot be read as JSON,"


def _backend() -> tuple[str, Check]:
    from training.machines.backend import choose_backend

    asked = os.environ.get("KERAS_BACKEND")
    try:
        backend = choose_backend()
    except EdgeemoError as error:
        return "", Check("backend", "problem", *_split(str(error)))
    why = "as KERAS_BACKEND says" if asked else "the first choice of those installed"
    others = [name for name in BACKENDS if is_installed(name) and name != backend]
    also = f"; also installed: {', '.join(others)}" if others else ""
    return backend, Check("backend", "ok", f"{backend}, {why}{also}")


def _split(message: str) -> tuple[str, str]:
    """What is wrong, and the command that a message ends with."""
    what, found, fix = message.rpartition("run: ")
    return (what.rstrip(" ;,"), fix) if found else (message, "")


def _device(seen: Seen, driver: Driver) -> Check:
    if idle := why_idle(seen, driver):
        return Check("device", "problem", *_split(idle))
    if seen.gpus:
        return Check("device", "ok", f"{seen.backend} computes on {seen.where(len(seen.gpus))}")
    text = f"{seen.backend} computes on {seen.where()}"
    if not seen.works:
        return Check("device", "problem", f"{seen.backend} computes nowhere: {seen.fault}")
    return Check("device", "ok", f"{text}, as it should without a GPU")


def _memory(seen: Seen, driver: Driver) -> Iterator[Check]:
    if not seen.gpus:
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
        yield Check("memory", "ok", f"{pages * size / 1e9:.0f} GB of this machine")
        return
    for gpu in driver.gpus:
        yield _memory_of(gpu)


def _memory_of(gpu: Gpu) -> Check:
    if gpu.memory is None or gpu.used is None:
        return Check("memory", "ok", f"{gpu.name}: shared with the processor")
    free = gpu.memory - gpu.used
    text = f"{gpu.name}: {gpu.memory:,} MiB, {free:,} of them free"
    if free < _FEW_MEGABYTES:
        return Check(
            "memory", "problem", f"{text}; expected {_FEW_MEGABYTES:,} at least",
            "nvidia-smi, to see which processes hold it, and end yours among them",
        )  # fmt: skip
    return Check("memory", "ok", text)


def _precision(seen: Seen, driver: Driver) -> Check:
    if not seen.gpus:
        fast = [name for name in _BF16_FEATURES if name in processor_features()]
        if fast:
            return Check(
                "precision", "ok", f"float32, and bfloat16 in hardware ({', '.join(fast)})"
            )
        return Check("precision", "ok", "float32; bfloat16 is slower on this processor")
    capability = driver.gpus[0].capability if driver.gpus else None
    if capability is None:
        return Check("precision", "note", "the driver does not tell the compute capability")
    if capability >= 8:
        tf32 = "not " * (os.environ.get("NVIDIA_TF32_OVERRIDE") == "0")
        return Check(
            "precision", "ok",
            f"bfloat16 and float16 in hardware; float32 convolutions are {tf32}computed in TF32 "
            "(10 bits of fraction) unless the backend is told otherwise",
        )  # fmt: skip
    return Check(
        "precision", "note",
        "float16 in hardware, bfloat16 and TF32 are not; take --precision float16 for train",
    )  # fmt: skip


def _step(seen: Seen) -> Check:
    try:
        with quiet():
            seconds, work, loss, what = _timed_step(bool(seen.gpus))
    except Exception as error:  # whatever a backend raises, it is what the user has to see
        text = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        return Check("step", "problem", f"no gradient step of `small`: {text}")
    speed = work / seconds / 1e12
    text = f"{what}: {1000 * seconds:.1f} ms, {speed:.2g} TFLOP/s (3 x 2 x MACs)"
    if not np.isfinite(loss):
        return Check("step", "problem", f"{text}; its loss is {loss}")
    if not seen.gpus:
        return Check("step", "ok", f"{text}; no peak is listed for processors")
    most = peak(seen.gpus[0])
    if most is None:
        return Check("step", "ok", f"{text}; the peak of {seen.gpus[0]} is not listed here")
    share = f"{speed / most:.2%} of the {most:g} of {seen.gpus[0]}"
    return Check("step", "ok", f"{text}, {share} (docs/gpu.md says what is usual)")


def _timed_step(on_gpu: bool) -> tuple[float, float, float, str]:
    """Seconds of a gradient step of `small` as `train` takes it, its floating-point operations, its
    last loss, and what it was.
    """
    from edgeemo.contract.input_spec import DEFAULT_SPEC
    from edgeemo.contract.labels import LABELS
    from training.fit.loop import new_model
    from training.fit.recipe import Recipe
    from training.machines.devices import ONE
    from training.networks.cost import multiply_accumulates

    batch, precision = (512, "bfloat16") if on_gpu else (128, "float32")
    recipe = Recipe(model="small", batch_size=batch, precision=precision)
    model = new_model(recipe, 1000, DEFAULT_SPEC, len(LABELS))
    rng = np.random.default_rng(1)
    x = rng.uniform(0, 255, (batch, *DEFAULT_SPEC.shape)).astype(np.float32)
    y = np.eye(len(LABELS), dtype=np.float32)[rng.integers(0, len(LABELS), batch)]
    for _ in range(2):  # makes graphs and kernels
        loss = ONE.step(model, x, y, None)
    times = []
    for _ in range(_TURNS):
        start = time.perf_counter()
        for _ in range(_STEPS if on_gpu else 1):
            loss = ONE.step(model, x, y, None)
        times.append((time.perf_counter() - start) / (_STEPS if on_gpu else 1))
    work = 6.0 * multiply_accumulates(model) * batch
    return median(times), work, loss, f"a step of `small`, batch of {batch}, {precision}"


def _other_verbs(backend: str, driver: Driver) -> Iterator[Check]:
    if not is_installed("jax"):
        line = install_line("train,gpu")
        yield Check("family", "note", "needs JAX, which is not installed; train does not", line)
    elif driver.present and not uses_cuda("jax"):
        line = install_line("train,gpu")
        yield Check("family", "problem", "JAX here has no CUDA, and there is a GPU", line)
    else:
        slow = "" if driver.present else ", slowly on a CPU"
        yield Check("family", "ok", f"JAX is there{slow}")
    missing = [name for name in ("tensorflow", "onnx", "tf2onnx") if not is_installed(name)]
    if missing:
        text = f"{', '.join(missing)} not installed; runs can be exported elsewhere"
        yield Check("export", "note", text, install_line("train,export"))
    else:
        yield Check("export", "ok", "its packages are there")
