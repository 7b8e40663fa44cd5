"""What a microcontroller computes: the C that `export firmware` generates, compiled here.

Its bits are those of LiteRT's reference kernels (docs/microcontrollers.md), in a tenth of the time.
"""

import contextlib
import functools
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
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
_PATIENCE = 120  # seconds of one call of the compiler, which takes 2
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


def compiler() -> tuple[str, ...] | None:
    """Words that call a C compiler: those of $CC, or the first that is installed here."""
    if words := _words_of_cc():
        return words
    found = next((path for name in _COMPILERS if (path := shutil.which(name))), None)
    return (found,) if found else None


def _words_of_cc() -> tuple[str, ...]:
    text = os.environ.get("CC", "")
    try:
        return tuple(shlex.split(text))  # "ccache gcc", say
    except ValueError:  # a quote that does not end
        return (text,)


class CompiledNetwork:
    """A network as a C program in a folder of its own, which ends with `with`.

    Raises:
        BackendError: the compiler fails or hangs, or there is no place for the program.
    """

    def __init__(self, network: Network, cc: tuple[str, ...], artifact: str) -> None:
        self.network, self.artifact = network, artifact
        kernels = _kernels(cc)
        if isinstance(kernels, str):
            raise BackendError(kernels)
        with _no_place():
            self._folder = tempfile.TemporaryDirectory()
        folder = Path(self._folder.name)
        self.program = str(folder / "network")
        """Path of the compiled program."""
        sources = (folder / "edgeemo_model.c", folder / "main.c")
        objects = (*sources, Path(kernels.name, _OBJECT))
        try:
            with _no_place():
                _write(network, plan_arena(network), folder)
            _run([*cc, "-std=c99", f"-I{C}", "-o", self.program, *objects], folder)
        except BaseException:
            self._folder.cleanup()
            raise

    def __enter__(self) -> "CompiledNetwork":
        return self

    def __exit__(self, *_: object) -> None:
        self._folder.cleanup()

    def infer(self, pictures: NDArray[np.uint8], *, progress: bool = False) -> NDArray[np.float32]:
        """float32 (N, labels) logits of uint8 (N, H, W, C) pictures; `progress` shows a bar.

        Raises BackendError: the program does not start, or ends before it has answered.
        """
        labels = self.network.tensor_bytes[self.network.output]
        try:
            program = subprocess.Popen(
                [self.program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
        except OSError as error:  # temporary files that may not be run, say
            raise BackendError(
                f"{self.artifact}: the C program of it does not start ({error.strerror}); set "
                "TMPDIR to a folder whose programs may run, and CC to a compiler for this machine"
            ) from None
        with program:
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
            finally:
                # What it did not take would be written once more: a broken pipe again, which the
                # command line takes for a reader of its own that has gone.
                with contextlib.suppress(BrokenPipeError):
                    program.stdin.close()
        if program.returncode or len(answers) != len(pictures) * labels:
            raise BackendError(
                f"{self.artifact}: the C program of it ends with {program.returncode} after "
                f"{len(answers) // labels:,} of {count_of(len(pictures), 'picture')}; is the "
                "compiler sound?"
            )
        stored = np.frombuffer(answers, np.int8).reshape(len(pictures), labels)
        return self.network.logits.dequantize(stored)


_OBJECT = "kernels.o"


@functools.cache
def _kernels(cc: tuple[str, ...]) -> "tempfile.TemporaryDirectory[str] | str":
    """A folder with the hand-written kernels as _OBJECT, which every network of this process
    shares and which is removed with it; or why the compiler does not make them, tried once.
    """
    folder = None
    try:
        with _no_place():
            folder = tempfile.TemporaryDirectory()
        out, source = Path(folder.name, _OBJECT), C / "edgeemo_kernels.c"
        _run([*cc, "-std=c99", "-O2", f"-I{C}", "-c", "-o", out, source], Path(folder.name))
    except BaseException as error:
        if folder:
            folder.cleanup()
        if isinstance(error, BackendError):
            return str(error)
        raise
    return folder


@contextlib.contextmanager
def _no_place() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BackendError(
            f"no place for a C program ({error.strerror}); set TMPDIR to a folder with room"
        ) from None


def _write(network: Network, plan: Plan, folder: Path) -> None:
    inputs, labels = (network.tensor_bytes[end] for end in (network.input, network.output))
    header = _HEADER.format(arena=plan.arena_bytes, inputs=inputs, labels=labels)
    (folder / "edgeemo_model.h").write_text(header)
    (folder / "edgeemo_model.c").write_text(model_source(network, plan, "a candidate"))
    (folder / "main.c").write_text(_MAIN)


def _run(words: Sequence[object], folder: Path) -> None:
    """Call the compiler; what it writes on the way lies in `folder`, also after an interrupt."""
    try:
        # A session of its own: killing a compiler alone leaves those that it has called.
        process = subprocess.Popen(
            [str(word) for word in words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=os.environ | {"TMPDIR": str(folder)},
            start_new_session=True,
        )
    except OSError as error:
        raise _unusable(words, str(error.strerror)) from None
    with process:
        try:
            said = process.communicate(timeout=_PATIENCE)[1]
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise _unusable(words, f"not done after {_PATIENCE} s") from None
            raise
    if process.returncode:
        why = " ".join(said.decode("utf-8", "replace").split())[:300]
        raise _unusable(words, why or f"it ends with {process.returncode}")


def _unusable(words: Sequence[object], why: str) -> BackendError:
    return BackendError(
        f"{words[0]} cannot compile the network ({why}); set CC to a C99 compiler that works"
    )
