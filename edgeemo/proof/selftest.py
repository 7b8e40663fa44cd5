"""Replays a bundle's self-test: does this machine's interpreter answer what the bundle's builder
got?
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgeemo.backends import open_backend
from edgeemo.contract.bundle import Bundle, SelfTest
from edgeemo.contract.checked.text import printable
from edgeemo.contract.manifest import Artifact, Format, Manifest, Precision
from edgeemo.errors import BundleError, MissingDependency

# Optimized int8 kernels differ from the reference ones by up to 6 steps of the output scale on
# faces and 9 on the drawn patterns, and among machines by as much (docs/stack.md); far beyond that
# something is wrong.
OPTIMIZED_BOUND_LSB = 16.0
# Float kernels sum in another order on other processors: 4e-6 measured (docs/parity.md).
FLOAT_BOUND = 1e-4
# Half floats are rounded after each layer where a runtime or processor does not compute in more:
# 0.009 measured with every sum in half floats.
HALF_BOUND = 0.03
# ONNX Runtime's integer sums are exact, and what it rounds between them differs between x86-64 and
# aarch64 by a step or two on 1 to 4 % of the pictures (docs/parity.md); three versions of it and
# processors with and without VNNI give the same bits on x86-64.
INTEGER_ONNX_BOUND = 4.0
INTEGER_ONNX_SHARE = 0.125
# A report may list this many tensors of a model; our deepest has under a hundred.
_MAX_TENSORS = 10_000
_DIGEST = re.compile(r"[0-9a-f]{16}|")

Trace = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class SelfTestResult:
    """One artifact's outcome."""

    artifact: str
    """The model file."""
    passed: bool | None
    """Whether the largest difference stays within `bound` and no inner tensor differs; None where
    no runtime for it is installed."""
    kernels: str
    """"reference" or "default"."""
    difference: float
    """Largest difference of a logit, in steps of the output scale (integer TFLite), in 255ths of
    the logits' range (integer ONNX) or in logits; infinite where the model gave no answer."""
    bound: float
    """The largest difference allowed."""
    note: str = ""
    """The missing dependency, where `passed` is None; what went wrong, where a difference does not
    say it."""
    tensor: str = ""
    """Where it failed, the first tensor that differs: an operator's output by its name, or "the
    output" where the bundle tells no inner ones (ONNX, default kernels, bundles from before edgeemo
    recorded them)."""
    differing: float = 0.0
    """Share of the pictures, 0..1, of which a logit differs at all."""


@dataclass(frozen=True)
class Replay:
    """What is to be replayed, and what may differ."""

    artifact: Artifact
    """The model."""
    kernels: str
    """"reference" or "default"."""
    bound: float
    """The largest difference allowed."""
    share: float = 1.0
    """The largest share of the pictures that may differ, 0..1."""


def run_selftest(bundle: Bundle) -> list[SelfTestResult]:
    """Replay the self-test for every artifact: TFLite under reference kernels (exact) and under
    default ones (bounded).

    It runs in this process, which a damaged model can hang or crash; `edgeemo.proof.selftest_apart`
    is for bundles of others.

    Raises:
        BrokenDependency, BackendError: a runtime that is installed and fails.
        BundleError: the report's list of inner tensors is not valid.
    """
    selftest = bundle.selftest()
    return [replay(bundle, plan, selftest) for plan in replays(bundle.manifest)]


def replays(manifest: Manifest) -> list[Replay]:
    """What a self-test of the bundle consists of, in order."""
    plans = []
    for artifact in manifest.artifacts:
        if artifact.format is Format.TFLITE:
            integer = artifact.precision.is_integer
            plans.append(Replay(artifact, "reference", 0.0 if integer else FLOAT_BOUND))
            plans.append(
                Replay(artifact, "default", OPTIMIZED_BOUND_LSB if integer else FLOAT_BOUND)
            )
        else:
            bounds = {
                Precision.FP32: (FLOAT_BOUND, 1.0),
                Precision.FP16: (HALF_BOUND, 1.0),
            }
            integer_bounds = (INTEGER_ONNX_BOUND, INTEGER_ONNX_SHARE)
            plans.append(
                Replay(artifact, "default", *bounds.get(artifact.precision, integer_bounds))
            )
    return plans


