"""Several devices and several machines: the steps of one, what is refused, and what happens when a
worker is lost.
"""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from click.testing import CliRunner

from edgeemo.contract.checked import strict
from edgeemo.contract.input_spec import InputSpec
from edgeemo.errors import RunError
from tests import support
from tests.networks import SEED
from training.__main__ import main
from training.fit.events import Events
from training.fit.recipe import Recipe
from training.fit.train import begun, train
from training.machines.choose import choose_devices
from training.machines.devices import ONE, taken
from training.machines.workers import Cluster, meet, read_cluster
from training.networks import NETWORKS
from training.networks.blocks import classifier, convolution, rescaled_input

pytestmark = pytest.mark.rounding


def still(spec: InputSpec, classes: int) -> keras.Model:
    """A small network with batch normalization and without dropout, whose draws no two layouts of
    devices share.
    """
    pixels, x = rescaled_input(spec)
    x = convolution(convolution(x, 8, "first", stride=4), 16, "second", stride=2)
    return classifier(pixels, x, "still", classes, dropout=0.0)


@pytest.fixture(scope="module", autouse=True)
def _still_network() -> Iterator[None]:
    with NETWORKS.added("still", still):
        yield


# With class weights and averaged weights, so that both go through every kind of device.
RECIPE = Recipe(
    model="still",
    epochs=2,
    batch_size=32,
    warmup_epochs=0,
    learning_rate=1e-2,
    ema=0.5,
    class_weight=True,
    seed=SEED,
)


def fit(recipe: str, data: str, out: str, devices: str, resume: str) -> None:
    """What the programs of these tests run; `devices` "logical" makes two of TensorFlow's
    processor.
    """
    if devices == "logical":
        import tensorflow as tf

        halves = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0], halves
        )
    used = choose_devices(None if devices == "default" else "all")
    if resume == "resume":
        with NETWORKS.added("still", still):
            begun(Path(out), used)
    events = Events(Path(out)) if used.chief else None
    again = resume == "resume"
    chosen = Recipe.from_dict(strict.loads(recipe))
    with NETWORKS.added("still", still):
        train(
            chosen, Path(data), Path(out), resume=again, devices=used, events=events, pictures=False
        )


