"""Damaged models with hashes to match: each gets a verdict, none takes the process that asks for
it.
"""

import io
import json
import os
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from edgeemo.contract.bundle import Bundle, read_bundle
from edgeemo.errors import BundleError
from edgeemo.models import find_model
from edgeemo.proof.selftest import SelfTestResult
from edgeemo.proof.selftest_apart import run_selftest_apart
from export.convert.artifacts import Candidate, Kind
from export.prove.selftest import selftest_trace
from tests.support import REPOSITORY, matching_hashes, rezip

MODEL = "int8.tflite"
# Of each bundle; every twentieth keeps the hashes of the original. EDGEEMO_MUTANTS=20 makes a quick
# look.
MUTANTS = int(os.environ.get("EDGEEMO_MUTANTS", "1000"))
SIDE_BY_SIDE = 3
SECONDS_EACH = 10.0


def with_files(bundle: Path, out: Path, **changed: bytes) -> Path:
    """A copy of the bundle in which files have other contents, with hashes to match:
    `int8_tflite=...`.
    """

    def change(entries: dict[str, bytes]) -> None:
        manifest = json.loads(entries["manifest.json"])
        for name, content in changed.items():
            assert name.replace("_", ".") in entries
            entries[name.replace("_", ".")] = content
        matching_hashes(entries, manifest)

    return rezip(bundle, out, change)


def with_trace(bundle: Path, out: Path) -> Path:
    """A copy of the bundle whose report lists the inner tensors, as those built today have it."""
    read = read_bundle(bundle)
    candidates = [
        Candidate(Kind(artifact.precision, artifact.format), read.files[artifact.file])
        for artifact in read.manifest.artifacts
    ]
    trace = selftest_trace(candidates, read.selftest().inputs, read.spec)
    return with_files(
        bundle, out, report_json=json.dumps(read.report() | {"selftest": trace}).encode()
    )


def tflite_alone(bundle: Path, out: Path) -> Path:
    """A copy of the bundle without its ONNX models, which are the same in every mutant."""

    def change(entries: dict[str, bytes]) -> None:
        manifest = json.loads(entries["manifest.json"])
        manifest["artifacts"] = [a for a in manifest["artifacts"] if a["file"] == MODEL]
        manifest["evaluation"] = [e for e in manifest["evaluation"] if e["artifact"] == MODEL]
        with np.load(io.BytesIO(entries["selftest.npz"])) as stored:
            buffer = io.BytesIO()
            np.savez(buffer, inputs=stored["inputs"], **{MODEL: stored[MODEL]})
        entries["selftest.npz"] = buffer.getvalue()
        matching_hashes(entries, manifest)
        for file in [name for name in entries if name.endswith(".onnx")]:
            del entries[file]

    return rezip(bundle, out, change)


def mutated(model: bytes, seed: int) -> bytes:
    """The model with 1 to 8 bytes changed."""
    rng = np.random.default_rng(seed)
    changed = bytearray(model)
    for place in rng.choice(len(model), rng.integers(1, 9), replace=False):
        changed[place] ^= int(rng.integers(1, 256))
    return bytes(changed)


def verdict(results: list[SelfTestResult]) -> str:
    """One word for what a self-test said of a bundle with one model."""
    notes = " ".join(result.note for result in results)
    if all(result.passed for result in results):
        return "passed"
    for word in (
        "crashed",
        "killed",
        "no sign of life",
        "ended early",
        "refuses",
        "fails while",
        "interpreter fails",
    ):
        if word in notes:
            return word
    return "other values"


def judge(base: Bundle, folder: Path, seed: int) -> tuple[str, float]:
    """What a mutant of the base bundle is found to be, and in how many seconds."""
    model = mutated(base.files[MODEL], seed)
    path = folder / f"{seed}.edgeemo"
    if seed % 20:
        with_files(base.path, path, int8_tflite=model)
    else:
        rezip(base.path, path, lambda entries: entries.update({MODEL: model}))
    start = time.monotonic()
    try:
        found = verdict(run_selftest_apart(read_bundle(path)))
    except BundleError as error:
        assert "is not the file that its manifest names" in str(error)
        found = "hash"
    path.unlink()
    return found, time.monotonic() - start


def differing(base: Bundle, seeds: list[int]) -> list[int]:
    """Those of the seeds whose mutants answer other pictures than the self-test's otherwise than
    the original does.
    """
    code = (
        "import json, sys\nimport numpy as np\nfrom edgeemo.backends import RuntimeOptions\nfrom"
        " edgeemo.backends.litert import LiteRtBackend\nfrom edgeemo.contract.bundle import"
        " read_bundle\nfrom edgeemo.contract.input_spec import DEFAULT_SPEC\nfrom"
        " export.prove.selftest import selftest_inputs\nfrom tests.edgeemo.proof.test_mutants"
        " import MODEL, mutated\npictures = np.concatenate([selftest_inputs(2, DEFAULT_SPEC),"
        " np.random.default_rng(3).integers(0, 256, (32, 48, 48, 1), np.uint8)])\nbundle ="
        " read_bundle(sys.argv[1])\nmodel, options = bundle.files[MODEL],"
        " RuntimeOptions(reference_kernels=True)\nopen_model = lambda m: LiteRtBackend(m, MODEL,"
        " bundle.spec, bundle.labels, options)\nanswers = lambda model:"
        " open_model(model).infer(pictures)\nexpected = answers(model)\nseeds = [int(seed) for seed"
        " in sys.argv[2:]]\nprint(json.dumps([seed for seed in seeds if not"
        " np.array_equal(answers(mutated(model, seed)), expected)]))\n"
    )
    command = [sys.executable, "-c", code, str(base.path), *map(str, seeds)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=REPOSITORY, timeout=600
    )
    return list(json.loads(done.stdout))


@pytest.fixture(scope="module", params=["tiny", "nano"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("base")
    path = request.getfixturevalue("tiny_bundle") if request.param == "tiny" else find_model("nano")
    return read_bundle(
        with_trace(
            tflite_alone(path, folder / "alone.edgeemo"), folder / f"{request.param}.edgeemo"
        )
    )


@pytest.mark.slow
def test_every_mutant_gets_a_verdict_and_other_values_are_never_passed(
    base: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert all(result.passed for result in run_selftest_apart(base))
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        outcomes = list(pool.map(lambda seed: judge(base, tmp_path, seed), range(MUTANTS)))
    tally = Counter(found for found, _ in outcomes)
    seconds = np.array([took for _, took in outcomes])
    with capsys.disabled():
        slowest = int(seconds.argmax())
        print(
            f"\n{base.path.stem}: {dict(tally.most_common())}; seconds: median"
            f" {np.median(seconds):.2f}"
        )
        for word in ("crashed", "killed", "no sign of life", "ended early", "interpreter fails"):
            print(
                f"  {word}: seeds"
                f" {[seed for seed, (found, _) in enumerate(outcomes) if found == word][:20]}"
            )
        print(f"  slowest: seed {slowest}, {seconds[slowest]:.1f} s")
        others = differing(
            base, [seed for seed, (found, _) in enumerate(outcomes) if found == "passed"]
        )
        print(f"  passed, and other answers to other pictures: seeds {others}")
    assert not others
    assert tally["hash"] == len(range(0, MUTANTS, 20))
    assert seconds.max() < SECONDS_EACH
