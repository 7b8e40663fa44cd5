"""A model in a process of its own answers as it does here, and takes nothing with it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import edgeemo
from edgeemo.backends import open_backend
from edgeemo.cli.main import main
from edgeemo.errors import BackendError, InvalidInput
from edgeemo.isolated import backend as isolated
from edgeemo.recognizer import Recognizer
from tests import support

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 48, 48, 1), np.uint8)


def child_of(backend: isolated.IsolatedBackend) -> int:
    return backend._held[0].pid  # type: ignore[attr-defined,no-any-return]


def test_it_answers_bit_for_bit_as_in_this_process_and_ends_with_it() -> None:
    bundle = edgeemo.load_bundle("nano")
    with Recognizer("nano", detector="whole", isolated=True) as recognizer:
        backend = recognizer.backend
        assert isinstance(backend, isolated.IsolatedBackend)
        plain = open_backend(bundle)
        assert (backend.name, backend.artifact) == (plain.name, plain.artifact)
        assert np.array_equal(recognizer.infer(PIXELS), plain.infer(PIXELS))
        assert recognizer.infer(PIXELS[:0]).shape == (0, 7)
        pid = child_of(backend)
        os.kill(pid, 0)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_crash_and_a_hang_fail_one_inference_and_the_next_one_answers() -> None:
    backend = isolated.IsolatedBackend(edgeemo.load_bundle("nano"), deadline=1.0)
    expected = backend.infer(PIXELS[:1])
    os.kill(child_of(backend), signal.SIGSEGV)
    with pytest.raises(BackendError, match=r"isolated: its process (crashed \(SIGSEGV\)|has gone)"):
        backend.infer(PIXELS[:1])
    assert np.array_equal(backend.infer(PIXELS[:1]), expected)
    os.kill(child_of(backend), signal.SIGSTOP)
    began = time.monotonic()
    with pytest.raises(BackendError, match="no answer within 1 s of inference; it was killed"):
        backend.infer(PIXELS[:1])
    assert time.monotonic() - began < 10
    assert np.array_equal(backend.infer(PIXELS[:1]), expected)
    assert backend.restarts == 2
    backend.close()
    backend.close()


def test_a_refused_model_is_a_backend_error_with_the_reason(tmp_path: Path) -> None:
    def damage(entries: dict[str, bytes]) -> None:
        import json

        manifest = json.loads(entries["manifest.json"])
        model = bytearray(entries["int8.tflite"])
        model[8:400] = bytes(392)
        entries["int8.tflite"] = bytes(model)
        support.matching_hashes(entries, manifest)

    path = support.rezip(edgeemo.load_bundle("nano").path, tmp_path / "bad.edgeemo", damage)
    with pytest.raises(BackendError, match="isolated: "):
        Recognizer(path, detector="whole", isolated=True, artifact="int8.tflite")


def test_it_takes_no_backend_or_runtime_of_others() -> None:
    with pytest.raises(InvalidInput, match="expected isolated without"):
        Recognizer("nano", isolated=True, runtime="litert")


def test_predict_isolated_says_the_same(tmp_path: Path) -> None:
    picture = tmp_path / "face.png"
    picture.write_bytes(support.png_of(48, 48))
    words = ("predict", picture, "--detector", "whole", "--model", "nano", "--json")
    said = [support.done_here(main, "edgeemo", *words, *more) for more in ((), ("--isolated",))]
    emotions = [done.stdout.partition('"latency_ms"')[0] for done in said]
    assert said[0].returncode == said[1].returncode == 0
    assert emotions[0] == emotions[1] != ""


def test_evaluate_isolated_counts_the_same(tmp_path: Path) -> None:
    archive = support.write_drawn_archive(tmp_path / "drawn.zip", train=0, test=4)
    words = ("evaluate", "nano", archive, "--json")
    for name, more in (("here", ()), ("apart", ("--isolated",))):
        done = support.done_here(main, "edgeemo", *words, tmp_path / name, *more)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "here").read_bytes() == (tmp_path / "apart").read_bytes()
    done = support.done_here(
        main, "edgeemo", *words, tmp_path / "no", "--isolated", "--artifact", "x"
    )
    assert (done.returncode, (tmp_path / "no").exists()) == (1, False)


def test_the_child_ends_with_a_parent_that_is_killed() -> None:
    code = (
        "import os, sys, edgeemo\n"
        "from edgeemo.isolated.backend import IsolatedBackend\n"
        "backend = IsolatedBackend(edgeemo.load_bundle('nano'))\n"
        "print(backend._held[0].pid, flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=support.REPOSITORY
    )
    child = Path(f"/proc/{int(done.stdout)}")
    end = time.monotonic() + 20
    while child.exists() and "zombie" not in (child / "status").read_text():
        assert time.monotonic() < end
        time.sleep(0.05)
