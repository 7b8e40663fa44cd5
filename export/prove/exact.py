"""What a microcontroller computes of an int8 .tflite, judged by the same gate as what LiteRT does.

LiteRT's default kernels round otherwise than its reference kernels, whose bits the generated C
has. Over a network's layers that makes as much of a difference as int8 itself.
"""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgeemo.cli.shell import say
from edgeemo.contract.manifest import Format
from edgeemo.errors import BackendError
from edgeemo.firmware.layers import Network
from edgeemo.firmware.network import read_network
from export.convert.artifacts import Candidate, infer, open_candidate
from export.job import Job, Pictures
from export.prove.compiled import CompiledNetwork, compiler
from export.prove.gate import Verdict, judge


@dataclass(frozen=True)
class Exact:
    """The gate's verdict on what a microcontroller answers to one split's pictures."""

    verdict: Verdict
    """The gate's."""
    by: str
    """What computed it, in words."""
    seconds: float
    """That the pictures took."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return self.verdict.to_dict() | {"by": self.by, "seconds": round(self.seconds, 2)}


def measured_in_c(
    job: Job, candidate: Candidate, pictures: Pictures, *, aloud: bool = False
) -> Exact | None:
    """A TFLite candidate as the generated C computes it; None where no C is made of it.

    C is made where the profile has full-int8 TFLite alone, of networks that its kernels cover. This
    machine's C compiler makes it; without one that works LiteRT's reference kernels are asked,
    which answer the same in ten times the time. `aloud` shows a bar, and says why there is no C.
    """
    spec, labels = job.run.spec, job.run.class_names
    if job.profile.wide_tflite or candidate.kind.format is not Format.TFLITE:
        return None
    try:
        network = read_network(candidate.model, spec, len(labels), candidate.file)
    except BackendError as error:
        if aloud:
            say(f"not measured in C, because there will be none: {error}")
        return None
    start = time.perf_counter()
    try:
        logits, by = _in_c(network, candidate.file, pictures, aloud), "C"
    except BackendError as error:
        if aloud:
            say(f"{error}: asking LiteRT's reference kernels")
        backend = open_candidate(candidate, spec, labels, reference_kernels=True)
        logits, by = infer(backend, pictures.images, progress=True), "LiteRT's reference kernels"
    seconds = time.perf_counter() - start
    return Exact(judge(pictures.logits, logits, pictures.labels, labels), by, seconds)


def _in_c(network: Network, file: str, pictures: Pictures, progress: bool) -> NDArray[np.float32]:
    cc = compiler()
    if cc is None:
        raise BackendError("no C compiler (cc, gcc, clang, $CC) is here")
    with CompiledNetwork(network, cc, file) as program:
        return program.infer(pictures.images, progress=progress)
