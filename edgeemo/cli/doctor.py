"""edgeemo doctor"""

import math
import os
import platform
import re
import sys
import sysconfig
from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgeemo.cli.accelerators import accelerators
from edgeemo.cli.checks import Check, show
from edgeemo.cli.measure import measured
from edgeemo.cli.options import detector_options, model_option
from edgeemo.cli.processor import processor_features
from edgeemo.cli.shell import NumberRange
from edgeemo.contract.checked.counts import count_of
from edgeemo.errors import EdgeemoError

if TYPE_CHECKING:
    from edgeemo.contract.bundle import Bundle
    from edgeemo.proof.selftest import SelfTestResult

# Instruction sets that decide how fast int8 runs, as /proc/cpuinfo names them.
_INT8_FEATURES = ("avx2", "avx512_vnni", "avx_vnni", "neon", "asimd", "asimddp", "i8mm", "sve")
OPENCV = r"opencv(-contrib)?-python(-headless)?"
"""Names of the packages that bring a `cv2`."""


@click.command()
@model_option()
@detector_options()
@click.option(
    "--time-limit",
    type=NumberRange(0.01, 3600),
    default=8.0,
    show_default=True,
    metavar="SECONDS",
    help=(
        "The self-test runs in a process of its own, which is ended when it gives no sign of life"
        " for so long: a damaged model can hang. A sign comes with each picture, so only a very"
        " slow machine or a huge model needs more."
    ),
)
@click.option(
    "--measure",
    is_flag=True,
    help="Measure this device too: ms a detection, ms a face, frames a second (3 seconds).",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a check on stdout.")
def doctor(
    model: str,
    detector: str,
    detector_model: str | None,
    time_limit: float,
    measure: bool,
    as_json: bool,
) -> None:
    """Check what works on this machine and print, for each problem, the one command that fixes it.

    The bundle is checked too: every hash, whether its report is complete and its numbers are those
    of the answers there, and its self-test. Integer TFLite must give the same bits as where it was
    built, under reference kernels; docs/bundle.md has the bounds of the others.

    Exit code 1 when something that `predict` needs does not work.

    \b
    edgeemo doctor
    edgeemo doctor --model mine.edgeemo --json
    edgeemo doctor --measure
    """
    checks = _checks(model, detector, detector_model, time_limit)
    if measure:
        speed = partial(measured, model, detector, detector_model)
        checks = chain(checks, (_guarded("speed", check) for check in (speed,)))
    show(checks, "edgeemo", as_json)


def _checks(
    model: str, detector: str, detector_model: str | None, time_limit: float
) -> Iterator[Check]:
    yield from _python()
    yield _cpu()
    yield from _packages()
    yield from accelerators()
    yield from _over_each_other("ONNX Runtime", r"onnxruntime(-gpu)?", "an onnxruntime", "onnx")
    yield from _opencv()
    yield from _cameras()
    yield _guarded("detector", lambda: _detector(detector, detector_model, time_limit))
    yield from _bundle(model, time_limit)


def _python() -> Iterator[Check]:
    import numpy

    libc = " ".join(platform.libc_ver()) or "unknown libc"
    text = (
        f"{platform.python_version()}, ABI {sysconfig.get_config_var('SOABI')}, {libc}, NumPy"
        f" {numpy.__version__}"
    )
    if (3, 10) <= sys.version_info[:2] <= (3, 14):
        yield Check("Python", "ok", text)
    else:
        yield Check(
            "Python",
            "note",
            f"{text}; tested on 3.10 to 3.14",
            "install Python 3.10 to 3.14 and make a new environment",
        )
    system, machine = platform.system(), platform.machine()
    if system == "Linux" and machine in ("x86_64", "aarch64"):
        yield Check("system", "ok", f"{system} {platform.release()}, {machine}")
    else:
        yield Check(
            "system",
            "note",
            f"{system}, {machine}; supported are Linux on x86_64 and aarch64",
            "use a 64-bit Linux system",
        )


def _cpu() -> Check:
    from edgeemo.cli.bench import machine

    words = processor_features()
    known = [feature for feature in _INT8_FEATURES if feature in words]
    return Check(
        "CPU",
        "ok",
        f"{machine()}, {count_of(os.cpu_count() or 1, 'core')}; int8 features: "
        f"{', '.join(known) or 'none known'}",
    )


def _packages() -> Iterator[Check]:
    """What `predict` needs to be installed: one line for all that is missing."""
    from edgeemo.cameras.csi import machine
    from edgeemo.optional import install_line, is_installed

    missing = []
    onnx = is_installed("onnxruntime")
    tflite = _interpreter()
    if tflite:
        yield tflite
    elif not onnx:
        missing.append("an interpreter of models")
    if onnx:
        yield _package("ONNX Runtime", "onnxruntime", "onnx")
    if is_installed("PIL"):
        yield _package("Pillow", "PIL", "pictures")
    elif not is_installed("cv2"):
        missing.append("Pillow, which reads pictures")
    if missing:
        line = install_line("jetson" if machine() == "jetson" else "pi")
        yield Check("packages", "problem", f"not installed: {', '.join(missing)}", line)


def _runs_models() -> bool:
    """Whether anything is installed that could; if not, one check says so for all."""
    from edgeemo.optional import is_installed

    return is_installed("onnxruntime") or _interpreter() is not None


def _interpreter() -> Check | None:
    """The TFLite interpreter; None where none is installed."""
    from edgeemo.backends.litert import installed_interpreter
    from edgeemo.errors import MissingDependency

    try:
        return Check("TFLite", "ok", " ".join(installed_interpreter()))
    except MissingDependency:
        return None
    except EdgeemoError as error:
        return Check("TFLite", "problem", str(error), _command(error))


def _package(name: str, module: str, extra: str) -> Check:
    """An installed package: its version, or why it does not import."""
    from edgeemo.optional import need

    try:
        version = getattr(need(module, extra, "", called=name), "__version__", "installed")
    except EdgeemoError as error:
        return Check(name, "problem", str(error).split("; run:")[0], _command(error))
    return Check(name, "ok", str(version))


def _opencv() -> Iterator[Check]:
    """OpenCV where it is installed; nothing needs it where it is not."""
    from edgeemo.optional import is_installed

    if is_installed("cv2"):
        yield _package("OpenCV", "cv2", "opencv")
    yield from _over_each_other("OpenCV", OPENCV, "a cv2", "opencv")


def _over_each_other(name: str, pattern: str, brings: str, extra: str) -> Iterator[Check]:
    """Packages of those names (a regular expression) in one folder, each with the same module."""
    from edgeemo.optional import install_line

    for folder, packages in packages_by_folder(pattern).items():
        if len(packages) > 1:
            yield Check(
                name,
                "note",
                f"{' and '.join(packages)} lie over each other in {folder}: each brings {brings},"
                " and what is loaded is of both; uninstall all, then install one",
                f"pip uninstall -y {' '.join(packages)} && {install_line(extra)}",
            )


def packages_by_folder(pattern: str) -> dict[str, list[str]]:
    """The packages whose whole name fits a regular expression, by the folder that they are in."""
    from importlib.metadata import distributions

    found: dict[str, set[str]] = {}
    for one in distributions():
        name = re.sub(r"[-_.]+", "-", one.metadata["Name"] or "").lower()
        if re.fullmatch(pattern, name):
            found.setdefault(os.path.realpath(str(one.locate_file(""))), set()).add(name)
    return {folder: sorted(names) for folder, names in found.items()}


def _cameras() -> Iterator[Check]:
    devices = sorted(Path("/dev").glob("video*"))
    if not devices:
        yield Check("camera", "note", "no /dev/video* device; pictures work without one")
    for device in devices:
        if os.access(device, os.R_OK | os.W_OK):
            yield _guarded("camera", partial(_camera, device), "note")
        else:
            yield Check(
                "camera",
                "note",
                f"{device}: no permission to read it",
                "sudo usermod -aG video $USER, then log in again",
            )


def _camera(device: Path) -> Check:
    from edgeemo.cameras.gst_sources import takes_over

    by = "GStreamer" if takes_over("USB cameras") else "OpenCV"
    return Check("camera", "ok", f"{device} may be read, by {by}")


def _detector(name: str, model: str | None, time_limit: float) -> Check:
    from edgeemo.faces import DetectorOptions, open_detector
    from edgeemo.faces.auto import choose_detector
    from edgeemo.faces.own import OwnDetector
    from edgeemo.faces.yunet import PULL
    from edgeemo.proof.selftest_faces import fault_apart

    if model and model.endswith(".edgeemo") and (fault := fault_apart(Path(model), time_limit)):
        return Check("detector", "problem", f"{model}: {fault}")
    if not _runs_models() and name in ("auto", "face"):
        return Check("detector", "note", "not tried: no interpreter of models is installed")
    if name == "auto":
        detector, reason = choose_detector(DetectorOptions(Path(model) if model else None))
    else:
        detector, reason = open_detector(name, model), "asked for by name"
    if (name, detector.name) == ("auto", "haar"):
        return Check("detector", "note", f"haar, which finds frontal faces only ({reason})", PULL)
    if isinstance(detector, OwnDetector):
        if fault := fault_apart(detector.bundle.path, time_limit):
            return Check("detector", "problem", f"{detector.name}: {fault}")
        reason += "; its self-test passes"
    return Check("detector", "ok", f"{detector.name} ({reason})")


def _bundle(model: str, time_limit: float) -> Iterator[Check]:
    from edgeemo.proof.conditions import too_few_pictures
    from edgeemo.proof.promise import promise_faults
    from edgeemo.proof.provenance import report_faults
    from edgeemo.proof.selftest_apart import OVERALL_LIMIT, run_selftest_apart
    from edgeemo.recognizer import load_bundle

    try:
        bundle = load_bundle(model)
    except EdgeemoError as error:
        yield Check("bundle", "problem", str(error), _command(error))
        return
    yield Check(
        "bundle",
        "ok",
        f"{bundle.manifest.name} {bundle.manifest.version}, {len(bundle.files) + 1} entries, every"
        " hash right",
    )
    yield _whose(bundle)
    faults = [*promise_faults(bundle), *report_faults(bundle)]
    for fault in faults:
        yield Check("report", "problem", fault)
    if not faults:
        yield Check(
            "report",
            "ok",
            "every part is there, and the manifest's numbers are those of its answers",
        )
        if few := too_few_pictures(bundle.report()["n"]):
            yield Check("gate", "note", few)
    try:
        results = run_selftest_apart(
            bundle, time_limit=time_limit, overall_limit=max(OVERALL_LIMIT, 20 * time_limit)
        )
    except EdgeemoError as error:
        yield Check("self-test", "problem", str(error), _command(error))
        return
    # A runtime that is not installed is not missed, as long as one is.
    ran = [result for result in results if result.passed is not None]
    yield from map(_selftest, ran)
    if not ran:
        yield Check("self-test", "note", "not run: no runtime of its models is installed")


def _whose(bundle: "Bundle") -> Check:
    from edgeemo.trust import configured_keys

    if bundle.vouched.shipped:
        return Check("signed", "ok", "ships with this edgeemo; other models need a trusted key's")
    if bundle.vouched.by:
        keys = configured_keys()
        return Check("signed", "ok", f"by {', '.join(bundle.vouched.by)}; trusted: {keys}")
    return Check(
        "signed",
        "note",
        "no key is trusted here, so any whole model runs (docs/trust.md: /etc/edgeemo/keys)",
    )


def _selftest(result: "SelfTestResult") -> Check:
    name = f"{result.artifact}, {result.kernels} kernels"
    text = (
        f"{name}: largest difference {result.difference:g}, allowed {result.bound:g};"
        f" {result.differing:.0%} of the pictures differ"
    )
    if result.passed:
        return Check("self-test", "ok", text)
    if math.isinf(result.difference) and result.note:  # it gave no answer
        return Check(
            "self-test", "problem", f"{name}: {result.note}", _command(EdgeemoError(result.note))
        )
    text += f"; {result.note}" * bool(result.note) + f"; first tensor that differs: {result.tensor}"
    return Check(
        "self-test",
        "problem",
        text,
        "pip install --force-reinstall 'edgeemo[litert,onnx]', then run doctor again",
    )


def _guarded(name: str, check: Callable[[], Check], state: str = "problem") -> Check:
    try:
        return check()
    except EdgeemoError as error:
        return Check(name, state, str(error), _command(error))


def _command(error: EdgeemoError) -> str:
    """The one command that an error's message asks to run, if it names one; alternatives stay in
    the message.
    """
    return re.split(r", or |, then | \(|;", str(error).partition("run: ")[2])[0]
