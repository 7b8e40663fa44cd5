"""What a microcontroller computes: the C that `export firmware` generates, compiled here.

Its bits are those of LiteRT's reference kernels (docs/microcontrollers.md), in a tenth of the time.
"""

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgeemo.contract.checked.counts import count_of
from edgeemo.errors import BackendError
from edgeemo.firmware.layers import Network
from edgeemo.firmware.plan import Plan, plan_arena
from export.firmware.source import model_source
from export.firmware.targets import C
from workstation.progress import counted

_BATCH = 64
_COMPILERS = ("cc", "gcc", "clang")
# Pictures in on stdin, their int8 logits out on stdout.
_MAIN = """#include "edgeemo_model.h"
#include <stdio.h>

int main(void)
{
    static uint8_t pixels[EDGEEMO_INPUT_BYTES];
    int8_t logits[EDGEEMO_LABEL_COUNT];
    if (edgeemo_init() != 0) {
        return 1;
    }
    while (fread(pixels, sizeof pixels, 1, stdin) == 1) {
        edgeemo_infer(pixels, logits);
        if (fwrite(logits, sizeof logits, 1, stdout) != 1 || fflush(stdout) != 0) {
            return 1;
        }
    }
    return 0;
}
"""
_HEADER = """#include "edgeemo_kernels.h"
#define EDGEEMO_ARENA_BYTES {arena}
#define EDGEEMO_INPUT_BYTES {inputs}
#define EDGEEMO_LABEL_COUNT {labels}
extern const edgeemo_network edgeemo_builtin_network;
int edgeemo_init(void);
void edgeemo_infer(const uint8_t in[EDGEEMO_INPUT_BYTES], int8_t out[EDGEEMO_LABEL_COUNT]);
void edgeemo_softmax_q15(const int8_t logits[EDGEEMO_LABEL_COUNT],
                         uint16_t scores[EDGEEMO_LABEL_COUNT]);
"""


def compiler() -> str | None:
    """The path of a C compiler of this machine: $CC, or the first that is installed."""
    names = [name for name in (os.environ.get("CC"), *_COMPILERS) if name]
    return next((path for name in names if (path := shutil.which(name))), None)


class CompiledNetwork:
    """A network as a C program in a folder of its own, which ends with `with`.

    Raises:
        BackendError: the compiler fails.
    """

    def __init__(self, network: Network, cc: str, artifact: str) -> None:
        self.network, self.artifact = network, artifact
        self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        self.program = str(folder / "network")
        """Path of the compiled program."""
        sources = (folder / "edgeemo_model.c", folder / "main.c")
        try:
            _write(network, plan_arena(network), folder)
            _run([cc, "-std=c99", f"-I{C}", "-o", self.program, *sources, _kernels(cc)])
        except BaseException:
            self._folder.cleanup()
            raise

    def __enter__(self) -> "CompiledNetwork":
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def infer(self, pictures: NDArray[np.uint8], *, progress: bool = False) -> NDArray[np.float32]:
        """float32 (N, labels) logits of uint8 (N, H, W, C) pictures; `progress` shows a bar.

        Raises BackendError: the program ends before it has answered.
        """
        labels = self.network.tensor_bytes[self.network.output]
        with subprocess.Popen(
            [self.program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as program:
            assert program.stdin is not None
            assert program.stdout is not None
            answers = b""
            starts = range(0, len(pictures), _BATCH)
            try:
                for start in counted(starts, f"{self.artifact} in C", "batches", shown=progress):
                    batch = np.ascontiguousarray(pictures[start : start + _BATCH])
                    program.stdin.write(batch.tobytes())
                    program.stdin.flush()
                    answers += program.stdout.read(len(batch) * labels)
            except BrokenPipeError:
                pass
            except BaseException:
                program.kill()
                raise
            program.stdin.close()
        if program.returncode or len(answers) != len(pictures) * labels:
            raise BackendError(
                f"{self.artifact}: the C program of it ends with {program.returncode} after "
                f"{len(answers) // labels:,} of {count_of(len(pictures), 'picture')}; is the "
                "compiler sound?"
            )
        stored = np.frombuffer(answers, np.int8).reshape(len(pictures), labels)
        return self.network.logits.dequantize(stored)


def _kernels(cc: str) -> Path:
    """The hand-written kernels as an object file, which every network of this process shares."""
    object_file = Path(_folder_of_kernels(cc).name, "kernels.o")
    if not object_file.exists():
        source = C / "edgeemo_kernels.c"
        _run([cc, "-std=c99", "-O2", f"-I{C}", "-c", "-o", object_file, source])
    return object_file


@functools.cache
def _folder_of_kernels(_: str) -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory()  # removed with the process


def _write(network: Network, plan: Plan, folder: Path) -> None:
    inputs, labels = (network.tensor_bytes[end] for end in (network.input, network.output))
    header = _HEADER.format(arena=plan.arena_bytes, inputs=inputs, labels=labels)
    (folder / "edgeemo_model.h").write_text(header)
    (folder / "edgeemo_model.c").write_text(model_source(network, plan, "a candidate"))
    (folder / "main.c").write_text(_MAIN)


def _run(words: Sequence[object]) -> None:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    if done.returncode:
        raise BackendError(
            f"{words[0]} cannot compile the network ({done.stderr.strip()[:300]}); set CC to a "
            "C99 compiler that works"
        )