def started(
    recipe: Recipe,
    data: Path,
    out: Path,
    devices: str = "default",
    resume: str = "",
    **environment: str,
) -> subprocess.Popen[str]:
    """A process that trains, and ends as the command line does."""
    code = (
        "import sys, click; from edgeemo.cli import shell; from training.machines.backend import "
        "choose_backend; choose_backend()\n"
        "from tests.training.machines.test_workers import fit\n"
        "@click.command()\n@click.argument('words', nargs=-1)\ndef main(words): fit(*words)\n"
        "shell.run(main, 'train', ['--', *sys.argv[1:]])"
    )
    words = [strict.dumps(recipe.to_dict(), indent=None), str(data), str(out), devices, resume]
    return subprocess.Popen(
        [sys.executable, "-c", code, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=support.REPOSITORY,
        env=os.environ | environment,
    )


def two_workers(
    recipes: list[Recipe], data: Path, outs: list[Path], resume: str = ""
) -> list[subprocess.Popen[str]]:
    """Two workers on free ports of this machine."""
    with (
        closing(socket.create_server(("", 0))) as one,
        closing(socket.create_server(("", 0))) as other,
    ):
        addresses = [f"127.0.0.1:{room.getsockname()[1]}" for room in (one, other)]
    configs = [
        json.dumps({"cluster": {"worker": addresses}, "task": {"type": "worker", "index": i}})
        for i in range(2)
    ]
    return [
        started(recipe, data, out, resume=resume, KERAS_BACKEND="tensorflow", TF_CONFIG=config)
        for recipe, out, config in zip(recipes, outs, configs, strict=True)
    ]


def ended(process: subprocess.Popen[str], code: int = 0) -> str:
    """What a process wrote to stderr, once it ended with `code`."""
    try:
        _, errors = process.communicate(timeout=280)
    finally:
        process.kill()
    assert process.returncode == code, errors
    return errors


# Two devices of the processor; compiled without LLVM's slow passes, since the programs run for
# milliseconds.
XLA_FLAGS = "--xla_force_host_platform_device_count=2 --xla_backend_optimization_level=0"


def history(out: Path) -> list[dict[str, float]]:
    with (out / "history.csv").open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def check_same_epochs(out: Path, other: Path) -> None:
    """The same figures but for rounding: batch normalization sums the devices' squares where one
    device takes a variance.
    """
    for row, expected in zip(history(out), history(other), strict=True):
        for key in ("loss", "validation_loss", "validation_top1"):
            assert row[key] == pytest.approx(expected[key], rel=1e-4), (key, row, expected)
    weights = [keras.models.load_model(run / "model.keras").get_weights() for run in (out, other)]
    assert max(np.abs(a - b).max() for a, b in zip(*weights, strict=True)) < 1e-3


@pytest.fixture(scope="module")
def alone(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of one device."""
    out = tmp_path_factory.mktemp("alone") / "run"
    train(RECIPE, prepared, out, events=Events(out), pictures=False)
    assert (
        history(out)[1]["loss"] < 0.98 * history(out)[0]["loss"]
    )  # epochs differ by far more than tolerances
    return out


def test_two_workers_take_the_steps_of_one_and_the_chief_alone_writes(
    alone: Path, prepared: Path, tmp_path: Path
) -> None:
    outs = [tmp_path / "chief", tmp_path / "other"]
    for process in two_workers([RECIPE] * 2, prepared, outs):
        ended(process)
    check_same_epochs(outs[0], alone)
    assert not outs[1].exists()
    assert {path.name for path in outs[0].iterdir()} == {path.name for path in alone.iterdir()}
    config = json.loads((outs[0] / "config.json").read_text())
    assert (config["devices"], config["workers"]) == (2, 2)
    # What ships is the plain network: how its statistics were taken is no part of it.
    layers = [
        layer.get_config() for layer in keras.models.load_model(outs[0] / "model.keras").layers
    ]
    assert [layer["synchronized"] for layer in layers if "synchronized" in layer] == [False, False]


def test_two_tensorflow_devices_take_the_steps_of_one(
    alone: Path, prepared: Path, tmp_path: Path
) -> None:
    ended(started(RECIPE, prepared, tmp_path / "two", "logical", KERAS_BACKEND="tensorflow"))
    check_same_epochs(tmp_path / "two", alone)
    config = json.loads((tmp_path / "two" / "config.json").read_text())
    assert (config["devices"], config["workers"]) == (2, 1)


def test_two_jax_devices_take_the_steps_of_one(prepared: Path, tmp_path: Path) -> None:
    environment = {"KERAS_BACKEND": "jax", "XLA_FLAGS": XLA_FLAGS}
    kinds = ("default", "all")
    for process in [
        started(RECIPE, prepared, tmp_path / kind, kind, **environment) for kind in kinds
    ]:
        ended(process)
    check_same_epochs(tmp_path / "all", tmp_path / "default")
    counts = [
        json.loads((tmp_path / name / "config.json").read_text())["devices"] for name in kinds
    ]
    assert counts == [1, 2]


@pytest.mark.slow
def test_a_lost_worker_ends_the_other_in_one_line_and_both_resume(
    prepared: Path, tmp_path: Path
) -> None:
    recipe, out = replace(RECIPE, epochs=60), tmp_path / "shared"
    chief, other = two_workers([recipe] * 2, prepared, [out, out])
    while not (out / "checkpoint.npz").is_file() and chief.poll() is None:
        time.sleep(0.02)
    other.send_signal(signal.SIGKILL)
    ended(other, -signal.SIGKILL)
    since = time.monotonic()
    assert "another worker ended or cannot be reached" in ended(chief, 1).splitlines()[-1]
    assert (
        time.monotonic() - since < 120
    )  # heartbeats stop after 10 s; a busy machine may need longer to say so
    before = history(out)
    assert len(before) < 60
    for process in two_workers([recipe] * 2, prepared, [out, out], "resume"):
        ended(process)
    after = history(out)
    assert [row["epoch"] for row in after] == list(range(1, 61))
    assert after[: len(before)] == before


@pytest.mark.slow
def test_workers_that_were_told_different_things_both_say_so(
    prepared: Path, tmp_path: Path
) -> None:
    outs = [tmp_path / "chief", tmp_path / "other"]
    for process in two_workers([RECIPE, replace(RECIPE, seed=SEED + 1)], prepared, outs):
        assert "expected the same arguments on all workers" in ended(process, 1).splitlines()[-1]
    assert not outs[0].exists()


def test_a_cluster_s_first_address_is_the_chief_s() -> None:
    jobs = {"worker": ["b:2", "c:3"], "chief": ["a:1"]}
    for task, index in ((("chief", 0), 0), (("worker", 0), 1), (("worker", 1), 2)):
        config = json.dumps({"cluster": jobs, "task": {"type": task[0], "index": task[1]}})
        assert read_cluster(config) == Cluster(("a:1", "b:2", "c:3"), index)


CLUSTER = '{"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": %s}}'


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("worker 1", "Expecting value"),
        ("[1]", "list indices"),
        ('{"task": {"type": "worker", "index": 0}}', "no 'cluster'"),
        ('{"cluster": {"worker": ["a:1"]}}', "no 'task'"),
        (CLUSTER % 2, "no worker 2 in the cluster"),
        (CLUSTER % -1, "no worker -1"),
        (CLUSTER % '"0"', "no worker 0"),
        (CLUSTER.replace("b:2", "b") % 0, "not host:port"),
        (CLUSTER.replace("b:2", "b:70000") % 0, "not host:port"),
        (CLUSTER.replace("b:2", "a:1") % 0, "twice there"),
        (CLUSTER.replace('"worker": [', '"ps": ["c:1"], "worker": [') % 0, "jobs ps, worker"),
    ],
)
def test_a_bad_tf_config_is_refused_with_an_example(
    config: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(RunError, match=message) as caught:
        choose_devices(None)
    assert '"task": {"type": "worker", "index": 0}' in str(caught.value)


def test_a_cluster_of_one_is_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "TF_CONFIG", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}'
    )
    assert choose_devices(None) is ONE


def test_another_backend_with_tf_config_is_told_what_to_set(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "training",
            "train",
            "--data",
            "nowhere",
            "--out",
            str(tmp_path / "run"),
        ],
        capture_output=True,
        text=True,
        timeout=200,
        cwd=support.REPOSITORY,
        env=os.environ | {"KERAS_BACKEND": "jax", "TF_CONFIG": CLUSTER % 0},
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "expected KERAS_BACKEND=tensorflow, received jax" in done.stderr


def test_workers_wait_until_all_are_there() -> None:
    with (
        closing(socket.create_server(("", 0))) as one,
        closing(socket.create_server(("", 0))) as other,
    ):
        addresses = tuple(f"127.0.0.1:{room.getsockname()[1]}" for room in (one, other))
        with pytest.raises(
            RunError, match="the port of worker 1 cannot be opened .* choose another in TF_CONFIG"
        ):
            meet(Cluster(addresses, 1), 0)
    with pytest.raises(RunError, match=f"worker 1 at {addresses[1]} did not answer within 0 s"):
        meet(Cluster(addresses, 0), 0.3)
    first = threading.Thread(target=meet, args=(Cluster(addresses, 0), 60), daemon=True)
    first.start()
    first.join(0.5)
    assert first.is_alive()
    with closing(socket.create_server(("", int(addresses[1].rpartition(":")[2])))):
        first.join(60)
    assert not first.is_alive()


def test_devices_are_those_that_are_there() -> None:
    assert taken(["gpu:0", "gpu:1"], None, accelerators=True) == ["gpu:0", "gpu:1"]
    assert taken(["cpu:0", "cpu:1"], None, accelerators=False) == ["cpu:0"]
    assert taken(["cpu:0", "cpu:1"], "all", accelerators=False) == ["cpu:0", "cpu:1"]
    assert taken(["gpu:0", "gpu:1", "gpu:2"], 2, accelerators=True) == ["gpu:0", "gpu:1"]
    with pytest.raises(
        RunError, match=r"at most 1 as --devices, which are all .* \(cpu:0\), received 2"
    ):
        taken(["cpu:0"], 2, accelerators=False)


def test_a_batch_that_the_devices_cannot_share_names_those_that_they_can() -> None:
    devices = type(ONE)(count=3)
    devices.check(replace(RECIPE, batch_size=33), 1000)
    with pytest.raises(
        RunError, match="3 devices can share evenly, received one of 32 .* --batch-size 30 or 33"
    ):
        devices.check(RECIPE, 1000)
    with pytest.raises(RunError, match="received one of 20 pictures; try --batch-size 18 or 21"):
        devices.check(RECIPE, 20)
    with pytest.raises(RunError, match="received one of 2 pictures; try --batch-size 3$"):
        devices.check(replace(RECIPE, batch_size=2), 1000)


@pytest.mark.parametrize("count", ["0", "-2", "some", "1.5"])
def test_a_count_of_devices_is_all_or_a_number(count: str) -> None:
    done = CliRunner().invoke(main, ["train", "--data", "d", "--out", "o", "--devices", count])
    assert done.exit_code == 2
    assert f"expected all or a number of at least 1, received '{count}'" in done.output


def test_a_worker_that_does_not_see_the_chief_s_checkpoint_says_what_to_do(alone: Path) -> None:
    with pytest.raises(
        RunError, match="expected the chief's checkpoint.npz .* a folder that all workers share"
    ):
        begun(alone, type(ONE)(2, 2, chief=False))
    assert begun(alone, ONE).recipe == RECIPE