def replay(
    bundle: Bundle, plan: Replay, selftest: SelfTest, sign: Callable[[], object] = lambda: None
) -> SelfTestResult:
    """Run one artifact on the self-test's pictures and compare; `sign` is called after each step of
    the work.

    Raises: as `run_selftest`.
    """
    file = plan.artifact.file
    try:
        backend = open_backend(bundle, file, reference_kernels=plan.kernels == "reference")
    except MissingDependency as error:
        return SelfTestResult(file, None, plan.kernels, 0.0, plan.bound, str(error))
    sign()
    logits = np.empty_like(selftest.logits[file])
    for i in range(len(logits)):
        logits[i : i + 1] = backend.infer(selftest.inputs[i : i + 1])
        sign()
    difference = _difference(logits, selftest.logits[file], plan)
    differing = float((logits != selftest.logits[file]).any(axis=1).mean())
    too_many = differing > plan.share
    within = difference <= plan.bound and not too_many
    # The logits of an interpreter that shares memory among tensors are those that users get, so the
    # inner tensors are read in a second run. Float ones are exact on one kind of processor alone.
    exact = plan.kernels == "reference" and plan.artifact.precision.is_integer
    tensor = _first_inner_difference(bundle, file, selftest, sign) if exact else ""
    note = "the logits agree and an inner tensor does not" if within and tensor else ""
    if too_many:
        note = f"{differing:.0%} of the pictures differ, allowed {plan.share:.0%}"
    passed = within and not tensor
    tensor = tensor or ("" if within else "the output")
    return SelfTestResult(
        file, passed, plan.kernels, difference, plan.bound, note, tensor, differing
    )


def stored_trace(bundle: Bundle, file: str) -> list[tuple[str, str]] | None:
    """(name, digest) of each operator's output as the report lists them; None in bundles from
    before it did.

    Raises:
        BundleError: the report's list is not of that kind.
    """
    report = bundle.report()
    if "selftest" not in report:
        return None
    traces = report["selftest"]
    entries = traces.get(file) if isinstance(traces, dict) else None
    if (
        not isinstance(entries, list)
        or not len(entries) <= _MAX_TENSORS
        or not all(map(_is_entry, entries))
    ):
        raise BundleError(
            f"{bundle.path}: expected its report to list [name, 16 hex digits] for each inner"
            f" tensor of {file}, received {ascii(entries)[:60]}; build or copy it again"
        )
    return [(name, digest) for name, digest in entries]


def first_difference(stored: Trace, replayed: Trace) -> str:
    """Name of the first tensor whose digest differs, or that only one of the two has; "" where
    there is none.

    Names decide nothing, and neither does an empty digest, which says that an interpreter did not
    keep the tensor.
    """
    for (name, digest), (_, again) in zip(stored, replayed, strict=False):
        if digest and again and digest != again:
            return _shown(name)
    if len(stored) != len(replayed):
        longer = max(stored, replayed, key=len)
        return _shown(longer[min(len(stored), len(replayed))][0])
    return ""


def _difference(logits: NDArray[np.float32], expected: NDArray[np.float32], plan: Replay) -> float:
    with np.errstate(all="ignore"):
        difference = float(np.abs(logits - expected).max()) / _step(expected, plan.artifact)
    if not np.isfinite(difference):
        return float("inf")
    if plan.artifact.format is Format.TFLITE and plan.artifact.precision.is_integer:
        # Whole steps, which float32's rounding must not take over their bound; but nothing is
        # rounded to exact.
        return round(difference, 3) or difference
    return difference


def _step(expected: NDArray[np.float32], artifact: Artifact) -> float:
    """What a difference is counted in: a QDQ graph's output is float, and its steps are not told,
    but 255 of them span its logits or more.
    """
    if artifact.format is Format.ONNX and artifact.precision.is_integer:
        return float(np.ptp(expected)) / 255 or 1.0
    return abs(artifact.output.scale or 1.0)


def _first_inner_difference(
    bundle: Bundle, file: str, selftest: SelfTest, sign: Callable[[], object]
) -> str:
    stored = stored_trace(bundle, file)
    if stored is None:
        return ""
    from edgeemo.backends.litert import trace

    replayed = trace(
        bundle.files[file], file, selftest.inputs, bundle.manifest.input_spec, sign=sign
    )
    return first_difference(stored, replayed)


def _is_entry(entry: object) -> bool:
    if not isinstance(entry, list) or len(entry) != 2:
        return False
    name, digest = entry
    return (
        isinstance(name, str) and isinstance(digest, str) and _DIGEST.fullmatch(digest) is not None
    )


def _shown(name: str) -> str:
    return printable(name[:120]) or "a tensor without a name"
