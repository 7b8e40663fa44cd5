"""Compiles C as one call of a compiler does, but each preprocessed source once a test session: the
generated programs of all networks share their kernels, which take a second each time.

As a program it stands in for a compiler: python tests/objects.py gcc ARGUMENTS...
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

FOLDER = "EDGEEMO_TEST_OBJECTS"
"""The variable that names the session's folder of objects; without it nothing is kept."""


def compiled(words: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    """What the compiler says to a command that makes one file, `-o FILE`, of C sources.

    A source is looked up by its preprocessed text, the compiler and all flags. Whatever the
    compiler has to say of one, it says itself: to the command as it is.
    """
    store = os.environ.get(FOLDER)
    sources = [word for word in words if word.endswith(".c")]
    if not store or not sources:
        return _run(words)
    at = words.index("-o")
    compiler, out = words[0], words[at + 1]
    flags = [word for word in (*words[1:at], *words[at + 2 :]) if not word.endswith(".c")]
    objects = [_object(compiler, flags, source, Path(store)) for source in sources]
    if None in objects:
        return _run(words)
    return _run([compiler, *flags, "-o", out, *map(str, objects)])


def _object(compiler: str, flags: list[str], source: str, store: Path) -> Path | None:
    """The object of a source; None where there was an error or a warning."""
    text = _run([compiler, *flags, "-E", "-P", source])
    if text.returncode or text.stderr:
        return None
    # Folders of headers differ from test to test, and what was found in them stands in the text;
    # the rest is the linker's.
    kind = [flag for flag in flags if not flag.startswith(("-I", "-Wl,"))]
    key = hashlib.sha256("\0".join([compiler, *kind, text.stdout]).encode()).hexdigest()
    path = store / f"{key}.o"
    if path.exists():
        return path
    # Whole or not there, for the test processes beside this one.
    handle, unfinished = tempfile.mkstemp(dir=store)
    os.close(handle)
    done = _run([compiler, *flags, "-c", source, "-o", unfinished])
    if done.returncode or done.stderr:
        Path(unfinished).unlink(missing_ok=True)
        return None
    return Path(unfinished).replace(path)


def _run(words: Sequence[str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(words, capture_output=True, text=True)


if __name__ == "__main__":
    ended = compiled(sys.argv[1:])
    sys.stdout.write(ended.stdout)
    sys.stderr.write(ended.stderr)
    sys.exit(ended.returncode)
