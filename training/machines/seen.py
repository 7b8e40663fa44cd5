"""What the chosen backend computes on, and why a GPU of this machine is not among it."""

import importlib.metadata
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from edgeemo.cli.processor import cores, processor_name
from edgeemo.cli.shell import say
from edgeemo.contract.checked.counts import count_of
from edgeemo.errors import RunError
from edgeemo.optional import install_line, is_installed, need
from training.machines.nvidia import OLDEST_DRIVER, OLDEST_GPU, Driver, ask_driver
from workstation.quiet import quiet

EXTRAS = {"tensorflow": "cpu", "jax": "gpu"}
"""The extra of pyproject.toml that brings a backend; torch is left to its users."""
# What hides GPUs from a backend, and the values that hide all of them.
_HIDING = {"CUDA_VISIBLE_DEVICES": ("", "-1", "NoDevFiles"), "JAX_PLATFORMS": ("cpu",)}


# Backends that this process chose, so that KERAS_BACKEND is not its user's word.
_CHOSEN_HERE: set[str] = set()


def chosen_here(backend: str) -> None:
    """Note that KERAS_BACKEND is set by this process and not by its user."""
    _CHOSEN_HERE.add(backend)


@dataclass(frozen=True)
class Seen:
    """What a backend computes on."""

    backend: str
    """"tensorflow", "torch" or "jax"."""
    version: str
    """The backend's."""
    gpus: tuple[str, ...] = ()
    """Names of the GPUs that it sees; without one it computes on the processor."""
    fault: str = ""
    """What it said when it looked for GPUs, on one line; mostly empty."""
    works: bool = True
    """Whether it computes at all."""

    def where(self, count: int = 1) -> str:
        """In words, with `count` of its devices used: "CPU (AMD EPYC, 2 cores)"."""
        if not self.gpus:
            devices = f"{count} CPU devices" if count > 1 else "CPU"
            return f"{devices} ({processor_name()}, {count_of(cores(), 'core')})"
        names = " and ".join(sorted(set(self.gpus[:count])))
        return f"{count} GPUs ({names})" if count > 1 else f"GPU ({names})"


def look(backend: str) -> Seen:
    """What `backend`, which is installed and which Keras runs on, computes on."""
    with quiet():
        try:
            return _LOOKS[backend]()
        except Exception as error:  # each backend has its own class, and some have none
            why = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    return Seen(backend, _version(backend), fault=why, works=False)


def uses_cuda(backend: str) -> bool:
    """Whether a backend that is installed was built for NVIDIA's GPUs and has CUDA beside it."""
    if backend == "jax":
        return is_installed("jax_cuda13_plugin") or is_installed("jax_cuda12_plugin")
    if backend == "torch":
        version = _version("torch")
        needs = importlib.metadata.requires("torch") or [] if version else []
        return "+cu" in version or any(one.startswith(("nvidia-", "cuda-")) for one in needs)
    return bool(_version("tensorflow")) and any(
        _version(f"nvidia-cudnn-cu{major}") for major in (12, 13)
    )


def why_idle(seen: Seen, driver: Driver) -> str:
    """Why the backend uses no GPU although this machine has one, and what to do, on one line;
    empty where it does, or where there is none.
    """
    if seen.gpus or not driver.present:
        return ""
    what = driver.gpus[0].name if driver.gpus else f"an NVIDIA GPU ({driver.nodes[0]})"
    return f"{what} lies idle: {_reason(seen, driver)}"


def need_gpu(backend: str) -> None:
    """Raise RunError, which says why, where the backend sees no GPU."""
    seen = look(backend)
    if not seen.gpus:
        raise RunError(
            why_idle(seen, ask_driver())
            or "expected a GPU for --device gpu, received a machine without an NVIDIA GPU; leave "
            "--device out, or take --device cpu"
        )


def announce(backend: str, count: int = 1, *, err: bool = False) -> None:
    """Say on what is trained, with `count` devices of those that the backend sees, and on a second
    line why a GPU lies idle where one does.
    """
    seen = look(backend)
    say(f"training on {seen.where(count)}, backend {seen.backend} {seen.version}", err=err)
    # Asking nvidia-smi takes a second, so only where the answer matters.
    if not seen.gpus and (idle := why_idle(seen, ask_driver())):
        say(f"{idle} (python -m training doctor says more)", err=True)


