"""Replays a bundle's self-test: does this machine's interpreter answer what the bundle's builder got?"""

from dataclasses import dataclass

import numpy as np

from edgeemo.backends import open_backend
from edgeemo.contract.bundle import Bundle
from edgeemo.errors import MissingDependency

# Optimized int8 kernels differ from the reference ones by up to 6 steps of the output scale on faces and 9 on the drawn
# patterns, and among machines by as much (docs/stack.md); far beyond that something is wrong.
OPTIMIZED_BOUND_LSB = 16.0
# Float kernels sum in another order on other processors.
FLOAT_BOUND = 1e-3


@dataclass(frozen=True)
class SelfTestResult:
    """One artifact's outcome.

    Attributes:
        artifact: the model file.
        passed: whether the largest difference stays within `bound`; None where no runtime for it is installed.
        kernels: "reference" or "default".
        difference: largest difference of a logit, in steps of the output scale (int8 TFLite) or logits.
        bound: the largest difference allowed.
        note: the missing dependency, where `passed` is None.
    """

    artifact: str
    passed: bool | None
    kernels: str
    difference: float
    bound: float
    note: str = ""


def run_selftest(bundle: Bundle) -> list[SelfTestResult]:
    """Replay the self-test for every artifact: TFLite under reference kernels (exact) and under default ones (bounded).

    Raises:
        BrokenDependency, BackendError: a runtime that is installed and fails.
    """
    selftest = bundle.selftest()
    results = []
    for artifact in bundle.manifest.artifacts:
        step = artifact.output.scale or 1.0
        int8 = artifact.precision == "int8"
        if artifact.format == "tflite":
            plans = [
                ("reference", 0.0 if int8 else FLOAT_BOUND),
                ("default", OPTIMIZED_BOUND_LSB if int8 else FLOAT_BOUND),
            ]
        else:
            # A QDQ graph's output is float, so its bound is in logits: the same number of steps of a typical scale.
            plans = [("default", 0.5 if int8 else FLOAT_BOUND)]
        for kernels, bound in plans:
            try:
                backend = open_backend(bundle, artifact.file, reference_kernels=kernels == "reference")
            except MissingDependency as error:
                results.append(SelfTestResult(artifact.file, None, kernels, 0.0, bound, str(error)))
                continue
            answered = backend.infer(selftest.inputs)
            difference = float(np.abs(answered - selftest.logits[artifact.file]).max()) / step
            # Both are whole steps: rounding in float32 must not make an exact answer look inexact.
            difference = round(difference, 3) if int8 and artifact.format == "tflite" else difference
            results.append(SelfTestResult(artifact.file, difference <= bound, kernels, difference, bound))
    return results
