"""Session fixtures: one drawn data set, one tiny run, one tiny bundle, made by the real code and
used everywhere.
"""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
# Before any test imports ONNX Runtime by itself: as `edgeemo.optional` does it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Test processes share the cores: threads of each for all of them would wait for one another. Read
# when the libraries are loaded, so it stands before them; programs that tests start inherit it.
if (processes := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))) > 1:
    for threads in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"):
        os.environ.setdefault(threads, str(max(1, (os.cpu_count() or 1) // processes)))

import csv
import fcntl
import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edgeemo.contract.input_spec import DEFAULT_SPEC
from edgeemo.contract.labels import LABELS
from edgeemo.contract.run import (
    Predictions,
    Progress,
    RunConfig,
    write_predictions,
    write_run_config,
)
from edgeemo.data.prepared import DATASET, INDEX, VOTE_COLUMNS, file_sha256, load_prepared
from tests import objects, support

# A shell lets its background jobs ignore Ctrl-C, and they pass that on to the programs that they
# start: cameras that are interrupted would then run on for a second before they are terminated.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The longest files, longest first: processes that take a file at a time then end nearly together.
LONGEST = (
    "test_prepare",
    "test_fast_path",
    "test_variety",
    "test_training",
    "test_workers",
    "test_export",
    "test_sweep",
    "test_qat",
    "test_cameras_pipe",
    "test_firmware_examples",
    "test_distill",
    "test_restore",
    "test_review",
    "test_crossval",
    "test_selftest_apart",
    "test_fit",
    "test_backends",
    "test_cortex_m",
    "test_firmware",
    "test_cli",
    "test_esp32s3",
    "test_layers",
    "test_inputs",
    "test_newcomer",
    "test_other_inputs",
    "test_leaks",
    "test_cameras_network",
    "test_ladder",
    "test_tensorboard",
    "test_watch",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first. Each file's tests keep their order."""
    rank = {name: i for i, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.stem, len(rank)))


def of_all_processes(factory: pytest.TempPathFactory) -> Path:
    """A folder that the test processes of a session share."""
    base = factory.getbasetemp()
    # Tests that a test starts have a session of their own, whatever they inherit.
    return base.parent if base.name.startswith("popen-") else base


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """The product of `make` at the path that it is given, made by the first process that asks."""
    folder = of_all_processes(factory) / name
    folder.mkdir(exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "made").exists():
            make(folder / name)
            (folder / "made").touch()
    return folder / name


@pytest.fixture(scope="session", autouse=True)
def _objects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder of compiled C that all test processes share."""
    folder = of_all_processes(tmp_path_factory) / "objects"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(objects.FOLDER, str(folder))
        yield


@pytest.fixture(scope="session")
def drawn_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zip of drawn pictures in FER-2013's layout."""
    return made_once(tmp_path_factory, "drawn.zip", support.write_drawn_archive)


@pytest.fixture(scope="session")
def prepared(drawn_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn pictures as a prepared folder. Read only: copy it before changing it."""
    from training.data.prepare import prepare
    from training.data.sources import SOURCES

    def make(out: Path) -> None:
        prepare([(SOURCES["fer2013"], drawn_archive)], out, split="official", progress=False)

    return made_once(tmp_path_factory, "drawn", make)


@pytest.fixture(scope="session")
def voted(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The drawn pictures with ten drawn votes each, as a prepared folder; every ninth without
    votes.
    """
    out = Path(shutil.copytree(prepared, tmp_path_factory.mktemp("voted") / "drawn"))
    rng = np.random.default_rng(0)
    with (out / INDEX).open(newline="") as file:
        rows = list(csv.DictReader(file))
    for i, row in enumerate(rows):
        votes = rng.multinomial(10, rng.dirichlet(np.full(10, 0.4)))
        row |= dict(zip(VOTE_COLUMNS, map(str, votes) if i % 9 else [""] * 10, strict=True))
    with (out / INDEX).open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    dataset = json.loads((out / DATASET).read_text()) | {"index_sha256": file_sha256(out / INDEX)}
    (out / DATASET).write_text(json.dumps(dataset))
    return out


@pytest.fixture(scope="session")
def tiny_run(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of the tiny network, whose answers `support.quadrant_logits` knows.

    Read only.
    """
    return made_once(tmp_path_factory, "tiny", lambda out: make_tiny_run(prepared, out))


def make_tiny_run(prepared: Path, out: Path) -> None:
    """`tiny_run`, by the real code but for training."""
    import keras

    out.mkdir(exist_ok=True)
    pixels = keras.Input(DEFAULT_SPEC.shape, name="pixels")
    x = keras.layers.Rescaling(DEFAULT_SPEC.scale[0], DEFAULT_SPEC.offset[0])(pixels)
    x = keras.layers.Flatten()(keras.layers.AveragePooling2D(24)(x))
    dense = keras.layers.Dense(len(LABELS), name="logits")
    model = keras.Model(pixels, dense(x), name="tiny")
    dense.set_weights(
        [support.tiny_weights().astype(np.float32), support.tiny_bias().astype(np.float32)]
    )
    model.save(out / "model.keras")
    model.save_weights(out / "model.weights.h5")
    data = load_prepared(prepared, DEFAULT_SPEC)
    rows = data.indices("test")
    logits, mirrored = (
        support.quadrant_logits(images).astype(np.float32)
        for images in (data.images[rows], data.images[rows][:, :, ::-1])
    )
    write_predictions(out, "test", Predictions(logits, mirrored, data.labels[rows], rows))
    config = RunConfig(
        recipe={"model": "tiny"},
        labels=LABELS,
        input_spec=DEFAULT_SPEC,
        split_hash=data.split_hash,
        data_sets=("fer2013",),
        parameters=model.count_params(),
        multiply_accumulates=28,
        keras=keras.__version__,
        backend="tensorflow",
        history=Progress(epochs=0, best_epoch=0, seconds=0.0),
    )
    write_run_config(out, config)


@pytest.fixture(scope="session")
def tiny_bundle(tiny_run: Path, prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run as a bundle, built by the real export stage and passed by the real gate.

    Read only.
    """
    from export.build import Settings, build

    def make(out: Path) -> None:
        build(tiny_run, prepared, out, settings=Settings(gate_min=1))

    return made_once(tmp_path_factory, "tiny.edgeemo", make)


@pytest.fixture(scope="session")
def jetson_bundle(tiny_run: Path, prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run as a bundle of the profile for Jetsons. Read only."""
    from export.build import Settings, build

    def make(out: Path) -> None:
        build(tiny_run, prepared, out, settings=Settings(profile="jetson", gate_min=1))

    return made_once(tmp_path_factory, "jetson.edgeemo", make)