def _reason(seen: Seen, driver: Driver) -> str:
    for name, values in _HIDING.items():
        if os.environ.get(name, "-") in values and (seen.backend == "jax" or "JAX" not in name):
            value = os.environ[name]
            return f"{name} is set to {value!r}, which hides it; run: unset {name}"
    if not driver.gpus:
        return _driver_reason(driver)
    gpu, older = driver.gpus[0], is_installed("jax_cuda12_plugin")
    if gpu.capability is not None and gpu.capability < OLDEST_GPU and not older:
        return (
            f"its compute capability is {gpu.capability:g}, and CUDA 13 needs {OLDEST_GPU:g}; run: "
            "pip install 'jax[cuda12]'"
        )
    if _major(gpu.driver) < OLDEST_DRIVER and not older:
        return (
            f"its driver is {gpu.driver}, and CUDA 13 needs {OLDEST_DRIVER} or newer; install a "
            "newer driver, or run: pip install 'jax[cuda12]'"
        )
    if not uses_cuda(seen.backend):
        return f"{seen.backend} {seen.version} here has no CUDA; run: {_command(seen.backend)}"
    said = f" ({seen.fault})" if seen.fault else ""
    # Libraries that it names come before those that JAX brought.
    path = "LD_LIBRARY_PATH" in os.environ and seen.backend == "jax"
    first = "unset LD_LIBRARY_PATH, or else: " * path
    return (
        f"{seen.backend} {seen.version} cannot use it{said}; run: {first}{_command(seen.backend)}"
    )


def _driver_reason(driver: Driver) -> str:
    if "mismatch" in driver.fault:
        return f"nvidia-smi says {driver.fault!r}; the driver was renewed: restart this machine"
    if driver.fault:
        return (
            f"nvidia-smi says {driver.fault!r}; install NVIDIA's driver, {OLDEST_DRIVER} or newer"
        )
    return (
        "there is no nvidia-smi to ask; install NVIDIA's driver, or give a container its GPUs "
        "(docker run --gpus all)"
    )


def _command(backend: str) -> str:
    """What makes a backend with CUDA the one that is taken."""
    asked = os.environ.get("KERAS_BACKEND") == backend != "jax" and backend not in _CHOSEN_HERE
    if asked and uses_cuda("jax"):
        return "export KERAS_BACKEND=jax"
    return install_line("train,gpu") + ", then: unset KERAS_BACKEND" * asked


def _major(version: str) -> int:
    first = version.partition(".")[0]
    return int(first) if first.isdecimal() else OLDEST_DRIVER


def _version(distribution: str) -> str:
    names = (distribution, f"{distribution}-cpu") if distribution == "tensorflow" else ()
    for name in names or (distribution,):
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""


def _of_tensorflow() -> Seen:
    tf: Any = need("tensorflow", "cpu", "to train on it")
    gpus = tf.config.list_physical_devices("GPU")
    details = [tf.config.experimental.get_device_details(gpu) for gpu in gpus]
    names = [one.get("device_name", gpu.name) for one, gpu in zip(details, gpus, strict=True)]
    return Seen("tensorflow", tf.__version__, tuple(names))


def _of_torch() -> Seen:
    torch: Any = need("torch", "train", "to train on it")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    names = tuple(torch.cuda.get_device_name(number) for number in range(count))
    return Seen("torch", torch.__version__, names)


def _of_jax() -> Seen:
    jax: Any = need("jax", "gpu", "to train on it")
    with _errors_of("jax._src.xla_bridge") as errors:  # it goes on without, and only logs why
        devices = jax.devices()
    names = tuple(one.device_kind for one in devices if one.platform != "cpu")
    return Seen("jax", jax.__version__, names, errors[0] if errors and not names else "")


@contextmanager
def _errors_of(logger: str) -> Iterator[list[str]]:
    """The errors that a logger gets inside, each on one line, instead of where they would go."""
    errors: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            caught = record.exc_info and record.exc_info[1]
            errors.append(" ".join(str(caught or record.getMessage()).split())[:200])

    source, listener = logging.getLogger(logger), Listener(logging.ERROR)
    propagated, source.propagate = source.propagate, False
    source.addHandler(listener)
    try:
        yield errors
    finally:
        source.removeHandler(listener)
        source.propagate = propagated


_LOOKS = {"tensorflow": _of_tensorflow, "torch": _of_torch, "jax": _of_jax}
